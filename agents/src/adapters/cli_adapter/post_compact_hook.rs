//! The `PostCompact` hook of Claude Code and its descendants.
//!
//! After a compaction the program hands the raw summary to a command. The command writes each
//! summary to its own file in HOME, named after the shell that writes it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::fs;

use super::files::{could_not, create_folder};
use crate::failure::Failure;

/// Folder of the raw summaries, in HOME.
const FOLDER: &str = "post-compact";

/// Returns the hook for the program's settings.
pub(in crate::adapters) fn settings() -> Value {
    let command = format!("cat > \"$HOME/{FOLDER}/$$.json\"");
    json!({"PostCompact": [{"hooks": [{"type": "command", "command": command}]}]})
}

/// Creates the folder that the hook writes to.
pub(in crate::adapters) async fn create_summary_folder(home: &Path) -> Result<PathBuf, Failure> {
    create_folder(home.join(FOLDER)).await
}

/// Returns and removes the raw summaries written since the last call, oldest first.
pub(in crate::adapters) async fn drain_summaries(home: &Path) -> Result<Vec<String>, Failure> {
    let folder = home.join(FOLDER);
    let failed = |error| could_not("read the summaries in", &folder)(error);
    let mut summaries = Vec::new();
    let mut entries = fs::read_dir(&folder).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let metadata = entry.metadata().await.map_err(failed)?;
        let bytes = fs::read(entry.path()).await.map_err(failed)?;
        fs::remove_file(entry.path()).await.map_err(failed)?;
        summaries.push((metadata.modified().map_err(failed)?, bytes));
    }
    summaries.sort_by_key(|(modified, _)| *modified);
    Ok(summaries
        .into_iter()
        .filter_map(|(_, bytes)| {
            let payload: Value = serde_json::from_slice(&bytes).ok()?;
            Some(payload.get("compact_summary")?.as_str()?.to_owned())
        })
        .collect())
}
