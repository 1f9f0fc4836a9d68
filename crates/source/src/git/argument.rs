//! Arguments for git.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::error::SourceError;

/// Returns a path as an argument. git accepts any bytes, our arguments are text.
pub(crate) fn path_argument(path: &Path) -> Result<&str, SourceError> {
    std::str::from_utf8(path.as_os_str().as_bytes())
        .map_err(|_| SourceError::Refused(format!("the path {path:?} is not UTF-8")))
}

/// Returns whether a text is a full commit id.
pub(crate) fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Returns an error if a text is not a full commit id.
pub(crate) fn require_commit_id(text: &str) -> Result<(), SourceError> {
    if is_commit_id(text) {
        Ok(())
    } else {
        Err(SourceError::Refused(format!(
            "{text:?} is not a full commit id"
        )))
    }
}
