//! Writes the files of a commit, byte for byte as they were recorded.
//!
//! `git checkout` would run filters and hooks, convert line ends and follow a hostile tree. Here every
//! path is checked to be inside before anything is written, and symlinks are created last, so that
//! no file can be written through one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::command::Git;
use super::mirror::Mirror;
use super::tree::{EntryKind, TreeEntry, read_objects, read_tree};
use crate::error::SourceError;
use crate::settings::SourceSettings;

/// Size limit of a file, in bytes.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// Length limit of a symlink's target, in bytes.
const MAX_TARGET_BYTES: u64 = 4096;

/// State of writing a checkout from the output of git.
struct CheckoutWriter {
    folder: PathBuf,
    entries: Vec<TreeEntry>,
    symlinks: Vec<(PathBuf, Vec<u8>)>,
    /// Folder of the previous file. git lists the files of a folder one after the other.
    last_folder: PathBuf,
}

pub(super) async fn write(
    settings: &SourceSettings,
    git: &Git,
    mirror: &Mirror,
    commit: &str,
    folder: &Path,
) -> Result<(), SourceError> {
    let entries = read_tree(git, mirror, commit).await?;
    let entries = allowed(entries, settings.forge.max_bytes)?;
    create_folder(folder).await?;
    let written = fill(git, mirror, entries, folder).await;
    if written.is_err() {
        // The caller gets the original error. An incomplete checkout is useless.
        let _ = tokio::fs::remove_dir_all(folder).await;
    }
    written
}

async fn create_folder(folder: &Path) -> Result<(), SourceError> {
    let failed = |source| SourceError::io("creating the folder of a checkout", source);
    if let Some(parent) = folder.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(failed)?;
    }
    tokio::fs::create_dir(folder).await.map_err(failed)
}

/// Checks every path and removes the entries that are not written.
fn allowed(entries: Vec<TreeEntry>, max_bytes: u64) -> Result<Vec<TreeEntry>, SourceError> {
    if let Some(entry) = entries.iter().find(|entry| !is_inside(&entry.path)) {
        return Err(SourceError::Refused(format!(
            "the repository contains a forbidden path: {:?}",
            String::from_utf8_lossy(&entry.path)
        )));
    }
    let symlinks: HashSet<Vec<u8>> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Symlink)
        .map(|entry| entry.path.clone())
        .collect();
    if let Some(entry) = entries
        .iter()
        .find(|entry| parents(&entry.path).any(|parent| symlinks.contains(parent)))
    {
        return Err(SourceError::Refused(format!(
            "the repository contains a path below a symlink: {:?}",
            String::from_utf8_lossy(&entry.path)
        )));
    }
    let kept: Vec<TreeEntry> = entries
        .into_iter()
        .filter(|entry| match entry.kind {
            EntryKind::File => entry.size <= MAX_FILE_BYTES,
            EntryKind::Symlink => entry.size <= MAX_TARGET_BYTES,
            EntryKind::Submodule => true,
        })
        .collect();
    let mut total: u64 = 0;
    for entry in &kept {
        total = total.saturating_add(entry.size);
    }
    if total > max_bytes {
        return Err(SourceError::Refused(format!(
            "the files are larger than GIT_MAX_BYTES ({max_bytes} bytes)"
        )));
    }
    Ok(kept)
}

/// Returns whether a path is inside the checkout and not in git's own folder.
fn is_inside(path: &[u8]) -> bool {
    !path.contains(&0)
        && path.split(|&byte| byte == b'/').all(|part| {
            !part.is_empty()
                && part != b"."
                && part != b".."
                && !part.eq_ignore_ascii_case(b".git")
                && !part.eq_ignore_ascii_case(b"git~1")
        })
}

/// Returns the folders that contain a path.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| &path[..at])
}

/// Returns whether a symlink at `path` stays inside the checkout.
///
/// `..` is allowed only at the start. After another name it would be relative to that name's target,
/// which may be a symlink too.
fn stays_inside(path: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return false;
    }
    let mut above = parents(path).count();
    let mut named = false;
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if named || above == 0 => return false,
            b".." => above -= 1,
            part if part.eq_ignore_ascii_case(b".git") => return false,
            _ => named = true,
        }
    }
    true
}

