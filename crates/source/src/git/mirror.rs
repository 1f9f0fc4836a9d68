//! Bare mirrors: one per repository, filled by one process at a time and read by all.
//!
//! Nothing is removed from a mirror, so that a fetched commit stays readable for the tasks that
//! recorded it. A damaged or oversized mirror is removed as a whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::argument::path_argument;
use super::command::{Git, SHORT_OUTPUT};
use super::remote::Remote;
use super::remote_query::permanent;
use crate::error::SourceError;
use crate::settings::SourceSettings;

/// A bare mirror of a repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Folder of the mirror.
    pub path: PathBuf,
}

/// Interval between attempts to lock a mirror.
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// Interval between measurements of a growing mirror.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

/// Parts of git's messages about a damaged repository. git has no better sign.
const DAMAGE_MESSAGES: [&str; 14] = [
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

/// Returns whether an error means that the mirror is damaged and must be fetched again.
pub(crate) fn is_damage(error: &SourceError) -> bool {
    match error {
        SourceError::Git { message, .. } => {
            let message = message.to_ascii_lowercase();
            DAMAGE_MESSAGES.iter().any(|sign| message.contains(sign))
        }
        SourceError::Refused(_)
        | SourceError::TimedOut { .. }
        | SourceError::Io { .. }
        | SourceError::Cancelled => false,
    }
}

/// A mirror that no other process changes.
struct LockedMirror {
    path: PathBuf,
    _file: File,
}

async fn lock(
    settings: &SourceSettings,
    path: &Path,
    cancel: &CancellationToken,
) -> Result<LockedMirror, SourceError> {
    let failed = |source| SourceError::io("locking a mirror", source);
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
    // Polled, because a thread that waits for a lock cannot be cancelled. The lock belongs to the open
    // file, so it also separates tasks of one process.
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(SourceError::Cancelled),
            () = tokio::time::sleep(LOCK_RETRY) => {}
        }
    }
    Ok(LockedMirror {
        path: path.to_owned(),
        _file: file,
    })
}

fn mirror_path(settings: &SourceSettings, remote: &Remote) -> PathBuf {
    let name = format!("{}.git", remote.key());
    settings.work_dir.join("mirrors").join(name)
}

/// Returns the mirror of a remote with these commits.
///
/// Missing commits are fetched: first through the refs that should contain them, then by id.
pub(crate) async fn with_commits(
    settings: &SourceSettings,
    git: &Git,
    remote: &Remote,
    refspecs: &[String],
    commits: &[&str],
) -> Result<Mirror, SourceError> {
    let path = mirror_path(settings, remote);
    let mut wanted = missing(git, &path, commits).await?;
    if !wanted.is_empty() && !refspecs.is_empty() {
        fetch(settings, git, remote, refspecs).await?;
        wanted = missing(git, &path, commits).await?;
    }
    if !wanted.is_empty() {
        let refspecs: Vec<String> = wanted
            .iter()
            .map(|commit| format!("+{commit}:refs/kept/{commit}"))
            .collect();
        fetch(settings, git, remote, &refspecs).await?;
        if let Some(commit) = missing(git, &path, commits).await?.first() {
            return Err(SourceError::Refused(format!(
                "the repository no longer has the commit {commit}"
            )));
        }
    }
    Ok(Mirror { path })
}

/// Returns the refspec of a pull request's head.
pub(crate) fn pull_refspec(number: u64) -> String {
    format!("+refs/pull/{number}/head:{}", pull_ref(number))
}

/// Returns the ref of a mirror for the head of a pull request.
pub(crate) fn pull_ref(number: u64) -> String {
    format!("refs/origin/pull/{number}")
}

async fn missing(git: &Git, path: &Path, commits: &[&str]) -> Result<Vec<String>, SourceError> {
    if !tokio::fs::try_exists(path).await.unwrap_or(false) {
        return Ok(commits.iter().map(|&commit| commit.to_owned()).collect());
    }
    let mut missing = Vec::new();
    for &commit in commits {
        match git.commit_id(path, commit).await {
            Ok(_) => {}
            Err(SourceError::Git { .. }) => missing.push(commit.to_owned()),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// Fetches refspecs of a remote into its mirror, and creates the mirror if necessary.
pub(crate) async fn fetch(
    settings: &SourceSettings,
    git: &Git,
    remote: &Remote,
    refspecs: &[String],
) -> Result<Mirror, SourceError> {
    let path = mirror_path(settings, remote);
    let locked = lock(settings, &path, git.cancel()).await?;
    ensure_exists(git, &locked).await?;
    let git = git.clone().with_access_to(remote);
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
        remote.address()?,
    ];
    arguments.extend(refspecs.iter().map(String::as_str));
    let max_bytes = settings.forge.max_bytes;
    let fetched = tokio::select! {
        fetched = git.output("fetch", Some(&path), &arguments, SHORT_OUTPUT) => fetched,
        error = outgrown(&path, max_bytes) => Err(error),
    };
    let fetched = match fetched {
        Ok(_) if size(&path).await? > max_bytes => Err(too_large(max_bytes)),
        result => result.map_err(permanent),
    };
    if let Err(SourceError::Refused(_)) = &fetched
        && size(&path).await? > max_bytes
    {
        remove(&locked).await?;
    }
    fetched.map(|_| Mirror { path })
}

/// Creates the bare repository unless it exists and is intact.
async fn ensure_exists(git: &Git, locked: &LockedMirror) -> Result<(), SourceError> {
    let path = &locked.path;
    if tokio::fs::try_exists(path).await.unwrap_or(false) {
        let arguments = ["rev-parse", "--is-bare-repository"];
        match git.line("rev-parse", Some(path), &arguments).await {
            Ok(answer) if answer == "true" => return Ok(()),
            Ok(_) | Err(SourceError::Git { .. }) => {
                warn!(mirror.path = %path.display(), "replaced a damaged mirror");
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
        path_argument(path)?,
    ];
    git.output("init", None, &arguments, SHORT_OUTPUT)
        .await
        .map(drop)
}

/// Removes the mirror of a remote.
pub(crate) async fn discard(
    settings: &SourceSettings,
    remote: &Remote,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    discard_at(&mirror_path(settings, remote), settings, cancel).await
}

/// Removes a mirror.
pub(super) async fn discard_at(
    path: &Path,
    settings: &SourceSettings,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    warn!(mirror.path = %path.display(), "removing a damaged mirror");
    let locked = lock(settings, path, cancel).await?;
    remove(&locked).await
}

async fn remove(locked: &LockedMirror) -> Result<(), SourceError> {
    match tokio::fs::remove_dir_all(&locked.path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|source| SourceError::io("removing a mirror", source)),
    }
}

fn too_large(max_bytes: u64) -> SourceError {
    SourceError::Refused(format!(
        "the repository is larger than GIT_MAX_BYTES ({max_bytes} bytes)"
    ))
}

/// Returns an error as soon as the mirror is too large.
async fn outgrown(path: &Path, max_bytes: u64) -> SourceError {
    loop {
        tokio::time::sleep(MEASURE_INTERVAL).await;
        match size(path).await {
            Ok(size) if size > max_bytes => return too_large(max_bytes),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// Returns the total size of all files below a folder.
async fn size(path: &Path) -> Result<u64, SourceError> {
    let root = path.to_owned();
    let measure = move || {
        let mut total = 0;
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            // git may rename and remove its files in the meantime.
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
        .map_err(|error| SourceError::io("measuring a mirror", std::io::Error::other(error)))
}
