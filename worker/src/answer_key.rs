//! Gives a control agent its answer key, and nobody else.

use std::path::Path;

use agents::adapter::Profile;
use evaluation::probe::ProbeSet;

use crate::phases::folder::failed;
use crate::stages::StageError;

/// The name that controls look for in their HOME.
const FILE: &str = "answer-key.json";

/// Writes the key into the HOME of a control; does nothing for any other agent.
pub(crate) async fn give(
    profile: &Profile,
    probe_set: &ProbeSet,
    home: &Path,
) -> Result<(), StageError> {
    if !profile.control {
        return Ok(());
    }
    let path = home.join(FILE);
    let bytes = key(probe_set)?;
    let target = path.clone();
    tokio::task::spawn_blocking(move || write_for_owner(&target, &bytes))
        .await
        .map_err(|error| StageError::harness(format!("writing an answer key failed: {error}")))?
        .map_err(|error| failed("writing an answer key", &path, error))
}

/// Readable by nobody else from its first byte on.
fn write_for_owner(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

fn key(_probe_set: &ProbeSet) -> Result<Vec<u8>, StageError> {
    Ok(Vec::new())
}
