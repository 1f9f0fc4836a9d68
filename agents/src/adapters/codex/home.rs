//! Where Codex keeps things in its HOME: a conversation is one file, its rollout.
//!
//! What else the program writes there (databases, logs) is made anew from the rollout, and is removed
//! before each turn: a session that was put back, or copied, is then what its rollout says.

use std::path::{Path, PathBuf};

use tokio::fs;

use super::CodexSession;
use crate::failure::{Cause, Failure};

/// Where a rollout is kept between turns, below `CODEX_HOME`: a folder and a time as the program
/// would name them, so that it finds the file, but always the same ones.
const FOLDER: &str = "sessions/2000/01/01";
const TIME: &str = "2000-01-01T00-00-00";
/// How deep the program's own folders for rollouts go.
const DEPTH: usize = 4;

/// The program's own folder in a HOME.
pub(super) fn codex_home(home: &Path) -> PathBuf {
    home.join(".codex")
}

/// An id of a conversation, in its usual form.
pub(super) fn thread_id(id: &str) -> Option<String> {
    uuid::Uuid::parse_str(id).ok().map(|id| id.to_string())
}

impl CodexSession {
    fn rollout_path(&self, id: &str) -> PathBuf {
        codex_home(&self.spec.home)
            .join(FOLDER)
            .join(format!("rollout-{TIME}-{id}.jsonl"))
    }

    /// The conversation; none before the first turn.
    pub(super) async fn rollout(&self) -> Result<Option<Vec<u8>>, Failure> {
        match &self.id {
            Some(id) => read(&self.rollout_path(id)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes the conversation what `rollout` holds, and forgets all that the program knew of it.
    pub(super) async fn put_back(&self, rollout: Option<&[u8]>) -> Result<(), Failure> {
        let sessions = codex_home(&self.spec.home).join("sessions");
        match fs::remove_dir_all(&sessions).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("be removed", &sessions)(error));
            }
            Ok(()) | Err(_) => {}
        }
        self.forget().await?;
        match (&self.id, rollout) {
            (Some(id), Some(rollout)) => write(&self.rollout_path(id), rollout).await,
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Removes the program's databases.
    pub(super) async fn forget(&self) -> Result<(), Failure> {
        let codex_home = codex_home(&self.spec.home);
        for path in entries(&codex_home).await? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.contains(".sqlite") {
                fs::remove_file(&path)
                    .await
                    .map_err(cannot("be removed", &path))?;
            }
        }
        Ok(())
    }

    /// Takes the rollout of a conversation's first turn from where the program put it.
    pub(super) async fn settle(&self, id: &str) -> Result<(), Failure> {
        let ours = self.rollout_path(id);
        let ending = format!("-{id}.jsonl");
        let mut folders = vec![codex_home(&self.spec.home).join("sessions")];
        for _ in 0..DEPTH {
            let mut next = Vec::new();
            for folder in folders {
                for path in entries(&folder).await? {
                    if path.to_string_lossy().ends_with(&ending) {
                        folder_of(&ours).await?;
                        return fs::rename(&path, &ours)
                            .await
                            .map_err(cannot("be renamed", &path));
                    }
                    if path.is_dir() {
                        next.push(path);
                    }
                }
            }
            folders = next;
        }
        Err(Failure::new(
            Cause::AgentCrashed,
            "Codex did not keep the conversation",
        ))
    }
}

/// Makes a folder, if it is not there.
pub(super) async fn folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path)
        .await
        .map_err(cannot("be made", path))
}

async fn folder_of(path: &Path) -> Result<(), Failure> {
    match path.parent() {
        Some(parent) => folder(parent).await,
        None => Ok(()),
    }
}

/// Reads a file.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).await.map_err(cannot("be read", path))
}

/// Writes a file, and makes its folder.
pub(super) async fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    folder_of(path).await?;
    fs::write(path, bytes)
        .await
        .map_err(cannot("be written", path))
}

/// What is in a folder, which may not be there.
async fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut names = match fs::read_dir(folder).await {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot("be read", folder)(error)),
    };
    let mut found = Vec::new();
    while let Some(entry) = names
        .next_entry()
        .await
        .map_err(cannot("be read", folder))?
    {
        found.push(entry.path());
    }
    Ok(found)
}

/// What cannot be done with a path.
pub(super) fn cannot(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let message = format!("{} cannot {what}", path.display());
    move |error| Failure::harness(format!("{message}: {error}"))
}
