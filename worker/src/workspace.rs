//! Mirrors and checkouts, with a git that trusts nothing it is given.
//!
//! One bare mirror per repository on this machine, named by the hash of its address, filled by
//! fetching what is missing; one lock per mirror, held within the process and between processes.

mod checkout;
mod git;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use entity::task::Source;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use checkout::checkout;
pub(crate) use git::Git;

use crate::settings::{ForgeSettings, WorkerSettings};

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

/// Where a repository is fetched from, after everything about it was checked.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// An address or an absolute path.
    pub(crate) url: String,
    /// The protocols that git may speak to get it.
    pub(crate) protocols: &'static str,
    /// The forge it belongs to; none for a local repository.
    pub(crate) base_url: Option<String>,
}

impl Remote {
    /// Checks a source and tells where it is fetched from.
    ///
    /// # Errors
    ///
    /// A forge, a folder or a name that is not allowed.
    pub(crate) async fn of(
        settings: &ForgeSettings,
        source: &Source,
    ) -> Result<Self, WorkspaceError> {
        match source {
            Source::Forge {
                base_url,
                owner,
                name,
                number: _,
            } => {
                if !settings.base_urls.contains(base_url) {
                    return Err(WorkspaceError::Refused(format!(
                        "{base_url} is not among the forges that may be asked (FORGE_URLS)"
                    )));
                }
                for part in [owner, name] {
                    if !is_name(part) {
                        return Err(WorkspaceError::Refused(format!(
                            "{part:?} is no name of an owner or a repository"
                        )));
                    }
                }
                let protocols = if base_url.starts_with("https://") {
                    "https"
                } else {
                    "http"
                };
                Ok(Self {
                    url: format!("{base_url}/{owner}/{name}.git"),
                    protocols,
                    base_url: Some(base_url.clone()),
                })
            }
            Source::Local { path, .. } => Self::of_local(settings, path).await,
        }
    }

    async fn of_local(settings: &ForgeSettings, path: &str) -> Result<Self, WorkspaceError> {
        let refused = |why: &str| WorkspaceError::Refused(format!("the repository {path} {why}"));
        let real = tokio::fs::canonicalize(path)
            .await
            .map_err(|_| refused("is not there, or cannot be read"))?;
        let mut allowed = false;
        for root in &settings.local_roots {
            // A root that is not there allows nothing.
            if let Ok(root) = tokio::fs::canonicalize(root).await {
                allowed |= real.starts_with(root);
            }
        }
        if !allowed {
            return Err(refused(
                "is not in a folder that may be used (LOCAL_REPOSITORIES)",
            ));
        }
        let url = real
            .to_str()
            .ok_or_else(|| refused("has a path that is not UTF-8"))?;
        Ok(Self {
            url: url.to_owned(),
            protocols: "file",
            base_url: None,
        })
    }

    /// A git for this repository's mirror.
    pub(crate) fn git(
        &self,
        settings: &ForgeSettings,
        folder: &Path,
        cancel: &CancellationToken,
    ) -> Git {
        let git = Git::at(folder, settings.timeout, cancel).speaking(self.protocols);
        match &self.base_url {
            Some(base_url) => git.with_token(base_url, settings.token.as_ref()),
            None => git,
        }
    }
}

/// A name that a forge would give, and no option or path.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with(['-', '.'])
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A mirror that nobody else changes meanwhile.
pub(crate) struct LockedMirror {
    pub(crate) mirror: Mirror,
    pub(crate) remote: Remote,
    _in_process: tokio::sync::OwnedMutexGuard<()>,
    _between_processes: std::fs::File,
}

impl LockedMirror {
    /// Opens the mirror of a source, and makes it where there is none or the one there is broken.
    pub(crate) async fn open(
        settings: &WorkerSettings,
        source: &Source,
        cancel: &CancellationToken,
    ) -> Result<Self, WorkspaceError> {
        let remote = Remote::of(&settings.forge, source).await?;
        let name = hex::encode(Sha256::digest(remote.url.as_bytes()));
        let folder = settings.work_dir.join("mirrors");
        let io = |source| WorkspaceError::Io {
            doing: format!("using the mirrors in {}", folder.display()),
            source,
        };
        tokio::fs::create_dir_all(&folder).await.map_err(io)?;
        let in_process = tokio::select! {
            () = cancel.cancelled() => return Err(WorkspaceError::Cancelled),
            guard = lock_of(&name).lock_owned() => guard,
        };
        let between_processes = lock_file(folder.join(format!("{name}.lock")), cancel).await?;
        let path = folder.join(format!("{name}.git"));
        let locked = Self {
            mirror: Mirror { path },
            remote,
            _in_process: in_process,
            _between_processes: between_processes,
        };
        locked.make_usable(settings, cancel).await?;
        Ok(locked)
    }

    async fn make_usable(
        &self,
        settings: &WorkerSettings,
        cancel: &CancellationToken,
    ) -> Result<(), WorkspaceError> {
        let path = &self.mirror.path;
        let io = |source| WorkspaceError::Io {
            doing: format!("making the mirror {}", path.display()),
            source,
        };
        if tokio::fs::try_exists(path).await.map_err(io)? {
            let git = Git::at(path, settings.forge.timeout, cancel);
            match git
                .run("rev-parse", &["rev-parse", "--is-bare-repository"])
                .await
            {
                Ok(answer) if answer.starts_with(b"true") => return Ok(()),
                Err(WorkspaceError::Cancelled) => return Err(WorkspaceError::Cancelled),
                Ok(_) | Err(_) => {
                    warn!("the mirror {} is broken and is made anew", path.display());
                    self.discard().await?;
                }
            }
        }
        tokio::fs::create_dir_all(path).await.map_err(io)?;
        let git = Git::at(path, settings.forge.timeout, cancel);
        git.run("init", &["init", "--quiet", "--bare", "--template=", "."])
            .await?;
        Ok(())
    }

