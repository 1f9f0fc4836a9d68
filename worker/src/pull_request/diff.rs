//! Reads what two commits change, file by file.

use std::collections::BTreeSet;

use evaluation::pull_request::{Content, FileStatus};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::workspace::{Git, WorkspaceError};

/// Paths for distractors and for reading on, at most.
const MOST_OTHER_PATHS: usize = 3_000;
/// Patches of one change, together and in bytes, about. Files beyond have an empty one.
const MOST_KEPT: usize = 256 << 20;

/// Whatever the user's configuration says, the diff is the same.
const PLAIN: [&str; 7] = [
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--full-index",
    "--find-renames",
    "--src-prefix=a/",
    "--dst-prefix=b/",
];

/// One changed path as git tells it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    pub(super) old_path: Option<Vec<u8>>,
    pub(super) status: FileStatus,
    pub(super) content: Content,
    /// The object at the head; none where it is deleted.
    pub(super) object: Option<String>,
    /// Lines added and removed.
    pub(super) lines: u64,
    /// The file's section of the diff; none where the kind of the file changed.
    pub(super) patch: Option<Vec<u8>>,
}

/// Everything that differs between two commits, by path. The patch of a file is whole where it has
/// at most `file_bytes`.
pub(super) async fn read(
    git: &Git,
    base: &str,
    head: &str,
    file_bytes: usize,
) -> Result<Vec<Change>, WorkspaceError> {
    let listed = diff(git, &["--raw", "-z"], base, head).await?;
    let mut changes = raw(&listed)?;
    let counted = diff(git, &["--numstat", "-z"], base, head).await?;
    count(&mut changes, &counted);
    let sections = patches(git, base, head, file_bytes).await?;
    let mut with_patch: Vec<&mut Change> = changes
        .iter_mut()
        .filter(|change| change.patch.is_some())
        .collect();
    if with_patch.len() != sections.len() {
        return Err(WorkspaceError::Git {
            action: "diff",
            message: format!(
                "{} files are listed, but {} are shown",
                with_patch.len(),
                sections.len()
            ),
        });
    }
    for (change, section) in with_patch.iter_mut().zip(sections) {
        change.patch = Some(section);
    }
    Ok(changes)
}

fn arguments<'a>(what: &[&'a str], base: &'a str, head: &'a str) -> Vec<&'a str> {
    let mut args = vec!["diff"];
    args.extend(PLAIN);
    args.extend(what);
    args.extend(["--end-of-options", base, head, "--"]);
    args
}

async fn diff(git: &Git, what: &[&str], base: &str, head: &str) -> Result<Vec<u8>, WorkspaceError> {
    git.run("diff", &arguments(what, base, head)).await
}

/// The sections of the files, in git's order, each cut off just beyond `file_bytes` so that it is
/// seen to be too long: a change of a gigabyte needs little memory.
async fn patches(
    git: &Git,
    base: &str,
    head: &str,
    file_bytes: usize,
) -> Result<Vec<Vec<u8>>, WorkspaceError> {
    // A file that became another kind of thing has two sections, so it is left out here.
    let args = arguments(&["--patch", "--diff-filter=ACDMR"], base, head);
    git.run_with("diff", &args, Vec::new(), |stdout| async move {
        let mut stdout = BufReader::with_capacity(256 << 10, stdout);
        let mut sections: Vec<Vec<u8>> = Vec::new();
        let mut kept = 0;
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line).await? > 0 {
            // Every line of a hunk begins with a sign, so this begins a section.
            if line.starts_with(b"diff --git ") {
                sections.push(Vec::new());
            }
            if let Some(section) = sections.last_mut() {
                let most = if kept < MOST_KEPT { file_bytes + 1 } else { 0 };
                let room = most.saturating_sub(section.len()).min(line.len());
                section.extend_from_slice(&line[..room]);
                kept += room;
            }
            line.clear();
        }
        Ok(sections)
    })
    .await
}

/// Reads `:<mode> <mode> <object> <object> <status>NUL<path>NUL[<path>NUL]`.
fn raw(listed: &[u8]) -> Result<Vec<Change>, WorkspaceError> {
    let odd = || WorkspaceError::Git {
        action: "diff",
        message: "the list of changed files cannot be read".to_owned(),
    };
    let mut parts = listed
        .split(|&byte| byte == 0)
        .filter(|part| !part.is_empty());
    let mut changes = Vec::new();
    while let Some(head) = parts.next() {
        let head = std::str::from_utf8(head).map_err(|_| odd())?;
        let words: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
        let &[old_mode, new_mode, _, object, status] = words.as_slice() else {
            return Err(odd());
        };
        let first = parts.next().ok_or_else(odd)?.to_vec();
        let (status, old_path, path, is_same_kind) = match status.chars().next() {
            Some('A') => (FileStatus::Added, None, first, true),
            Some('D') => (FileStatus::Deleted, None, first, true),
            Some('M') => (FileStatus::Modified, None, first, true),
            Some('T') => (FileStatus::Modified, None, first, false),
            Some('R') => (
                FileStatus::Renamed,
                Some(first),
                parts.next().ok_or_else(odd)?.to_vec(),
                true,
            ),
            Some('C') => (
                FileStatus::Added,
                None,
                parts.next().ok_or_else(odd)?.to_vec(),
                true,
            ),
            Some(_) | None => return Err(odd()),
        };
        let content = match (old_mode, new_mode) {
            ("160000", _) | (_, "160000") => Content::Submodule,
            ("120000", _) | (_, "120000") => Content::Symlink,
            _ => Content::Text,
        };
        changes.push(Change {
            path,
            old_path,
            status,
            content,
            object: (status != FileStatus::Deleted).then(|| object.to_owned()),
            lines: 0,
            patch: is_same_kind.then(Vec::new),
        });
    }
    Ok(changes)
}

/// Takes over line counts; `-` for both tells that git takes the file for binary.
fn count(changes: &mut [Change], counted: &[u8]) {
    let mut parts = counted.split(|&byte| byte == 0);
    let mut counts = std::collections::BTreeMap::new();
    while let Some(part) = parts.next() {
        let mut fields = part.splitn(3, |&byte| byte == b'\t');
        let (Some(added), Some(removed), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        // A rename has an empty path here, and then both paths in parts of their own.
        let path = if path.is_empty() {
            parts.next();
            parts.next().unwrap_or_default()
        } else {
            path
        };
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        counts.insert(path.to_vec(), number(added).zip(number(removed)));
    }
    for change in changes {
        match counts.get(&change.path) {
            Some(Some((added, removed))) => change.lines = added + removed,
            Some(None) if change.content == Content::Text => change.content = Content::Binary,
            Some(None) | None => {}
        }
    }
}

/// Paths of the head commit that the change does not touch, in order.
pub(super) async fn untouched(
    git: &Git,
    head: &str,
    touched: &BTreeSet<String>,
) -> Result<Vec<String>, WorkspaceError> {
    let args = [
        "ls-tree",
        "-r",
        "-z",
        "--name-only",
        "--full-tree",
        "--end-of-options",
        head,
    ];
    let listed = git.run("ls-tree", &args).await?;
    Ok(listed
        .split(|&byte| byte == 0)
        .filter_map(|path| std::str::from_utf8(path).ok())
        .filter(|path| !path.is_empty() && !path.contains(char::is_control))
        .filter(|path| !touched.contains(*path))
        .take(MOST_OTHER_PATHS)
        .map(str::to_owned)
        .collect())
}
