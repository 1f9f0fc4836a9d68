//! Resolves a pull request: from a task's source to commits, files and hunks.

mod commits;
mod diff;
mod file_selection;
mod limits;
mod patch;
mod progress;
mod raw_diff;

use domain::PullRequestSource;
use domain::pull_request::PullRequest;
use tokio_util::sync::CancellationToken;

use crate::error::SourceError;
use crate::git::{Git, Mirror, Remote, discard, is_damage, remote_of};
use crate::settings::SourceSettings;
use progress::{Progress, short_id};

pub use limits::DiffLimits;

/// A resolved pull request, and the mirror that contains its commits.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The mirror.
    pub mirror: Mirror,
    /// The pull request.
    pub pull_request: PullRequest,
}

/// Resolves a source: fetches missing commits into the mirror, finds base and head, and reads the
/// diff.
///
/// The base is the common ancestor of the head and the given base, or of the head and the base
/// branch. `progress` receives a stage (`resolve`, `fetch` or `diff`) and a message for people.
///
/// # Errors
///
/// The source is not allowed, does not exist or cannot be reached. A change without files is not an
/// error here.
pub async fn resolve(
    settings: &SourceSettings,
    source: &PullRequestSource,
    limits: DiffLimits,
    cancel: &CancellationToken,
    progress: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Resolved, SourceError> {
    let git = Git::new(settings, cancel).await?;
    let remote = remote_of(settings, &git, source).await?;
    match attempt(settings, &git, &remote, source, limits, progress).await {
        Err(error) if is_damage(&error) => {
            let message = "the mirror is damaged; fetching it again";
            progress("fetch", message.to_owned());
            discard(settings, &remote, cancel).await?;
            attempt(settings, &git, &remote, source, limits, progress).await
        }
        result => result,
    }
}

async fn attempt(
    settings: &SourceSettings,
    git: &Git,
    remote: &Remote,
    source: &PullRequestSource,
    limits: DiffLimits,
    progress: Progress<'_>,
) -> Result<Resolved, SourceError> {
    let commits = commits::find(settings, git, remote, source, progress).await?;
    progress(
        "diff",
        format!(
            "reading the change from {} to {}",
            short_id(&commits.base),
            short_id(&commits.head)
        ),
    );
    let range = (commits.base.as_str(), commits.head.as_str());
    let diff = diff::read(git, &commits.mirror, range, limits).await?;
    progress(
        "diff",
        format!(
            "using {} files, left out {}",
            diff.files.len(),
            diff.dropped.len()
        ),
    );
    Ok(Resolved {
        mirror: commits.mirror,
        pull_request: PullRequest {
            title: commits.title,
            base: commits.base,
            head: commits.head,
            files: diff.files,
            dropped: diff.dropped,
            other_paths: diff.other_paths,
        },
    })
}
