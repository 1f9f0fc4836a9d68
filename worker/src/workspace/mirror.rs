//! The bare mirrors: one per repository, filled by one process at a time, read by all.
//!
//! Nothing is ever removed from a mirror, so that a commit once fetched stays readable for the
//! tasks that recorded it. A damaged or an oversized one is removed as a whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::git::{Git, SHORT};
use super::origin::Origin;
use super::remote::understood;
use super::{Mirror, WorkspaceError};
use crate::settings::WorkerSettings;

/// How often a lock that another one holds is tried.
const RETRY: Duration = Duration::from_millis(50);
/// How often a growing mirror is measured.
const MEASURE: Duration = Duration::from_secs(1);

/// What git says of a repository that is damaged. It has no better sign.
const DAMAGE: [&str; 14] = [
    "not a git repository",
    "bad object",
    "bad tree",
    "bad config",
    "corrupt",
    "unable to read",
    "loose object",
    "packfile",
    "differ in contents",
    "is too small",
    "missing blob",
    "missing object",
    "missing necessary objects",
    "did not send all necessary objects",
];

/// Whether the mirror is to be fetched anew.
pub(crate) fn is_damage(error: &WorkspaceError) -> bool {
    match error {
        WorkspaceError::Git { message, .. } => {
            let message = message.to_ascii_lowercase();
            DAMAGE.iter().any(|sign| message.contains(sign))
        }
        WorkspaceError::Refused(_)
        | WorkspaceError::TimedOut { .. }
        | WorkspaceError::Io { .. }
        | WorkspaceError::Cancelled => false,
    }
}

/// Whether a text is a full commit id.
pub(crate) fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A mirror that nobody else changes.
struct Locked {
    path: PathBuf,
    _file: File,
}

async fn lock(
    settings: &WorkerSettings,
    path: &Path,
    cancel: &CancellationToken,
) -> Result<Locked, WorkspaceError> {
    let failed = |source| WorkspaceError::io("locking a mirror", source);
    let folder = settings.work_dir.join("mirrors");
    tokio::fs::create_dir_all(&folder).await.map_err(failed)?;
    let name = path.with_extension("lock");
    let open = move || {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(name)
    };
    let file = tokio::task::spawn_blocking(open)
        .await
        .map_err(|error| failed(std::io::Error::other(error)))?
        .map_err(failed)?;
    // Tried and not waited for: a thread that waits for a lock cannot be cancelled. The lock
    // belongs to the open file, so that it also parts the tasks of one process.
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(WorkspaceError::Cancelled),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    Ok(Locked {
        path: path.to_owned(),
        _file: file,
    })
}

fn path_of(settings: &WorkerSettings, origin: &Origin) -> PathBuf {
    let name = format!("{}.git", origin.key());
    settings.work_dir.join("mirrors").join(name)
}

/// The mirror of an origin with these commits. What it lacks is fetched: first the refs that are to
/// bring them, then what they did not bring, by its id.
pub(crate) async fn with_commits(
    settings: &WorkerSettings,
    git: &Git,
    origin: &Origin,
    refspecs: &[String],
    commits: &[&str],
) -> Result<Mirror, WorkspaceError> {
    let path = path_of(settings, origin);
    let mut wanted = missing(git, &path, commits).await?;
    if !wanted.is_empty() && !refspecs.is_empty() {
        fetch(settings, git, origin, refspecs).await?;
        wanted = missing(git, &path, commits).await?;
    }
    if !wanted.is_empty() {
        let refspecs: Vec<String> = wanted
            .iter()
            .map(|commit| format!("+{commit}:refs/kept/{commit}"))
            .collect();
        fetch(settings, git, origin, &refspecs).await?;
        if let Some(commit) = missing(git, &path, commits).await?.first() {
            return Err(WorkspaceError::Refused(format!(
                "the repository no longer has the commit {commit}"
            )));
        }
    }
    Ok(Mirror { path })
}

/// The refspec of a pull request's head.
pub(crate) fn pull_refspec(number: u64) -> String {
    format!("+refs/pull/{number}/head:{}", pull_ref(number))
}

/// Where a mirror keeps the head of a pull request.
pub(crate) fn pull_ref(number: u64) -> String {
    format!("refs/origin/pull/{number}")
}

