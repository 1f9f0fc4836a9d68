//! Writes the files of a commit, by ourselves: git's own checkout runs filters, obeys attributes
//! and writes symlinks wherever they point.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::git::{Git, object_size};
use super::mirror::discard_damaged;
use super::{Mirror, WorkspaceError, is_object_id};
use crate::settings::WorkerSettings;

/// A file that is larger is left out: nobody reads it, and a commit of them would fill the disk.
const LARGEST_FILE: u64 = 32 << 20;
/// All files of a checkout together.
const LARGEST_CHECKOUT: u64 = 4 << 30;

/// One entry of a commit.
struct Entry {
    path: PathBuf,
    object: String,
    size: u64,
    is_link: bool,
}

/// Writes the files of a commit into `folder`, which must not exist.
///
/// No `.git`, no symlink that leads outside, nothing changed by attributes or filters. Files over
/// 32 MiB and paths that are not safe are left out.
///
/// # Errors
///
/// The folder is there already, the commit is not, or the disk refuses.
pub async fn checkout(
    settings: &WorkerSettings,
    mirror: &Mirror,
    commit: &str,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<(), WorkspaceError> {
    let io = |source| WorkspaceError::Io {
        doing: format!("writing the checkout {}", folder.display()),
        source,
    };
    if let Some(parent) = folder.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(io)?;
    }
    tokio::fs::create_dir(folder).await.map_err(io)?;
    if !is_object_id(commit) {
        return Err(WorkspaceError::Refused(format!(
            "{commit:?} is no commit id"
        )));
    }
    let git = Git::at(&mirror.path, settings.forge.timeout, cancel);
    match write_commit(&git, commit, folder).await {
        Ok(left_out) => {
            if left_out > 0 {
                info!(
                    "{left_out} entries of the commit {commit} are not safe to write, or too large"
                );
            }
            Ok(())
        }
        Err(error) if error.is_of_damage() => {
            // The next attempt fetches it anew instead of failing for ever.
            discard_damaged(mirror, &error, cancel).await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Writes what can be written, and returns how much was left out.
async fn write_commit(git: &Git, commit: &str, folder: &Path) -> Result<usize, WorkspaceError> {
    let args = [
        "ls-tree",
        "-r",
        "-z",
        "-l",
        "--full-tree",
        "--end-of-options",
        commit,
    ];
    let listed = git.run("ls-tree", &args).await?;
    let lines = || {
        listed
            .split(|&byte| byte == 0)
            .filter(|line| !line.is_empty())
    };
    let entries: Vec<Entry> = lines().filter_map(entry).collect();
    let left_out = lines().count() - entries.len();
    if entries.iter().map(|entry| entry.size).sum::<u64>() > LARGEST_CHECKOUT {
        return Err(WorkspaceError::Refused(format!(
            "the commit {commit} has more than {LARGEST_CHECKOUT} bytes of files"
        )));
    }
    let objects: Vec<u8> = entries
        .iter()
        .flat_map(|entry| [entry.object.as_bytes(), b"\n"].concat())
        .collect();
    let root = folder.to_owned();
    git.run_with(
        "cat-file",
        &["cat-file", "--batch"],
        objects,
        |stdout| async move {
            // Writing many small files blocks; the channel keeps what waits for the disk small.
            let (sender, receiver) = mpsc::channel::<(Entry, Vec<u8>)>(64);
            let writer = tokio::task::spawn_blocking(move || write_all(&root, receiver));
            let read = read_objects(stdout, entries, sender).await;
            let written = writer.await.map_err(std::io::Error::other)?;
            let refused = written?;
            read?;
            Ok(left_out + refused)
        },
    )
    .await
}

/// Reads `<mode> <type> <object> <size>\t<path>`; none for what is not to be written.
fn entry(line: &[u8]) -> Option<Entry> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let head = std::str::from_utf8(&line[..tab]).ok()?;
    let mut words = head.split_ascii_whitespace();
    let (mode, kind, object, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    // A submodule is a commit of another repository: there is nothing here to write.
    if kind != "blob" {
        return None;
    }
    let size = size.parse().ok()?;
    let path = PathBuf::from(OsStr::from_bytes(&line[tab + 1..]));
    (size <= LARGEST_FILE && is_safe(&path)).then(|| Entry {
        path,
        object: object.to_owned(),
        size,
        is_link: mode == "120000",
    })
}

/// A relative path that climbs nowhere and touches nothing that git would take for its own.
fn is_safe(path: &Path) -> bool {
    let own = |name: &OsStr| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        let name = name.trim_end_matches(['.', ' ']);
        name == ".git" || name.starts_with("git~")
    };
    path.components().all(|part| match part {
        Component::Normal(name) => !own(name),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    }) && path.components().next().is_some()
}

async fn read_objects(
    stdout: tokio::process::ChildStdout,
    entries: Vec<Entry>,
    sender: mpsc::Sender<(Entry, Vec<u8>)>,
) -> std::io::Result<()> {
    let mut stdout = BufReader::with_capacity(256 << 10, stdout);
    for entry in entries {
        let size = object_size(&mut stdout).await?;
        if size != entry.size {
            let why = "an object is not as long as it was listed";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
        }
        // At most `LARGEST_FILE`, which fits.
        let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
        stdout.read_exact(&mut bytes).await?;
        stdout.read_u8().await?;
        if sender.send((entry, bytes)).await.is_err() {
            // The writer failed and says why.
            return Ok(());
        }
    }
    Ok(())
}

/// Returns how many entries could not be written because of what else the tree holds: a tree made
/// by hand can have a file and a folder of the same name.
fn write_all(
    root: &Path,
    mut receiver: mpsc::Receiver<(Entry, Vec<u8>)>,
) -> std::io::Result<usize> {
    let mut folders = HashSet::new();
    let mut links = Vec::new();
    let mut refused = 0;
    while let Some((entry, bytes)) = receiver.blocking_recv() {
        if entry.is_link {
            // Written last, so that nothing is ever written through one.
            links.push((entry.path, bytes));
            continue;
        }
        let written = make_parents(root, &entry.path, &mut folders).and_then(|()| {
            let target = root.join(&entry.path);
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(target)?;
            file.write_all(&bytes)
        });
        refused += usize::from(!is_written(written)?);
    }
    for (path, bytes) in links {
        let points_to = Path::new(OsStr::from_bytes(&bytes));
        if !stays_inside(&path, points_to) {
            refused += 1;
            continue;
        }
        let written = make_parents(root, &path, &mut folders)
            .and_then(|()| std::os::unix::fs::symlink(points_to, root.join(&path)));
        refused += usize::from(!is_written(written)?);
    }
    Ok(refused)
}

/// False where the name is taken by another kind of thing; an error where the disk is to blame.
fn is_written(result: std::io::Result<()>) -> std::io::Result<bool> {
    use std::io::ErrorKind;
    match result {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::AlreadyExists
                    | ErrorKind::NotADirectory
                    | ErrorKind::IsADirectory
                    | ErrorKind::InvalidFilename
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Makes the folders above a path, each of them a real one: a link among them would lead elsewhere.
fn make_parents(root: &Path, path: &Path, made: &mut HashSet<PathBuf>) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if made.contains(parent) {
        return Ok(());
    }
    let mut folder = PathBuf::new();
    for part in parent.components() {
        folder.push(part);
        let target = root.join(&folder);
        match std::fs::create_dir(&target) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if !std::fs::symlink_metadata(&target)?.is_dir() {
                    return Err(std::io::ErrorKind::NotADirectory.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    made.insert(folder);
    Ok(())
}

/// Whether a link at `path` that says `points_to` stays below the root, by its words alone. A link
/// through another link could not be told by words, so those that climb at all stay out.
fn stays_inside(path: &Path, points_to: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let mut below = false;
    for part in points_to.components() {
        match part {
            Component::Normal(_) => {
                depth += 1;
                below = true;
            }
            Component::CurDir => {}
            // Climbing after going down may climb out of another link's target.
            Component::ParentDir if below || depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !points_to.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_git_or_the_system_would_take_otherwise_are_not_safe() {
        for bad in [
            "../x",
            "/etc/x",
            "a/../x",
            ".git/hooks/x",
            "a/.GIT/x",
            "a/.git./x",
            "git~1/x",
            "",
        ] {
            assert!(!is_safe(Path::new(bad)), "{bad}");
        }
        for good in ["a", "a/b.c", ".github/x", "git/x", "..a/b"] {
            assert!(is_safe(Path::new(good)), "{good}");
        }
    }

    #[test]
    fn links_out_of_the_checkout_are_told_by_their_words() {
        let inside = |path, to| stays_inside(Path::new(path), Path::new(to));
        assert!(inside("a/b", "c"));
        assert!(inside("a/b", "../c"));
        assert!(!inside("a", "../c"));
        assert!(!inside("a/b", "../../c"));
        assert!(!inside("a/b", "x/../../c"));
        assert!(!inside("a", "/etc/passwd"));
        assert!(!inside("a", ""));
    }
}
