//! Gets a pull request: from a task's source to commits, files and hunks.

mod diff;
mod forge;
mod selection;

use entity::task::Source;
use evaluation::pull_request::PullRequest;
use tokio_util::sync::CancellationToken;

use crate::settings::WorkerSettings;
use crate::workspace::{Git, LockedMirror, Mirror, WorkspaceError, refspecs};

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
///
/// `told` is called with the stage (`resolve`, `fetch`, `diff`) and a line for people.
///
/// # Errors
///
/// A source that is not allowed or does not exist, and what git cannot do.
pub async fn resolve(
    settings: &WorkerSettings,
    source: &Source,
    limits: UseLimits,
    cancel: &CancellationToken,
    told: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Resolved, WorkspaceError> {
    let locked = LockedMirror::open(settings, source, cancel).await?;
    let (title, base, head) = match source {
        Source::Forge {
            owner,
            name,
            number,
            ..
        } => {
            told(
                "resolve",
                format!("pull request {number} of {owner}/{name}"),
            );
            from_forge(settings, &locked, source, cancel, told).await?
        }
        Source::Local { path, base, head } => {
            told("resolve", format!("{base} to {head} in {path}"));
            from_local(settings, &locked, source, [base, head], cancel, told).await?
        }
    };
    told("diff", format!("{} to {}", &base, &head));
    let git = Git::at(&locked.mirror.path, settings.forge.timeout, cancel);
    let changes = diff::read(&git, &base, &head).await?;
    let selected = selection::select(&git, changes, limits).await?;
    let other_paths = diff::untouched(&git, &head, &selected.touched).await?;
    let mirror = locked.mirror.clone();
    Ok(Resolved {
        mirror,
        pull_request: PullRequest {
            title,
            base,
            head,
            files: selected.files,
            dropped: selected.dropped,
            other_paths,
        },
    })
}

type Ends = (Option<String>, String, String);

async fn from_forge(
    settings: &WorkerSettings,
    locked: &LockedMirror,
    source: &Source,
    cancel: &CancellationToken,
    told: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Ends, WorkspaceError> {
    let Source::Forge { number, .. } = source else {
        return Err(WorkspaceError::Refused(
            "this is no pull request of a forge".to_owned(),
        ));
    };
    let described = tokio::select! {
        () = cancel.cancelled() => return Err(WorkspaceError::Cancelled),
        described = forge::describe(&settings.forge, source) => described,
    };
    let (title, branch) = match described {
        Ok(described) => (described.title, described.branch),
        Err(why) => {
            let branch = default_branch(settings, locked, cancel).await?;
            told(
                "resolve",
                format!(
                    "the forge's API cannot be asked ({why}); taking the merge base with {branch}"
                ),
            );
            (None, branch)
        }
    };
    told(
        "fetch",
        format!("pull request {number} and branch {branch}"),
    );
    locked
        .fetch(settings, &refspecs(source, Some(&branch)), cancel)
        .await?;
    let git = Git::at(&locked.mirror.path, settings.forge.timeout, cancel);
    let head = commit(&git, &format!("refs/pull/{number}/head")).await?;
    let tip = commit(&git, &format!("refs/remotes/origin/{branch}")).await?;
    let base = merge_base(&git, &tip, &head).await?;
    Ok((title, base, head))
}

async fn from_local(
    settings: &WorkerSettings,
    locked: &LockedMirror,
    source: &Source,
    [base, head]: [&str; 2],
    cancel: &CancellationToken,
    told: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Ends, WorkspaceError> {
    let there = std::path::Path::new(&locked.remote.url);
    let original = Git::at(there, settings.forge.timeout, cancel);
    let (tip, head) = (
        commit(&original, base).await?,
        commit(&original, head).await?,
    );
    if !locked.has(settings, &[&tip, &head], cancel).await? {
        told("fetch", format!("commits of {}", locked.remote.url));
        locked
            .fetch(settings, &refspecs(source, None), cancel)
            .await?;
        if !locked.has(settings, &[&tip, &head], cancel).await? {
            return Err(WorkspaceError::Refused(format!(
                "{tip} or {head} belongs to no branch or tag of {}",
                locked.remote.url
            )));
        }
    }
    let git = Git::at(&locked.mirror.path, settings.forge.timeout, cancel);
    let base = merge_base(&git, &tip, &head).await?;
    Ok((None, base, head))
}

/// The full id of a commit that a revision names.
async fn commit(git: &Git, revision: &str) -> Result<String, WorkspaceError> {
    let refused = |why: &str| {
        WorkspaceError::Refused(format!("the revision {revision:?} names no commit: {why}"))
    };
    if revision.is_empty() || revision.starts_with('-') || revision.contains(char::is_control) {
        return Err(refused("it is no revision"));
    }
    let peeled = format!("{revision}^{{commit}}");
    let args = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        peeled.as_str(),
    ];
    match git.run("rev-parse", &args).await {
        Ok(answer) => object_id(&answer).ok_or_else(|| refused("git gives no id")),
        Err(WorkspaceError::Git { message, .. }) => Err(refused(&message)),
        Err(other) => Err(other),
    }
}

async fn merge_base(git: &Git, one: &str, other: &str) -> Result<String, WorkspaceError> {
    match git
        .run(
            "merge-base",
            &["merge-base", "--end-of-options", one, other],
        )
        .await
    {
        Ok(answer) => object_id(&answer).ok_or_else(|| WorkspaceError::Git {
            action: "merge-base",
            message: "git gives no id".to_owned(),
        }),
        Err(WorkspaceError::Git { .. }) => Err(WorkspaceError::Refused(format!(
            "{one} and {other} have no common history"
        ))),
        Err(other) => Err(other),
    }
}

/// The last line of an answer, where it is an id.
fn object_id(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let line = text.trim_end().lines().last()?;
    let is_id = matches!(line.len(), 40 | 64) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| line.to_owned())
}

/// The branch that a repository's HEAD points to.
async fn default_branch(
    settings: &WorkerSettings,
    locked: &LockedMirror,
    cancel: &CancellationToken,
) -> Result<String, WorkspaceError> {
    let git = locked
        .remote
        .git(&settings.forge, &locked.mirror.path, cancel);
    let answer = git
        .run(
            "ls-remote",
            &["ls-remote", "--symref", "--", &locked.remote.url, "HEAD"],
        )
        .await?;
    String::from_utf8_lossy(&answer)
        .lines()
        .find_map(|line| {
            let name = line.strip_prefix("ref: refs/heads/")?.split('\t').next()?;
            forge::is_branch(name).then(|| name.to_owned())
        })
        .ok_or_else(|| WorkspaceError::Refused("the repository has no default branch".to_owned()))
}
