//! Gets a pull request: from a task's source to commits, files and hunks.

mod diff;
mod forge;
mod selection;

use entity::task::Source;
use evaluation::pull_request::PullRequest;
use tokio_util::sync::CancellationToken;

use crate::settings::WorkerSettings;
use crate::workspace::{
    Git, LockedMirror, Mirror, WorkspaceError, commit_refspecs, head_refspec, is_object_id,
    without_remedy,
};

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
    match read(settings, &locked, source, limits, cancel, told).await {
        Err(error) if error.is_of_damage() => {
            locked.renew(settings, &error, cancel).await?;
            read(settings, &locked, source, limits, cancel, told).await
        }
        other => other,
    }
}

async fn read(
    settings: &WorkerSettings,
    locked: &LockedMirror,
    source: &Source,
    limits: UseLimits,
    cancel: &CancellationToken,
    told: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Resolved, WorkspaceError> {
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
            from_forge(settings, locked, source, *number, cancel, told).await?
        }
        Source::Local { path, base, head } => {
            told("resolve", format!("{base} to {head} in {path}"));
            from_local(settings, locked, [base, head], cancel, told).await?
        }
    };
    told("diff", format!("{base} to {head}"));
    let git = locked.git(settings, cancel);
    let changes = diff::read(&git, &base, &head, limits.file_bytes).await?;
    let selected = selection::select(&git, changes, limits).await?;
    let other_paths = diff::untouched(&git, &head, &selected.touched).await?;
    Ok(Resolved {
        mirror: locked.mirror.clone(),
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
    number: u64,
    cancel: &CancellationToken,
    told: &(dyn Fn(&'static str, String) + Send + Sync),
) -> Result<Ends, WorkspaceError> {
    let described = tokio::select! {
        () = cancel.cancelled() => return Err(WorkspaceError::Cancelled),
        described = forge::describe(&settings.forge, source) => described,
    };
    let (title, branch, recorded) = match described {
        Ok(described) => (described.title, described.branch, described.base),
        Err(why) => {
            let branch = default_branch(settings, locked, cancel).await?;
            told(
                "resolve",
                format!(
                    "the forge's API cannot be asked ({why}); taking the merge base with {branch}"
                ),
            );
            (None, branch, None)
        }
    };
    told(
        "fetch",
        format!("pull request {number} and branch {branch}"),
    );
    // Kept by number: two branches, one once called `a` and one now `a/b`, cannot both be kept by
    // their names.
    let refspecs = [
        head_refspec(number),
        format!("+refs/heads/{branch}:refs/pull/{number}/base"),
    ];
    locked.fetch(settings, &refspecs, cancel).await?;
    let git = locked.git(settings, cancel);
    let head = commit(&git, &format!("refs/pull/{number}/head")).await?;
    let tip = commit(&git, &format!("refs/pull/{number}/base")).await?;
    let recorded = match recorded {
        Some(recorded) if locked.has(settings, &[&recorded], cancel).await? => Some(recorded),
        Some(_) | None => None,
    };
    let mut base = merge_base(&git, recorded.as_ref().unwrap_or(&tip), &head).await?;
    if base == head {
        // It is merged already.
        base = base_before_merge(&git, &tip, &head).await?;
    }
    Ok((title, base, head))
}

/// Where a pull request that was merged into a branch began: the merge base with what the branch
/// was before. The head itself where no merge tells (it was fast-forwarded).
async fn base_before_merge(git: &Git, tip: &str, head: &str) -> Result<String, WorkspaceError> {
    let range = format!("{head}..{tip}");
    let args = [
        "rev-list",
        "--first-parent",
        "--ancestry-path",
        "--reverse",
        "--end-of-options",
        range.as_str(),
        "--",
    ];
    let listed = git.run("rev-list", &args).await?;
    let Some(merge) = listed
        .split(|&byte| byte == b'\n')
        .next()
        .and_then(object_id)
    else {
        return Ok(head.to_owned());
    };
    let before = commit(git, &format!("{merge}^1")).await?;
    merge_base(git, &before, head).await
}

async fn from_local(
    settings: &WorkerSettings,
    locked: &LockedMirror,
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
            .fetch(settings, &commit_refspecs(&[&tip, &head]), cancel)
            .await?;
    }
    let base = merge_base(&locked.git(settings, cancel), &tip, &head).await?;
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
    is_object_id(line).then(|| line.to_owned())
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
        .await
        .map_err(without_remedy)?;
    String::from_utf8_lossy(&answer)
        .lines()
        .find_map(|line| {
            let name = line.strip_prefix("ref: refs/heads/")?.split('\t').next()?;
            forge::is_branch(name).then(|| name.to_owned())
        })
        .ok_or_else(|| WorkspaceError::Refused("the repository has no default branch".to_owned()))
}
