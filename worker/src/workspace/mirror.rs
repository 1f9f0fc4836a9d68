//! Bare mirrors on this machine: one per repository, one user at a time, made anew when broken.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use entity::task::Source;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::git::Git;
use super::remote::Remote;
use super::{Mirror, WorkspaceError};
use crate::settings::WorkerSettings;

/// How often a growing mirror is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// A mirror that nobody else changes meanwhile.
pub(crate) struct LockedMirror {
    pub(crate) mirror: Mirror,
    pub(crate) remote: Remote,
    _lock: Lock,
}

impl LockedMirror {
    /// Opens the mirror of a source, and makes it where there is none or the one there is broken.
    pub(crate) async fn open(
        settings: &WorkerSettings,
        source: &Source,
        cancel: &CancellationToken,
    ) -> Result<Self, WorkspaceError> {
        let remote = Remote::of(&settings.forge, source).await?;
        let folder = settings.work_dir.join("mirrors");
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(|source| WorkspaceError::Io {
                doing: format!("using the mirrors in {}", folder.display()),
                source,
            })?;
        let name = hex::encode(Sha256::digest(remote.url.as_bytes()));
        let path = folder.join(format!("{name}.git"));
        let locked = Self {
            _lock: Lock::of(&path, cancel).await?,
            mirror: Mirror { path },
            remote,
        };
        locked.make_usable(settings, cancel).await?;
        Ok(locked)
    }

    /// git in the mirror, speaking to nobody.
    pub(crate) fn git(&self, settings: &WorkerSettings, cancel: &CancellationToken) -> Git {
        Git::at(&self.mirror.path, settings.forge.timeout, cancel)
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
        let git = self.git(settings, cancel);
        if tokio::fs::try_exists(path).await.map_err(io)? {
            if self.is_repository(settings, cancel).await? {
                return Ok(());
            }
            warn!("the mirror {} is broken and is made anew", path.display());
            discard(path).await?;
        }
        tokio::fs::create_dir_all(path).await.map_err(io)?;
        git.run("init", &["init", "--quiet", "--bare", "--template=", "."])
            .await?;
        Ok(())
    }

