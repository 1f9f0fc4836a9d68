//! Gets a pull request: from a task's source to commits, files and hunks.

use entity::task::Source;
use evaluation::pull_request::PullRequest;
use tokio_util::sync::CancellationToken;

use crate::settings::WorkerSettings;
use crate::workspace::{Mirror, WorkspaceError};

/// What is used of a pull request, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseLimits {
    pub max_files: usize,
    /// All patches together, in bytes.
    pub patch_bytes: usize,
    /// One file.
    pub file_bytes: usize,
}

/// A pull request that was resolved, and the mirror that holds its commits.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub mirror: Mirror,
    pub pull_request: PullRequest,
}

/// Resolves a source: fetches what is missing into the mirror, finds base and head, reads the diff.
/// `told` is called with the stage (`resolve`, `fetch`, `diff`) and a line for people.
pub async fn resolve(
    _settings: &WorkerSettings,
    _source: &Source,
    _limits: UseLimits,
    _cancel: &CancellationToken,
    _told: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Resolved, WorkspaceError> {
    Err(WorkspaceError::Refused("not yet".to_owned()))
}
