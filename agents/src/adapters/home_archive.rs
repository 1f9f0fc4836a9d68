//! Archive of a program's HOME: copies a conversation where its files are not known.

use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::cli_adapter::files::{self, could_not};
use super::cli_adapter::session::FORKS;
use crate::failure::Failure;

/// Largest HOME that is copied, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// A session and the files of its HOME.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HomeArchive {
    pub(super) session: String,
    /// Folder in which the session began.
    pub(super) cwd: PathBuf,
    files: Vec<ArchivedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ArchivedFile {
    /// Relative to HOME.
    path: PathBuf,
    /// Base64.
    bytes: String,
}

impl HomeArchive {
    /// Packs the regular files of a HOME, or of one folder in it. Links are not followed.
    pub(super) async fn pack(
        home: &Path,
        subfolder: &str,
        session: String,
        cwd: PathBuf,
    ) -> Result<Self, Failure> {
        let (home, start) = (home.to_owned(), home.join(subfolder));
        let packing = tokio::task::spawn_blocking(move || read_files(&home, &start));
        let files = packing
            .await
            .map_err(|error| Failure::harness(format!("could not archive a HOME: {error}")))??;
        Ok(Self {
            session,
            cwd,
            files,
        })
    }

    /// Parses an archive that [`HomeArchive::to_bytes`] wrote.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::harness(format!("invalid checkpoint: {error}")))
    }

    /// Returns the archive as the state of a checkpoint.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self)
            .map_err(|error| Failure::harness(format!("could not write a checkpoint: {error}")))
    }

    /// Writes the files into another HOME. Refuses paths that lead out of it.
    pub(super) async fn unpack(&self, home: &Path) -> Result<(), Failure> {
        for file in &self.files {
            let is_name = |part: Component<'_>| matches!(part, Component::Normal(_));
            if !file.path.components().all(is_name) {
                return Err(Failure::harness(format!(
                    "invalid checkpoint: {} is not below HOME",
                    file.path.display()
                )));
            }
            let path = home.join(&file.path);
            let bytes = STANDARD.decode(&file.bytes).map_err(|error| {
                Failure::harness(format!(
                    "invalid checkpoint: {} is not base64: {error}",
                    file.path.display()
                ))
            })?;
            files::write(&path, &bytes).await?;
        }
        Ok(())
    }
}

/// Reads the files below a folder. Blocks.
fn read_files(home: &Path, start: &Path) -> Result<Vec<ArchivedFile>, Failure> {
    let (mut files, mut folders, mut size) = (Vec::new(), vec![start.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(could_not("read", &folder)(error)),
        };
        for entry in entries {
            let path = entry.map_err(could_not("read", &folder))?.path();
            let metadata = std::fs::symlink_metadata(&path).map_err(could_not("read", &path))?;
            if metadata.is_dir() && path != home.join(FORKS) {
                folders.push(path);
            } else if metadata.is_file() {
                size += metadata.len();
                if size > MAX_BYTES {
                    return Err(Failure::harness(format!(
                        "could not archive the HOME of the agent: it has more than {MAX_BYTES} bytes"
                    )));
                }
                let bytes = std::fs::read(&path).map_err(could_not("read", &path))?;
                let relative = path.strip_prefix(home).unwrap_or(&path).to_owned();
                files.push(ArchivedFile {
                    path: relative,
                    bytes: STANDARD.encode(bytes),
                });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_home_is_copied_completely_and_no_file_leads_out_of_it() {
        let (from, to) = (
            tempfile::tempdir().expect("a"),
            tempfile::tempdir().expect("b"),
        );
        std::fs::create_dir_all(from.path().join("a/b")).expect("a folder");
        std::fs::create_dir_all(from.path().join(FORKS).join("0")).expect("a folder");
        std::fs::write(from.path().join("a/b/c"), [0, 255]).expect("a file");
        std::fs::write(from.path().join(FORKS).join("0/d"), "no").expect("a file");
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).expect("a link");
        let packed = HomeArchive::pack(from.path(), "", "s".to_owned(), "/w".into()).await;
        let bytes = packed.expect("packed").to_bytes().expect("bytes");
        let mut packed = HomeArchive::parse(&bytes).expect("the same");
        packed.unpack(to.path()).await.expect("unpacked");
        assert_eq!(
            std::fs::read(to.path().join("a/b/c")).expect("it"),
            [0, 255]
        );
        assert!(!to.path().join(FORKS).exists() && !to.path().join("link").exists());

        packed.files[0].path = "../out".into();
        assert!(packed.unpack(to.path()).await.is_err());
    }
}
