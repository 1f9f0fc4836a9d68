//! Mirrors and checkouts, with a git that trusts nothing it is given.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::settings::WorkerSettings;

/// Why a repository could not be had.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// Not allowed, or makes no sense. Trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// git could not do it. Trying again may help.
    #[error("git {action} failed: {message}")]
    Git {
        action: &'static str,
        message: String,
    },
    #[error("git {action} took longer than {seconds} s")]
    TimedOut { action: &'static str, seconds: u64 },
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cancelled")]
    Cancelled,
}

/// A bare mirror of a repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub path: PathBuf,
}

/// Makes sure that this machine has the commit: another replica may have prepared the task.
pub async fn mirror_with(
    _settings: &WorkerSettings,
    _source: &entity::task::Source,
    _commits: &[&str],
    _cancel: &CancellationToken,
) -> Result<Mirror, WorkspaceError> {
    Err(WorkspaceError::Refused("not yet".to_owned()))
}

/// Writes the files of a commit into `folder`, which must not exist: no `.git`, no symlink that
/// leads outside, nothing executable by git's doing.
pub async fn checkout(
    _settings: &WorkerSettings,
    _mirror: &Mirror,
    _commit: &str,
    _folder: &Path,
    _cancel: &CancellationToken,
) -> Result<(), WorkspaceError> {
    Err(WorkspaceError::Refused("not yet".to_owned()))
}
