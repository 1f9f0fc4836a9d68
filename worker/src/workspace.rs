//! Mirrors and checkouts, with a git that trusts nothing it is given.

mod origin;
mod git;
mod remote;
mod mirror;
mod local;
mod tree;
mod checkout;

use std::path::{Path, PathBuf};

use domain::PullRequestSource;
use tokio_util::sync::CancellationToken;

use crate::settings::WorkerSettings;

pub(crate) use git::Git;
pub(crate) use local::{local_commit, origin};
pub(crate) use mirror::{
    discard, fetch, is_commit_id, is_damage, pull_ref, pull_refspec, with_commits,
};
pub(crate) use origin::Origin;
pub(crate) use remote::default_branch;
pub(crate) use tree::{Kind, read_objects, read_tree};

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
    fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            doing: doing.into(),
            source,
        }
    }
}

/// A bare mirror of a repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub path: PathBuf,
}

/// Makes sure that this machine has the commits: another replica may have prepared the task.
///
/// # Errors
/// Where the source is not allowed, cannot be reached, or no longer has a commit.
pub async fn mirror_with(
    settings: &WorkerSettings,
    source: &PullRequestSource,
    commits: &[&str],
    cancel: &CancellationToken,
) -> Result<Mirror, WorkspaceError> {
    if let Some(commit) = commits.iter().find(|commit| !is_commit_id(commit)) {
        return Err(WorkspaceError::Refused(format!(
            "{commit:?} is no full commit id"
        )));
    }
    let git = Git::new(settings, cancel).await?;
    let origin = origin(settings, &git, source).await?;
    let refspecs = match source {
        PullRequestSource::Forge { number, .. } => vec![pull_refspec(*number)],
        PullRequestSource::Local { .. } => Vec::new(),
    };
    match with_commits(settings, &git, &origin, &refspecs, commits).await {
        Err(error) if is_damage(&error) => {
            discard(settings, &origin, cancel).await?;
            with_commits(settings, &git, &origin, &refspecs, commits).await
        }
        result => result,
    }
}

/// Writes the files of a commit into `folder`, which must not exist: no `.git`, no symlink that
/// leads outside, nothing executable by git's doing.
///
/// Submodules become empty folders. Files of more than 32 MiB and symlinks that lead outside are
/// left out. What was written is removed where it cannot be done.
///
/// # Errors
/// Where the commit has a path that must not be written, or the mirror is damaged; it is fetched
/// anew then when it is next asked for.
pub async fn checkout(
    settings: &WorkerSettings,
    mirror: &Mirror,
    commit: &str,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<(), WorkspaceError> {
    if !is_commit_id(commit) {
        return Err(WorkspaceError::Refused(format!(
            "{commit:?} is no full commit id"
        )));
    }
    let git = Git::new(settings, cancel).await?;
    let result = checkout::write(settings, &git, mirror, commit, folder).await;
    if let Err(error) = &result
        && is_damage(error)
    {
        mirror::discard_at(&mirror.path, settings, cancel).await?;
    }
    result
}
