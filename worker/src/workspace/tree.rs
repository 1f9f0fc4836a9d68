//! Reads trees and objects of a mirror.

use std::io::{BufRead, Read};

use super::git::Git;
use super::{Mirror, WorkspaceError};

/// What a listing of a tree may take, in bytes: about a million paths.
const MOST_LISTING: u64 = 128 << 20;

/// What kind of thing stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Symlink,
    Submodule,
}

impl Kind {
    /// Reads a mode as git writes it; none for a folder or one that git does not know.
    pub(crate) fn of_mode(mode: &[u8]) -> Option<Self> {
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
    /// Any bytes but NUL, `/` between parts.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// In bytes; 0 for a submodule.
    pub(crate) size: u64,
}

/// All paths of a commit, in git's order.
pub(crate) async fn read_tree(
    git: &Git,
    mirror: &Mirror,
    commit: &str,
) -> Result<Vec<TreeEntry>, WorkspaceError> {
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
        .output("ls-tree", Some(&mirror.path), &arguments, MOST_LISTING)
        .await?;
    listing
        .split(|&byte| byte == 0)
        .filter(|line| !line.is_empty())
        .map(|line| {
            entry(line).ok_or_else(|| WorkspaceError::Git {
                action: "ls-tree",
                message: format!("unexpected line {:?}", String::from_utf8_lossy(line)),
            })
        })
        .collect()
}

/// `<mode> <type> <id> <size>\t<path>`, with the size padded.
fn entry(line: &[u8]) -> Option<TreeEntry> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let (about, path) = (&line[..tab], &line[tab + 1..]);
    let mut words = about
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let kind = Kind::of_mode(words.next()?)?;
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

/// Streams objects: `with` gets the index of each id, its size and its bytes, in order. Nothing of
/// git's conversions is applied.
pub(crate) async fn read_objects<T: Send + 'static>(
    git: &Git,
    mirror: &Mirror,
    ids: Vec<String>,
    mut state: T,
    mut with: impl FnMut(&mut T, usize, u64, &mut dyn Read) -> Result<(), WorkspaceError>
    + Send
    + 'static,
) -> Result<T, WorkspaceError> {
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
            let size = object_size(stdout, id)?;
            let mut content = stdout.take(size);
            with(&mut state, at, size, &mut content)?;
            std::io::copy(&mut content, &mut std::io::sink()).map_err(reading)?;
            let mut end = [0];
            stdout.read_exact(&mut end).map_err(reading)?;
        }
        Ok(state)
    };
    git.stream("cat-file", Some(&mirror.path), &arguments, input, read)
        .await
}

/// Reads `<id> <type> <size>`.
fn object_size(stdout: &mut impl BufRead, id: &str) -> Result<u64, WorkspaceError> {
    let mut header = String::new();
    stdout.read_line(&mut header).map_err(reading)?;
    let size = header
        .trim_end()
        .rsplit(' ')
        .next()
        .and_then(|word| word.parse().ok());
    match size {
        Some(size) if header.starts_with(id) => Ok(size),
        Some(_) | None => Err(WorkspaceError::Git {
            action: "cat-file",
            // `missing` is what git says; that makes the mirror a damaged one.
            message: format!("bad object {id}: {:?}", header.trim_end()),
        }),
    }
}

fn reading(source: std::io::Error) -> WorkspaceError {
    WorkspaceError::io("reading what git prints", source)
}
