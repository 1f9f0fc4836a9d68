//! Files of Codex in its HOME. A conversation is one file, its rollout.
//!
//! The program's databases and logs are derived from the rollout. They are removed before each
//! turn, so that a restored or copied session is exactly its rollout.

use std::path::{Path, PathBuf};

use crate::adapters::cli_adapter::files;
use crate::failure::{Cause, Failure};

/// Folder of a rollout between turns, below `CODEX_HOME`. Like the time in the file's name, it has
/// the form that the program uses, so that the program finds the file, but is always the same.
const ROLLOUT_FOLDER: &str = "sessions/2000/01/01";
/// Time in the name of a rollout.
const ROLLOUT_TIME: &str = "2000-01-01T00-00-00";
/// Depth of the program's own folders for rollouts.
const MAX_FOLDER_DEPTH: usize = 4;

/// Returns the program's own folder in a HOME.
pub(super) fn codex_home(home: &Path) -> PathBuf {
    home.join(".codex")
}

/// Returns the id of a conversation in its usual form.
pub(super) fn thread_id(id: &str) -> Option<String> {
    uuid::Uuid::parse_str(id).ok().map(|id| id.to_string())
}

fn rollout_path(home: &Path, id: &str) -> PathBuf {
    codex_home(home)
        .join(ROLLOUT_FOLDER)
        .join(format!("rollout-{ROLLOUT_TIME}-{id}.jsonl"))
}

/// Reads the rollout of a conversation.
pub(super) async fn read_rollout(home: &Path, id: &str) -> Result<Vec<u8>, Failure> {
    files::read(&rollout_path(home, id)).await
}

/// Makes a rollout the only conversation in a HOME, and removes all that the program derived.
pub(super) async fn restore_rollout(
    home: &Path,
    rollout: Option<(&str, &[u8])>,
) -> Result<(), Failure> {
    files::create_folder(home.to_owned()).await?;
    files::remove_folder_if_exists(&codex_home(home).join("sessions")).await?;
    remove_databases(home).await?;
    match rollout {
        Some((id, rollout)) => files::write(&rollout_path(home, id), rollout).await,
        None => Ok(()),
    }
}

/// Removes the program's databases.
pub(super) async fn remove_databases(home: &Path) -> Result<(), Failure> {
    for path in files::entries(&codex_home(home)).await? {
        if files::name_of(&path).contains(".sqlite") {
            files::remove(&path).await?;
        }
    }
    Ok(())
}

/// Moves the rollout of a conversation's first turn from the program's folder to our own.
pub(super) async fn collect_rollout(home: &Path, id: &str) -> Result<(), Failure> {
    let suffix = format!("-{id}.jsonl");
    let mut folders = vec![codex_home(home).join("sessions")];
    for _ in 0..MAX_FOLDER_DEPTH {
        let mut subfolders = Vec::new();
        for folder in folders {
            for path in files::entries(&folder).await? {
                if path.to_string_lossy().ends_with(&suffix) {
                    return files::rename(&path, &rollout_path(home, id)).await;
                }
                if path.is_dir() {
                    subfolders.push(path);
                }
            }
        }
        folders = subfolders;
    }
    Err(Failure::new(
        Cause::AgentCrashed,
        "Codex did not store the conversation",
    ))
}
