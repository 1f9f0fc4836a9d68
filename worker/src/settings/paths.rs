//! Paths in settings.

use std::path::PathBuf;

/// Returns an absolute path. Agents and git run in other folders than the worker, where a relative path
/// would have another meaning.
pub(super) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
