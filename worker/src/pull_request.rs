//! Gets a pull request: from a task's source to commits, files and hunks.

mod forge;
mod ends;
mod listing;
mod patches;
mod choice;
mod changes;

use domain::PullRequestSource;
use domain::pull_request::PullRequest;
use tokio_util::sync::CancellationToken;

use crate::settings::WorkerSettings;
use crate::workspace::{Git, Mirror, Origin, WorkspaceError, discard, is_damage, origin};

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

/// Where progress is told: a stage and a line for people.
type Told<'a> = &'a (dyn Fn(&'static str, String) + Send + Sync);

/// Resolves a source: fetches what is missing into the mirror, finds base and head, reads the diff.
/// `told` is called with the stage (`resolve`, `fetch`, `diff`) and a line for people.
///
/// The base is where the change starts from: the common ancestor of head and the given base, or of
/// head and the base branch.
///
/// # Errors
/// Where the source is not allowed, does not exist or cannot be reached. A change without files is
/// no error here.
pub async fn resolve(
    settings: &WorkerSettings,
    source: &PullRequestSource,
    limits: UseLimits,
    cancel: &CancellationToken,
    told: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Resolved, WorkspaceError> {
    let git = Git::new(settings, cancel).await?;
    let origin = origin(settings, &git, source).await?;
    match attempt(settings, &git, &origin, source, limits, told).await {
        Err(error) if is_damage(&error) => {
            told(
                "fetch",
                "the mirror is damaged, it is fetched anew".to_owned(),
            );
            discard(settings, &origin, cancel).await?;
            attempt(settings, &git, &origin, source, limits, told).await
        }
        result => result,
    }
}

async fn attempt(
    settings: &WorkerSettings,
    git: &Git,
    origin: &Origin,
    source: &PullRequestSource,
    limits: UseLimits,
    told: Told<'_>,
) -> Result<Resolved, WorkspaceError> {
    let ends = ends::find(settings, git, origin, source, told).await?;
    told(
        "diff",
        format!(
            "reading the change from {} to {}",
            short(&ends.base),
            short(&ends.head)
        ),
    );
    let read = changes::read(git, &ends.mirror, &ends.base, &ends.head, limits).await?;
    told(
        "diff",
        format!(
            "{} files are used, {} left out",
            read.files.len(),
            read.dropped.len()
        ),
    );
    Ok(Resolved {
        mirror: ends.mirror,
        pull_request: PullRequest {
            title: ends.title,
            base: ends.base,
            head: ends.head,
            files: read.files,
            dropped: read.dropped,
            other_paths: read.other_paths,
        },
    })
}

/// A commit id as people write it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
