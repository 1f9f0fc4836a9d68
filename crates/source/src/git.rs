//! Mirrors and checkouts, with a git that trusts neither repositories nor input.

mod argument;
mod checkout;
mod command;
mod local;
mod mirror;
mod remote;
mod remote_query;
mod tree;

use std::path::Path;

use domain::PullRequestSource;
use tokio_util::sync::CancellationToken;

use crate::error::SourceError;
use crate::settings::SourceSettings;
use argument::require_commit_id;

pub(crate) use argument::is_commit_id;
pub(crate) use command::Git;
pub(crate) use local::{local_commit, remote_of};
pub use mirror::Mirror;
pub(crate) use mirror::{discard, fetch, is_damage, pull_ref, pull_refspec, with_commits};
pub(crate) use remote::Remote;
pub(crate) use remote_query::default_branch;
pub(crate) use tree::{EntryKind, read_objects, read_tree};

/// Returns a mirror on this machine that contains the commits, and fetches them if necessary.
///
/// Another worker, on another machine, may have prepared the task.
///
/// # Errors
///
/// The source is not allowed, cannot be reached, or no longer has a commit.
pub async fn mirror_with(
    settings: &SourceSettings,
    source: &PullRequestSource,
    commits: &[&str],
    cancel: &CancellationToken,
) -> Result<Mirror, SourceError> {
    for commit in commits {
        require_commit_id(commit)?;
    }
    let git = Git::new(settings, cancel).await?;
    let remote = remote_of(settings, &git, source).await?;
    let refspecs = match source {
        PullRequestSource::Forge { number, .. } => vec![pull_refspec(*number)],
        PullRequestSource::Local { .. } => Vec::new(),
    };
    match with_commits(settings, &git, &remote, &refspecs, commits).await {
        Err(error) if is_damage(&error) => {
            discard(settings, &remote, cancel).await?;
            with_commits(settings, &git, &remote, &refspecs, commits).await
        }
        result => result,
    }
}

/// Writes the files of a commit into `folder`, which must not exist.
///
/// The checkout has no `.git`, no symlink that leads outside, and no executable files. Submodules
/// become empty folders. Files of more than 32 MiB and symlinks that lead outside are left out. If
/// the checkout fails, everything that was written is removed.
///
/// # Errors
///
/// The commit contains a forbidden path, or the mirror is damaged. A damaged mirror is removed, and
/// the next request fetches it again.
pub async fn checkout(
    settings: &SourceSettings,
    mirror: &Mirror,
    commit: &str,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    require_commit_id(commit)?;
    let git = Git::new(settings, cancel).await?;
    let result = checkout::write(settings, &git, mirror, commit, folder).await;
    if let Err(error) = &result
        && is_damage(error)
    {
        mirror::discard_at(&mirror.path, settings, cancel).await?;
    }
    result
}