    async fn is_repository(
        &self,
        settings: &WorkerSettings,
        cancel: &CancellationToken,
    ) -> Result<bool, WorkspaceError> {
        let found = tokio::fs::metadata(&self.mirror.path).await;
        if !found.is_ok_and(|found| found.is_dir()) {
            return Ok(false);
        }
        let asked = ["rev-parse", "--is-bare-repository"];
        match self.git(settings, cancel).run("rev-parse", &asked).await {
            Ok(answer) => Ok(answer.starts_with(b"true")),
            Err(WorkspaceError::Git { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Throws away a mirror whose files are damaged and begins an empty one.
    pub(crate) async fn renew(
        &self,
        settings: &WorkerSettings,
        why: &WorkspaceError,
        cancel: &CancellationToken,
    ) -> Result<(), WorkspaceError> {
        let path = &self.mirror.path;
        warn!(
            "the mirror {} is broken and is made anew: {why}",
            path.display()
        );
        discard(path).await?;
        self.make_usable(settings, cancel).await
    }

    /// Fetches refs into the mirror, no more than the settings allow.
    pub(crate) async fn fetch(
        &self,
        settings: &WorkerSettings,
        refspecs: &[String],
        cancel: &CancellationToken,
    ) -> Result<(), WorkspaceError> {
        let git = self.remote.git(&settings.forge, &self.mirror.path, cancel);
        let mut args = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--force",
        ];
        args.extend(self.remote.fetch_options());
        args.extend(["--", &self.remote.url]);
        args.extend(refspecs.iter().map(String::as_str));
        // Dropping the fetch kills its processes.
        let fetched = tokio::select! {
            fetched = git.run("fetch", &args) => Some(fetched),
            () = self.is_too_large(settings) => None,
        };
        match fetched {
            Some(Ok(_)) if !self.exceeds(settings).await => Ok(()),
            Some(Ok(_)) | None => {
                discard(&self.mirror.path).await?;
                Err(WorkspaceError::Refused(format!(
                    "the repository is larger than GIT_MAX_BYTES allows ({} bytes)",
                    settings.forge.max_bytes
                )))
            }
            Some(Err(error)) => Err(without_remedy(error)),
        }
    }

    /// Returns once the mirror exceeds its limit.
    async fn is_too_large(&self, settings: &WorkerSettings) {
        loop {
            tokio::time::sleep(MEASURE_EVERY).await;
            if self.exceeds(settings).await {
                return;
            }
        }
    }

    async fn exceeds(&self, settings: &WorkerSettings) -> bool {
        let path = self.mirror.path.clone();
        let limit = settings.forge.max_bytes;
        // The measuring cannot panic; were it cancelled, nobody would wait for its answer.
        tokio::task::spawn_blocking(move || size_of(&path) > limit)
            .await
            .unwrap_or(true)
    }

    /// Whether the mirror has all of these commits.
    pub(crate) async fn has(
        &self,
        settings: &WorkerSettings,
        commits: &[&str],
        cancel: &CancellationToken,
    ) -> Result<bool, WorkspaceError> {
        let git = self.git(settings, cancel);
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

/// Failures that come again however often it is tried.
pub(crate) fn without_remedy(error: WorkspaceError) -> WorkspaceError {
    let WorkspaceError::Git { message, .. } = &error else {
        return error;
    };
    let said = |sign: &str| message.contains(sign);
    if said("couldn't find remote ref") {
        WorkspaceError::Refused(format!(
            "the repository has no such pull request or branch: {message}"
        ))
    } else if said("not our ref") || said("unadvertised object") {
        WorkspaceError::Refused(format!(
            "the repository no longer has the commit: {message}"
        ))
    } else if said("could not read Username") || said("' not found") {
        WorkspaceError::Refused(format!(
            "the repository is not there, or needs another FORGE_TOKEN: {message}"
        ))
    } else {
        error
    }
}

/// Removes a mirror that was found damaged by somebody who does not hold its lock.
pub(super) async fn discard_damaged(
    mirror: &Mirror,
    why: &WorkspaceError,
    cancel: &CancellationToken,
) -> Result<(), WorkspaceError> {
    let _lock = Lock::of(&mirror.path, cancel).await?;
    warn!(
        "the mirror {} is broken and is removed: {why}",
        mirror.path.display()
    );
    discard(&mirror.path).await
}

async fn discard(path: &Path) -> Result<(), WorkspaceError> {
    let removed = match tokio::fs::symlink_metadata(path).await {
        Ok(found) if found.is_dir() => tokio::fs::remove_dir_all(path).await,
        Ok(_) => tokio::fs::remove_file(path).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(WorkspaceError::Io {
            doing: format!("removing the mirror {}", path.display()),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The lock of a mirror: within this process, and between processes by a file beside it.
struct Lock {
    _in_process: tokio::sync::OwnedMutexGuard<()>,
    _between_processes: std::fs::File,
}

impl Lock {
    async fn of(mirror: &Path, cancel: &CancellationToken) -> Result<Self, WorkspaceError> {
        let file = mirror.with_extension("lock");
        let in_process = tokio::select! {
            () = cancel.cancelled() => return Err(WorkspaceError::Cancelled),
            guard = lock_of(&file).lock_owned() => guard,
        };
        Ok(Self {
            _in_process: in_process,
            _between_processes: lock_file(file, cancel).await?,
        })
    }
}

fn lock_of(file: &Path) -> Arc<tokio::sync::Mutex<()>> {
    static LOCKS: LazyLock<Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>> =
        LazyLock::new(Mutex::default);
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(locks.entry(file.to_owned()).or_default())
}

/// Held until the file is closed: released by the system when its holder dies.
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
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
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
