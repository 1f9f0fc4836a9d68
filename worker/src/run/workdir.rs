//! The folders of one attempt: the workspace, and a HOME per session. They are removed on drop.

use std::path::{Path, PathBuf};

use crate::job_error::{JobError, io_error};

/// `WORK_DIR/runs/<run>-<epoch>`.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
    removed: bool,
}

impl WorkDir {
    /// Creates the folders. No other attempt has the same epoch.
    pub(crate) async fn create(root: PathBuf) -> Result<Self, JobError> {
        let folder = Self {
            root,
            removed: false,
        };
        for path in [folder.workspace(), folder.homes()] {
            tokio::fs::create_dir_all(&path)
                .await
                .map_err(|error| io_error("creating a folder", &path, error))?;
        }
        Ok(folder)
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.root.join("workspace")
    }

    pub(crate) fn raw_stream(&self) -> PathBuf {
        self.root.join("raw_stream.jsonl.gz")
    }

    fn homes(&self) -> PathBuf {
        self.root.join("homes")
    }

    /// Creates a HOME for one session.
    pub(crate) async fn home(&self, name: &str) -> Result<PathBuf, JobError> {
        let home = self.homes().join(name);
        tokio::fs::create_dir_all(&home)
            .await
            .map_err(|error| io_error("creating a HOME", &home, error))?;
        Ok(home)
    }

    /// Empties the workspace. The folder itself stays, because a program may run in it.
    pub(crate) async fn empty_workspace(&self) -> Result<(), JobError> {
        let workspace = self.workspace();
        let emptying = |error| io_error("emptying the workspace", &workspace, error);
        let mut entries = tokio::fs::read_dir(&workspace).await.map_err(emptying)?;
        while let Some(entry) = entries.next_entry().await.map_err(emptying)? {
            let kind = entry.file_type().await.map_err(emptying)?;
            let removed = if kind.is_dir() {
                tokio::fs::remove_dir_all(entry.path()).await
            } else {
                tokio::fs::remove_file(entry.path()).await
            };
            removed.map_err(emptying)?;
        }
        Ok(())
    }

    /// Removes all folders.
    pub(crate) async fn remove(mut self) {
        self.removed = true;
        remove(&self.root).await;
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        // A job that was dropped cannot wait any more.
        let root = std::mem::take(&mut self.root);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { remove(&root).await });
        }
    }
}

async fn remove(root: &Path) {
    // A program that was just killed may still have created a file.
    for _ in 0..3 {
        match tokio::fs::remove_dir_all(root).await {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!("the folder {} stays: {error}", root.display());
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}
