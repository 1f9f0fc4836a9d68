//! Reads trees and objects of a mirror.

use std::io::{BufRead, Read};

use super::command::Git;
use super::mirror::Mirror;
use crate::error::SourceError;

/// Size limit of the listing of a tree, in bytes: about a million paths.
const MAX_LISTING_BYTES: u64 = 128 << 20;

/// Kind of a tree entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Symlink,
    Submodule,
}

impl EntryKind {
    /// Parses a mode as git writes it. Returns `None` for a folder or an unknown mode.
    pub(crate) fn from_mode(mode: &[u8]) -> Option<Self> {
        match mode {
            b"120000" => Some(Self::Symlink),
            b"160000" => Some(Self::Submodule),
            mode if mode.starts_with(b"100") => Some(Self::File),
            _ => None,
        }
    }
}

/// One path of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    /// Path: any bytes except NUL, with `/` between its parts.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) id: String,
    /// Size in bytes, 0 for a submodule.
    pub(crate) size: u64,
}

/// Returns all paths of a commit, in git's order.
pub(crate) async fn read_tree(
    git: &Git,
    mirror: &Mirror,
    commit: &str,
) -> Result<Vec<TreeEntry>, SourceError> {
    let arguments = [
        "ls-tree",
        "-r",
        "-z",
        "-l",
        "--full-tree",
        "--end-of-options",
        commit,
    ];
    let listing = git
        .output("ls-tree", Some(&mirror.path), &arguments, MAX_LISTING_BYTES)
        .await?;
    listing
        .split(|&byte| byte == 0)
        .filter(|line| !line.is_empty())
        .map(|line| {
            parse_entry(line).ok_or_else(|| SourceError::Git {
                action: "ls-tree",
                message: format!("unexpected line {:?}", String::from_utf8_lossy(line)),
            })
        })
        .collect()
}

/// Parses `<mode> <type> <id> <size>\t<path>`, where the size is padded.
fn parse_entry(line: &[u8]) -> Option<TreeEntry> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let (about, path) = (&line[..tab], &line[tab + 1..]);
    let mut words = about
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let kind = EntryKind::from_mode(words.next()?)?;
    let _type = words.next()?;
    let id = String::from_utf8(words.next()?.to_vec()).ok()?;
    let size = match words.next()? {
        b"-" => 0,
        digits => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    Some(TreeEntry {
        path: path.to_vec(),
        kind,
        id,
        size,
    })
}

/// Streams objects to `with`: the index of each id, its size and its bytes, in order. git converts
/// nothing.
pub(crate) async fn read_objects<T: Send + 'static>(
    git: &Git,
    mirror: &Mirror,
    ids: Vec<String>,
    mut state: T,
    mut with: impl FnMut(&mut T, usize, u64, &mut dyn Read) -> Result<(), SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    if ids.is_empty() {
        return Ok(state);
    }
    let mut input = Vec::new();
    for id in &ids {
        input.extend_from_slice(id.as_bytes());
        input.push(b'\n');
    }
    let arguments = ["cat-file", "--batch", "--buffer"];
    let read = move |stdout: &mut std::io::BufReader<std::fs::File>| {
        for (at, id) in ids.iter().enumerate() {
            let size = read_object_size(stdout, id)?;
            let mut content = stdout.take(size);
            with(&mut state, at, size, &mut content)?;
            std::io::copy(&mut content, &mut std::io::sink()).map_err(read_error)?;
            let mut end = [0];
            stdout.read_exact(&mut end).map_err(read_error)?;
        }
        Ok(state)
    };
    git.stream("cat-file", Some(&mirror.path), &arguments, input, read)
        .await
}

/// Reads the header `<id> <type> <size>`.
fn read_object_size(stdout: &mut impl BufRead, id: &str) -> Result<u64, SourceError> {
    let mut header = String::new();
    stdout.read_line(&mut header).map_err(read_error)?;
    let size = header
        .trim_end()
        .rsplit(' ')
        .next()
        .and_then(|word| word.parse().ok());
    match size {
        Some(size) if header.starts_with(id) => Ok(size),
        Some(_) | None => Err(SourceError::Git {
            action: "cat-file",
            // "bad object" marks the mirror as damaged. git itself prints "missing".
            message: format!("bad object {id}: {:?}", header.trim_end()),
        }),
    }
}

fn read_error(source: std::io::Error) -> SourceError {
    SourceError::io("reading the output of git", source)
}