async fn missing(git: &Git, path: &Path, commits: &[&str]) -> Result<Vec<String>, WorkspaceError> {
    if !tokio::fs::try_exists(path).await.unwrap_or(false) {
        return Ok(commits.iter().map(|&commit| commit.to_owned()).collect());
    }
    let mut missing = Vec::new();
    for &commit in commits {
        let wanted = format!("{commit}^{{commit}}");
        let arguments = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &wanted,
        ];
        match git.line("rev-parse", Some(path), &arguments).await {
            Ok(_) => {}
            Err(WorkspaceError::Git { .. }) => missing.push(commit.to_owned()),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// Fetches refspecs of an origin into its mirror, which is made where there is none.
pub(crate) async fn fetch(
    settings: &WorkerSettings,
    git: &Git,
    origin: &Origin,
    refspecs: &[String],
) -> Result<Mirror, WorkspaceError> {
    let path = path_of(settings, origin);
    let locked = lock(settings, &path, git.cancel()).await?;
    open(git, &locked).await?;
    let git = git.clone().reaching(origin);
    let mut arguments = vec![
        "fetch",
        "--quiet",
        "--force",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--no-recurse-submodules",
        "--update-shallow",
        "--",
        origin.address()?,
    ];
    arguments.extend(refspecs.iter().map(String::as_str));
    let most = settings.forge.max_bytes;
    let fetched = tokio::select! {
        fetched = git.output("fetch", Some(&path), &arguments, SHORT) => fetched,
        error = outgrown(&path, most) => Err(error),
    };
    let fetched = match fetched {
        Ok(_) if size(&path).await? > most => Err(too_large(most)),
        result => result.map_err(understood),
    };
    if let Err(WorkspaceError::Refused(_)) = &fetched
        && size(&path).await? > most
    {
        remove(&locked).await?;
    }
    fetched.map(|_| Mirror { path })
}

/// Makes sure that there is a bare repository.
async fn open(git: &Git, locked: &Locked) -> Result<(), WorkspaceError> {
    let path = &locked.path;
    if tokio::fs::try_exists(path).await.unwrap_or(false) {
        let arguments = ["rev-parse", "--is-bare-repository"];
        match git.line("rev-parse", Some(path), &arguments).await {
            Ok(answer) if answer == "true" => return Ok(()),
            Ok(_) | Err(WorkspaceError::Git { .. }) => {
                warn!("the mirror {} is damaged: it is made anew", path.display());
                remove(locked).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let arguments = [
        "init",
        "--quiet",
        "--bare",
        "--template=",
        "--",
        super::git::argument(path)?,
    ];
    git.output("init", None, &arguments, SHORT).await.map(drop)
}

/// Removes the mirror of an origin.
pub(crate) async fn discard(
    settings: &WorkerSettings,
    origin: &Origin,
    cancel: &CancellationToken,
) -> Result<(), WorkspaceError> {
    discard_at(&path_of(settings, origin), settings, cancel).await
}

/// Removes a mirror.
pub(super) async fn discard_at(
    path: &Path,
    settings: &WorkerSettings,
    cancel: &CancellationToken,
) -> Result<(), WorkspaceError> {
    warn!("the mirror {} is damaged: it is removed", path.display());
    let locked = lock(settings, path, cancel).await?;
    remove(&locked).await
}

async fn remove(locked: &Locked) -> Result<(), WorkspaceError> {
    match tokio::fs::remove_dir_all(&locked.path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|source| WorkspaceError::io("removing a mirror", source)),
    }
}

fn too_large(most: u64) -> WorkspaceError {
    WorkspaceError::Refused(format!(
        "the repository is larger than GIT_MAX_BYTES ({most} bytes)"
    ))
}

/// Comes to an end when the mirror is too large.
async fn outgrown(path: &Path, most: u64) -> WorkspaceError {
    loop {
        tokio::time::sleep(MEASURE).await;
        match size(path).await {
            Ok(size) if size > most => return too_large(most),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// The bytes of all files below a folder.
async fn size(path: &Path) -> Result<u64, WorkspaceError> {
    let root = path.to_owned();
    let measure = move || {
        let mut total = 0;
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            // Git renames and removes its files meanwhile.
            let Ok(parts) = std::fs::read_dir(folder) else {
                continue;
            };
            for part in parts.flatten() {
                match part.metadata() {
                    Ok(about) if about.is_dir() => folders.push(part.path()),
                    Ok(about) => total += about.len(),
                    Err(_) => {}
                }
            }
        }
        total
    };
    tokio::task::spawn_blocking(measure)
        .await
        .map_err(|error| WorkspaceError::io("measuring a mirror", std::io::Error::other(error)))
}
