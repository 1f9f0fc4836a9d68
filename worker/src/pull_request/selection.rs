//! Chooses the files of a change that are used, and says why the others are not.
//!
//! The files with the most changed lines come first, because they are what the change is about;
//! generated and vendored files and lock files come last, however large they are.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use evaluation::pull_request::{ChangedFile, Content, Dropped, parse_patch};
use tokio::io::{AsyncReadExt as _, BufReader};

use super::UseLimits;
use super::diff::Change;
use crate::workspace::{Git, WorkspaceError, object_size};

/// What came of a choice.
pub(super) struct Selected {
    /// By path.
    pub(super) files: Vec<ChangedFile>,
    /// By path.
    pub(super) dropped: Vec<Dropped>,
    /// Every path that the change touches, used or not.
    pub(super) touched: BTreeSet<String>,
}

/// Chooses, and reads the texts of what was chosen.
pub(super) async fn select(
    git: &Git,
    changes: Vec<Change>,
    limits: UseLimits,
) -> Result<Selected, WorkspaceError> {
    let mut touched = BTreeSet::new();
    let mut dropped = Vec::new();
    let mut usable = Vec::new();
    for change in changes {
        let path = String::from_utf8_lossy(&change.path).into_owned();
        touched.insert(path.clone());
        touched.extend(
            change
                .old_path
                .as_deref()
                .map(|old| String::from_utf8_lossy(old).into_owned()),
        );
        match read(change, limits) {
            Ok(file) => usable.push(file),
            Err(reason) => dropped.push(Dropped { path, reason }),
        }
    }
    usable.sort_by_key(|usable: &Usable| {
        (
            is_by_the_way(&usable.file.path),
            Reverse(usable.lines),
            usable.file.path.clone(),
        )
    });
    let mut room = limits.patch_bytes;
    let mut chosen = Vec::new();
    for usable in usable {
        let size = usable.file.patch.len();
        let reason = if chosen.len() >= limits.max_files {
            format!("over max_files ({})", limits.max_files)
        } else if size > room {
            format!(
                "the change has more text than a context is planned for ({} bytes)",
                limits.patch_bytes
            )
        } else {
            room -= size;
            chosen.push(usable);
            continue;
        };
        dropped.push(Dropped {
            path: usable.file.path,
            reason,
        });
    }
    add_texts(git, &mut chosen, limits.file_bytes).await?;
    let mut files: Vec<ChangedFile> = chosen.into_iter().map(|usable| usable.file).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    dropped.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Selected {
        files,
        dropped,
        touched,
    })
}

struct Usable {
    file: ChangedFile,
    object: Option<String>,
    lines: u64,
}

/// Turns what git tells into a file; the error is the reason why it is not used.
fn read(change: Change, limits: UseLimits) -> Result<Usable, String> {
    match change.content {
        Content::Text => {}
        Content::Binary => return Err("binary, or larger than 16 MiB".to_owned()),
        Content::NotUtf8 => return Err("not UTF-8".to_owned()),
        Content::Symlink => return Err("a symbolic link".to_owned()),
        Content::Submodule => return Err("a submodule".to_owned()),
    }
    let utf8 = |bytes: Vec<u8>, what: &str| {
        String::from_utf8(bytes).map_err(|_| format!("its {what} is not UTF-8"))
    };
    // A name is listed among others, one to a line.
    let name = |bytes: Vec<u8>, what: &str| {
        utf8(bytes, what).and_then(|name| match name.contains(char::is_control) {
            true => Err(format!("its {what} has control characters")),
            false => Ok(name),
        })
    };
    let path = name(change.path, "name")?;
    let old_path = change
        .old_path
        .map(|old| name(old, "old name"))
        .transpose()?;
    let patch = change.patch.ok_or("it became another kind of file")?;
    if patch.len() > limits.file_bytes {
        return Err(format!(
            "its diff is larger than {} bytes",
            limits.file_bytes
        ));
    }
    if patch.is_empty() {
        return Err("the whole change is too large".to_owned());
    }
    let patch = utf8(patch, "text")?;
    // git looks only at a file's beginning for this, and no database takes it as text.
    if patch.contains('\0') {
        return Err("binary".to_owned());
    }
    let hunks = parse_patch(&patch).map_err(|error| format!("its diff cannot be read: {error}"))?;
    Ok(Usable {
        file: ChangedFile {
            path,
            old_path,
            status: change.status,
            content: Content::Text,
            patch,
            hunks,
            head_text: None,
        },
        object: change.object,
        lines: change.lines,
    })
}

/// Files that nobody writes by hand, or nobody of this project.
fn is_by_the_way(path: &str) -> bool {
    const FOLDERS: [&str; 6] = [
        "vendor",
        "third_party",
        "node_modules",
        "dist",
        "generated",
        "target",
    ];
    const ENDINGS: [&str; 6] = [".lock", ".min.js", ".min.css", ".map", ".snap", ".svg"];
    const NAMES: [&str; 4] = [
        "package-lock.json",
        "pnpm-lock.yaml",
        "go.sum",
        "npm-shrinkwrap.json",
    ];
    let mut parts = path.split('/').rev();
    let name = parts.next().unwrap_or_default();
    NAMES.contains(&name)
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || parts.any(|folder| FOLDERS.contains(&folder))
}

/// Reads the texts at the head commit, in one process; none for what is too large or no text.
async fn add_texts(
    git: &Git,
    chosen: &mut [Usable],
    file_bytes: usize,
) -> Result<(), WorkspaceError> {
    let wanted: Vec<String> = chosen
        .iter()
        .filter_map(|usable| usable.object.clone())
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut input = wanted.join("\n").into_bytes();
    input.push(b'\n');
    let number = wanted.len();
    let texts = git
        .run_with(
            "cat-file",
            &["cat-file", "--batch"],
            input,
            |stdout| async move {
                let mut stdout = BufReader::new(stdout);
                let mut texts = Vec::with_capacity(number);
                for _ in 0..number {
                    let size = object_size(&mut stdout).await?;
                    if size > file_bytes as u64 {
                        let mut rest = (&mut stdout).take(size + 1);
                        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
                        texts.push(None);
                        continue;
                    }
                    let mut bytes = Vec::new();
                    (&mut stdout).take(size).read_to_end(&mut bytes).await?;
                    stdout.read_u8().await?;
                    texts.push(
                        String::from_utf8(bytes)
                            .ok()
                            .filter(|text| !text.contains('\0')),
                    );
                }
                Ok(texts)
            },
        )
        .await?;
    let with_object = chosen.iter_mut().filter(|usable| usable.object.is_some());
    for (usable, text) in with_object.zip(texts) {
        usable.file.head_text = text;
    }
    Ok(())
}
