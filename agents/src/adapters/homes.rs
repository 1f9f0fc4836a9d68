//! A program's HOME as one value, to be put into another place: what a conversation is copied by
//! where nobody tells which of its files it is.

use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A HOME with more is not copied.
const MOST_BYTES: u64 = 64 << 20;
/// Forks live below the HOME that they are copied from.
pub(super) const FORKS: &str = "forks";

/// A session and the files of its HOME.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packed {
    pub(super) session: String,
    /// The folder that the session was begun in.
    pub(super) cwd: PathBuf,
    files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    /// Below HOME.
    path: PathBuf,
    /// Base64.
    bytes: String,
}

impl Packed {
    /// Packs the regular files of a HOME, or of one folder of it. Links are not followed.
    pub(super) async fn of(
        home: &Path,
        below: &str,
        session: String,
        cwd: PathBuf,
    ) -> Result<Self, Failure> {
        let (home, start) = (home.to_owned(), home.join(below));
        let packing = tokio::task::spawn_blocking(move || pack(&home, &start));
        let files = packing
            .await
            .map_err(|error| Failure::harness(format!("packing a HOME failed: {error}")))??;
        Ok(Self {
            session,
            cwd,
            files,
        })
    }

    /// Reads what [`Packed::bytes`] wrote.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::harness(format!("a checkpoint cannot be read: {error}")))
    }

    /// As a checkpoint's state.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self)
            .map_err(|error| Failure::harness(format!("a checkpoint cannot be written: {error}")))
    }

    /// Puts the files into another HOME; none leads out of it.
    pub(super) async fn unpack(&self, home: &Path) -> Result<(), Failure> {
        for file in &self.files {
            let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
            if !file.path.components().all(plain) {
                return Err(Failure::harness(format!(
                    "a checkpoint names {}, which is not below HOME",
                    file.path.display()
                )));
            }
            let path = home.join(&file.path);
            let written = async {
                let bytes = STANDARD
                    .decode(&file.bytes)
                    .map_err(|error| std::io::Error::other(error.to_string()))?;
                if let Some(folder) = path.parent() {
                    tokio::fs::create_dir_all(folder).await?;
                }
                tokio::fs::write(&path, bytes).await
            };
            written.await.map_err(|error| {
                Failure::harness(format!("{} cannot be written: {error}", path.display()))
            })?;
        }
        Ok(())
    }
}

/// Blocks.
fn pack(home: &Path, start: &Path) -> Result<Vec<File>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::harness(format!("{} cannot be read: {error}", path.display()))
    };
    let (mut files, mut folders, mut size) = (Vec::new(), vec![start.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&folder, error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| failed(&folder, error))?.path();
            let about = std::fs::symlink_metadata(&path).map_err(|error| failed(&path, error))?;
            if about.is_dir() && path != home.join(FORKS) {
                folders.push(path);
            } else if about.is_file() {
                size += about.len();
                if size > MOST_BYTES {
                    return Err(Failure::harness(format!(
                        "the HOME of the agent has more than {MOST_BYTES} bytes, which is more than \
                         is copied"
                    )));
                }
                let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
                let below = path.strip_prefix(home).unwrap_or(&path).to_owned();
                files.push(File {
                    path: below,
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
    async fn a_home_arrives_whole_and_nothing_leads_out_of_it() {
        let (from, to) = (
            tempfile::tempdir().expect("a"),
            tempfile::tempdir().expect("b"),
        );
        std::fs::create_dir_all(from.path().join("a/b")).expect("a folder");
        std::fs::create_dir_all(from.path().join(FORKS).join("0")).expect("a folder");
        std::fs::write(from.path().join("a/b/c"), [0, 255]).expect("a file");
        std::fs::write(from.path().join(FORKS).join("0/d"), "no").expect("a file");
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).expect("a link");
        let packed = Packed::of(from.path(), "", "s".to_owned(), "/w".into()).await;
        let bytes = packed.expect("packed").bytes().expect("bytes");
        let mut packed = Packed::read(&bytes).expect("the same");
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