async fn fill(
    git: &Git,
    mirror: &Mirror,
    entries: Vec<TreeEntry>,
    folder: &Path,
) -> Result<(), SourceError> {
    let (submodules, objects): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|entry| entry.kind == EntryKind::Submodule);
    let ids = objects.iter().map(|entry| entry.id.clone()).collect();
    let writer = CheckoutWriter {
        folder: folder.to_owned(),
        entries: objects,
        symlinks: Vec::new(),
        last_folder: PathBuf::new(),
    };
    let written = read_objects(git, mirror, ids, writer, |writer, at, _, content| {
        writer.write(at, content)
    })
    .await?;
    let rest = move || {
        for submodule in submodules {
            let path = written.folder.join(OsStr::from_bytes(&submodule.path));
            std::fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        }
        for (path, target) in written.symlinks {
            create_parents(&path)?;
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), &path)
                .map_err(|error| failed(&path, error))?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(rest)
        .await
        .map_err(|error| failed(folder, std::io::Error::other(error)))?
}

impl CheckoutWriter {
    fn write(&mut self, at: usize, content: &mut dyn Read) -> Result<(), SourceError> {
        let Some(entry) = self.entries.get(at) else {
            return Ok(());
        };
        let path = self.folder.join(OsStr::from_bytes(&entry.path));
        match entry.kind {
            EntryKind::File => {
                if path.parent() != Some(self.last_folder.as_path()) {
                    create_parents(&path)?;
                    self.last_folder = path.parent().map(Path::to_owned).unwrap_or_default();
                }
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&path)
                    .map_err(|error| failed(&path, error))?;
                std::io::copy(content, &mut file).map_err(|error| failed(&path, error))?;
            }
            EntryKind::Symlink => {
                let mut target = Vec::new();
                content
                    .read_to_end(&mut target)
                    .map_err(|error| failed(&path, error))?;
                if stays_inside(&entry.path, &target) {
                    self.symlinks.push((path, target));
                }
            }
            EntryKind::Submodule => {}
        }
        Ok(())
    }
}

fn create_parents(path: &Path) -> Result<(), SourceError> {
    match path.parent() {
        Some(parent) => std::fs::create_dir_all(parent).map_err(|error| failed(path, error)),
        None => Ok(()),
    }
}

fn failed(path: &Path, error: std::io::Error) -> SourceError {
    // Only a hostile tree contains a path twice, or a file as a folder.
    let is_conflict = matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory
    );
    if is_conflict {
        SourceError::Refused(format!(
            "the repository contains two entries at one path: {}",
            path.display()
        ))
    } else {
        SourceError::io(format!("writing {}", path.display()), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_must_stay_inside() {
        for (path, target) in [
            ("a", "b"),
            ("a/b", "../c"),
            ("a/b", "./c/d"),
            ("a/b/c", "../../d"),
        ] {
            assert!(stays_inside(path.as_bytes(), target.as_bytes()), "{target}");
        }
        for (path, target) in [
            ("a", "/etc/passwd"),
            ("a", ".."),
            ("a/b", "../../c"),
            ("a/b", "c/../../.."),
            ("a", "dot/../x"),
            ("a", ".GIT/config"),
            ("a", ""),
        ] {
            assert!(
                !stays_inside(path.as_bytes(), target.as_bytes()),
                "{target}"
            );
        }
    }

    #[test]
    fn a_path_must_lead_inside_and_not_to_git() {
        for path in ["a", "a/b.txt", "..a", ".github/x", "a/.gitignore"] {
            assert!(is_inside(path.as_bytes()), "{path}");
        }
        for path in [
            "",
            "/a",
            "a//b",
            "../a",
            "a/..",
            ".git/hooks/x",
            "a/.GIT",
            "GIT~1/x",
            ".",
        ] {
            assert!(!is_inside(path.as_bytes()), "{path}");
        }
    }
}
