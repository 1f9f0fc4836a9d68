//! Writes the files of a commit, byte for byte as they were recorded.
//!
//! Not by `git checkout`, which runs filters and hooks, converts line ends and follows what a tree
//! of hostile make says. Here a path is proven to lead inside before anything is written, and
//! symlinks are made last, so that no file can be written through one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::git::Git;
use super::tree::{Kind, TreeEntry, read_objects, read_tree};
use super::{Mirror, WorkspaceError};
use crate::settings::WorkerSettings;

/// The largest file that is written.
const MOST_FILE: u64 = 32 << 20;
/// The longest target of a symlink.
const MOST_TARGET: u64 = 4096;

/// What is written from git's stream.
struct Writing {
    folder: PathBuf,
    entries: Vec<TreeEntry>,
    symlinks: Vec<(PathBuf, Vec<u8>)>,
    /// The folder of the file before: git lists a folder's files one after the other.
    made: PathBuf,
}

pub(super) async fn write(
    settings: &WorkerSettings,
    git: &Git,
    mirror: &Mirror,
    commit: &str,
    folder: &Path,
) -> Result<(), WorkspaceError> {
    let entries = read_tree(git, mirror, commit).await?;
    let entries = allowed(entries, settings.forge.max_bytes)?;
    make_folder(folder).await?;
    let written = fill(git, mirror, entries, folder).await;
    if written.is_err() {
        // The caller learns why; half a checkout is of no use to anyone.
        let _ = tokio::fs::remove_dir_all(folder).await;
    }
    written
}

async fn make_folder(folder: &Path) -> Result<(), WorkspaceError> {
    let failed = |source| WorkspaceError::io("making the folder of a checkout", source);
    if let Some(parent) = folder.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(failed)?;
    }
    tokio::fs::create_dir(folder).await.map_err(failed)
}

/// Checks every path and leaves out what is not written.
fn allowed(entries: Vec<TreeEntry>, most: u64) -> Result<Vec<TreeEntry>, WorkspaceError> {
    if let Some(entry) = entries.iter().find(|entry| !is_inside(&entry.path)) {
        return Err(WorkspaceError::Refused(format!(
            "the repository has a path that must not be written: {:?}",
            String::from_utf8_lossy(&entry.path)
        )));
    }
    let symlinks: HashSet<Vec<u8>> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Symlink)
        .map(|entry| entry.path.clone())
        .collect();
    if let Some(entry) = entries
        .iter()
        .find(|entry| parents(&entry.path).any(|parent| symlinks.contains(parent)))
    {
        return Err(WorkspaceError::Refused(format!(
            "the repository has a path below a symlink: {:?}",
            String::from_utf8_lossy(&entry.path)
        )));
    }
    let kept: Vec<TreeEntry> = entries
        .into_iter()
        .filter(|entry| match entry.kind {
            Kind::File => entry.size <= MOST_FILE,
            Kind::Symlink => entry.size <= MOST_TARGET,
            Kind::Submodule => true,
        })
        .collect();
    let mut total: u64 = 0;
    for entry in &kept {
        total = total.saturating_add(entry.size);
    }
    if total > most {
        return Err(WorkspaceError::Refused(format!(
            "the files are larger than GIT_MAX_BYTES ({most} bytes)"
        )));
    }
    Ok(kept)
}

/// Whether a path leads to a place inside the checkout, and not to git's own.
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

/// The folders that a path lies in.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| &path[..at])
}

/// Whether a symlink at `path` stays inside. `..` may only stand first: after another name it would
/// be taken from where that name leads to, which may be a symlink too.
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
) -> Result<(), WorkspaceError> {
    let (submodules, objects): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|entry| entry.kind == Kind::Submodule);
    let ids = objects.iter().map(|entry| entry.id.clone()).collect();
    let writing = Writing {
        folder: folder.to_owned(),
        entries: objects,
        symlinks: Vec::new(),
        made: PathBuf::new(),
    };
    let written = read_objects(git, mirror, ids, writing, |writing, at, _, content| {
        writing.write(at, content)
    })
    .await?;
    let rest = move || {
        for submodule in submodules {
            let path = written.folder.join(OsStr::from_bytes(&submodule.path));
            std::fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        }
        for (path, target) in written.symlinks {
            make_parents(&path)?;
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), &path)
                .map_err(|error| failed(&path, error))?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(rest)
        .await
        .map_err(|error| failed(folder, std::io::Error::other(error)))?
}

impl Writing {
    fn write(&mut self, at: usize, content: &mut dyn Read) -> Result<(), WorkspaceError> {
        let Some(entry) = self.entries.get(at) else {
            return Ok(());
        };
        let path = self.folder.join(OsStr::from_bytes(&entry.path));
        match entry.kind {
            Kind::File => {
                if path.parent() != Some(self.made.as_path()) {
                    make_parents(&path)?;
                    self.made = path.parent().map(Path::to_owned).unwrap_or_default();
                }
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&path)
                    .map_err(|error| failed(&path, error))?;
                std::io::copy(content, &mut file).map_err(|error| failed(&path, error))?;
            }
            Kind::Symlink => {
                let mut target = Vec::new();
                content
                    .read_to_end(&mut target)
                    .map_err(|error| failed(&path, error))?;
                if stays_inside(&entry.path, &target) {
                    self.symlinks.push((path, target));
                }
            }
            Kind::Submodule => {}
        }
        Ok(())
    }
}

fn make_parents(path: &Path) -> Result<(), WorkspaceError> {
    match path.parent() {
        Some(parent) => std::fs::create_dir_all(parent).map_err(|error| failed(path, error)),
        None => Ok(()),
    }
}

fn failed(path: &Path, error: std::io::Error) -> WorkspaceError {
    // A tree of hostile make: no git writes one that has a path twice, or a file as a folder.
    let twice = matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory
    );
    if twice {
        WorkspaceError::Refused(format!(
            "the repository has two things at one path: {}",
            path.display()
        ))
    } else {
        WorkspaceError::io(format!("writing {}", path.display()), error)
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
