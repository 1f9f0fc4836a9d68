//! Mirrors and checkouts, with a git that trusts nothing it is given.
//!
//! One bare mirror per repository on this machine, named by the hash of its address, filled by
//! fetching what is missing; one lock per mirror, held within the process and between processes.

mod git;
mod remote;
mod mirror;
mod checkout;

use std::path::PathBuf;

use entity::task::Source;
use tokio_util::sync::CancellationToken;

pub use checkout::checkout;
pub(crate) use git::{Git, object_size};
pub(crate) use mirror::{LockedMirror, without_remedy};

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

impl WorkspaceError {
    /// Whether git says that a repository's files are damaged, and not what another side said.
    pub(crate) fn is_of_damage(&self) -> bool {
        const SIGNS: [&str; 12] = [
            "not a git repository",
            "corrupt",
            "bad object",
            "bad tree object",
            "unable to read",
            "is empty",
            "missing",
            "inflate",
            "packfile",
            "could not parse",
            "Could not read",
            "invalid object",
        ];
        match self {
            Self::Git { message, .. } => {
                !message.contains("Could not read from remote")
                    && !message.contains("remote:")
                    && SIGNS.iter().any(|sign| message.contains(sign))
            }
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::InvalidData,
            Self::Refused(_) | Self::TimedOut { .. } | Self::Cancelled => false,
        }
    }
}

/// A bare mirror of a repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub path: PathBuf,
}

/// Fetches these commits themselves, and keeps them however branches move.
pub(crate) fn commit_refspecs(commits: &[&str]) -> Vec<String> {
    commits
        .iter()
        .map(|commit| format!("+{commit}:refs/kept/{commit}"))
        .collect()
}

/// Fetches a pull request's head.
pub(crate) fn head_refspec(number: u64) -> String {
    format!("+refs/pull/{number}/head:refs/pull/{number}/head")
}

/// A whole object id: nothing else may stand where git takes revisions.
pub(crate) fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Makes sure that this machine has the commits: another replica may have prepared the task.
///
/// # Errors
///
/// The source is not allowed, or no longer has the commits.
pub async fn mirror_with(
    settings: &WorkerSettings,
    source: &Source,
    commits: &[&str],
    cancel: &CancellationToken,
) -> Result<Mirror, WorkspaceError> {
    if let Some(odd) = commits.iter().find(|commit| !is_object_id(commit)) {
        return Err(WorkspaceError::Refused(format!("{odd:?} is no commit id")));
    }
    let locked = LockedMirror::open(settings, source, cancel).await?;
    match fetch_missing(settings, &locked, source, commits, cancel).await {
        Err(error) if error.is_of_damage() => {
            locked.renew(settings, &error, cancel).await?;
            fetch_missing(settings, &locked, source, commits, cancel).await?;
        }
        other => other?,
    }
    Ok(locked.mirror)
}

async fn fetch_missing(
    settings: &WorkerSettings,
    locked: &LockedMirror,
    source: &Source,
    commits: &[&str],
    cancel: &CancellationToken,
) -> Result<(), WorkspaceError> {
    if locked.has(settings, commits, cancel).await? {
        return Ok(());
    }
    if let Source::Forge { number, .. } = source {
        // Every forge gives this, but not every forge gives commits by their ids.
        let head = [head_refspec(*number)];
        locked.fetch(settings, &head, cancel).await?;
        if locked.has(settings, commits, cancel).await? {
            return Ok(());
        }
    }
    locked
        .fetch(settings, &commit_refspecs(commits), cancel)
        .await
}