    /// Removes the mirror's files.
    pub(crate) async fn discard(&self) -> Result<(), WorkspaceError> {
        tokio::fs::remove_dir_all(&self.mirror.path)
            .await
            .map_err(|source| WorkspaceError::Io {
                doing: format!("removing the broken mirror {}", self.mirror.path.display()),
                source,
            })
    }

    /// Fetches refs into the mirror; makes a broken mirror anew, once.
    pub(crate) async fn fetch(
        &self,
        settings: &WorkerSettings,
        refspecs: &[String],
        cancel: &CancellationToken,
    ) -> Result<(), WorkspaceError> {
        match self.fetch_once(settings, refspecs, cancel).await {
            Err(WorkspaceError::Git { message, .. }) if looks_broken(&message) => {
                warn!(
                    "the mirror {} is broken: {message}",
                    self.mirror.path.display()
                );
                self.discard().await?;
                self.make_usable(settings, cancel).await?;
                self.fetch_once(settings, refspecs, cancel).await?;
            }
            other => other?,
        }
        let path = self.mirror.path.clone();
        let size = tokio::task::spawn_blocking(move || size_of(&path))
            .await
            .map_err(|error| WorkspaceError::Refused(error.to_string()))?;
        if size > settings.forge.max_bytes {
            self.discard().await?;
            return Err(WorkspaceError::Refused(format!(
                "the repository has {size} bytes, more than GIT_MAX_BYTES allows ({})",
                settings.forge.max_bytes
            )));
        }
        Ok(())
    }

    async fn fetch_once(
        &self,
        settings: &WorkerSettings,
        refspecs: &[String],
        cancel: &CancellationToken,
    ) -> Result<(), WorkspaceError> {
        let git = self.remote.git(&settings.forge, &self.mirror.path, cancel);
        let mut args: Vec<&str> = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--force",
            "--",
        ];
        args.push(&self.remote.url);
        args.extend(refspecs.iter().map(String::as_str));
        git.run("fetch", &args).await?;
        Ok(())
    }

    /// Whether the mirror has all of these commits.
    pub(crate) async fn has(
        &self,
        settings: &WorkerSettings,
        commits: &[&str],
        cancel: &CancellationToken,
    ) -> Result<bool, WorkspaceError> {
        let git = Git::at(&self.mirror.path, settings.forge.timeout, cancel);
        for commit in commits {
            let object = format!("{commit}^{{tree}}");
            match git.run("cat-file", &["cat-file", "-e", &object]).await {
                Ok(_) => {}
                Err(WorkspaceError::Git { .. }) => return Ok(false),
                Err(other) => return Err(other),
            }
        }
        Ok(true)
    }
}

/// What git says of a repository whose files are damaged.
fn looks_broken(message: &str) -> bool {
    [
        "not a git repository",
        "corrupt",
        "bad object",
        "unable to read",
        "is empty",
        "missing blob",
    ]
    .iter()
    .any(|sign| message.contains(sign))
        && !message.contains("Could not read from remote")
}

/// The refs that bring everything that a source may need.
pub(crate) fn refspecs(source: &Source, branch: Option<&str>) -> Vec<String> {
    match source {
        Source::Forge { number, .. } => {
            let mut specs = vec![format!("+refs/pull/{number}/head:refs/pull/{number}/head")];
            specs.extend(
                branch.map(|branch| format!("+refs/heads/{branch}:refs/remotes/origin/{branch}")),
            );
            specs
        }
        Source::Local { .. } => vec![
            "+refs/*:refs/local/*".to_owned(),
            "+HEAD:refs/local-head".to_owned(),
        ],
    }
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
    let locked = LockedMirror::open(settings, source, cancel).await?;
    if locked.has(settings, commits, cancel).await? {
        return Ok(locked.mirror);
    }
    locked
        .fetch(settings, &refspecs(source, None), cancel)
        .await?;
    if !locked.has(settings, commits, cancel).await? {
        return Err(WorkspaceError::Refused(
            "the repository no longer has the commits that the task was prepared with".to_owned(),
        ));
    }
    Ok(locked.mirror)
}

/// The lock of a mirror within this process.
fn lock_of(name: &str) -> Arc<tokio::sync::Mutex<()>> {
    static LOCKS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> =
        LazyLock::new(Mutex::default);
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(locks.entry(name.to_owned()).or_default())
}

/// The lock of a mirror between processes: released by the system when its holder dies.
async fn lock_file(
    path: PathBuf,
    cancel: &CancellationToken,
) -> Result<std::fs::File, WorkspaceError> {
    let opened = path.clone();
    let io = |source| WorkspaceError::Io {
        doing: format!("locking {}", path.display()),
        source,
    };
    let file = tokio::task::spawn_blocking(move || {
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(opened)
    })
    .await
    .map_err(|error| io(std::io::Error::other(error)))?
    .map_err(io)?;
    // Asked again and again instead of waited for: a wait could not be cancelled.
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(WorkspaceError::Cancelled),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
    }
}

/// All files below a folder, in bytes; what cannot be read counts nothing.
fn size_of(folder: &Path) -> u64 {
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => total += found.len(),
                Err(_) => {}
            }
        }
    }
    total
}
