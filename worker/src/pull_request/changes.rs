//! Reads what changed between two commits, and chooses what is used of it.

use std::collections::{HashMap, HashSet};

use domain::pull_request::{ChangedFile, Content, Dropped, FileStatus, parse_patch};

use super::UseLimits;
use super::choice::{Candidate, Left, choose};
use super::listing::{Raw, list};
use super::patches::{Section, sections};
use crate::workspace::{Git, Kind, Mirror, WorkspaceError, read_objects, read_tree};

/// Untouched paths that are told.
const MOST_OTHERS: usize = 3_000;

/// What changed.
pub(super) struct Changes {
    pub(super) files: Vec<ChangedFile>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) other_paths: Vec<String>,
}

/// A changed path that is used.
struct Used {
    raw: Raw,
    path: String,
    old_path: Option<String>,
}

/// What a first look at a section tells.
enum Look {
    Text { changed: usize, size: usize },
    Binary,
    NotUtf8,
    TooLarge,
}

pub(super) async fn read(
    git: &Git,
    mirror: &Mirror,
    base: &str,
    head: &str,
    limits: UseLimits,
) -> Result<Changes, WorkspaceError> {
    let raws = list(git, mirror, base, head).await?;
    let other_paths = others(git, mirror, head, &raws).await?;
    let mut dropped = Vec::new();
    let doubled: Vec<bool> = raws.iter().map(|raw| raw.type_changed).collect();
    let ends = (base, head);
    let looks = look(git, mirror, ends, doubled.clone(), limits.file_bytes).await?;
    let used = select(raws, &looks, limits, &mut dropped);
    let mut texts = texts(git, mirror, ends, doubled, &used, limits.file_bytes).await?;
    let heads = heads(git, mirror, &used, limits.file_bytes).await?;
    let mut files = Vec::new();
    for ((at, used), head) in used.into_iter().zip(heads) {
        let Used {
            raw,
            path,
            old_path,
        } = used;
        let patch = texts.remove(&at).unwrap_or_default();
        match finish(path.clone(), old_path, raw.status, patch, head) {
            Ok(file) => files.push(file),
            Err(reason) => dropped.push(Dropped { path, reason }),
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    dropped.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Changes {
        files,
        dropped,
        other_paths,
    })
}

fn finish(
    path: String,
    old_path: Option<String>,
    status: FileStatus,
    patch: Vec<u8>,
    head: HeadText,
) -> Result<ChangedFile, String> {
    let patch = String::from_utf8(patch).map_err(|_| "not UTF-8".to_owned())?;
    let head_text = match head {
        HeadText::None => None,
        HeadText::Text(text) => Some(text),
        HeadText::Binary => return Err("binary".to_owned()),
        HeadText::NotUtf8 => return Err("not UTF-8".to_owned()),
    };
    let hunks = parse_patch(&patch).map_err(|error| format!("its diff cannot be read: {error}"))?;
    Ok(ChangedFile {
        path,
        old_path,
        status,
        content: Content::Text,
        patch,
        hunks,
        head_text,
    })
}

/// Runs through the diff; a file that changed its type has two sections in it.
async fn each_section<T: Send + 'static>(
    git: &Git,
    mirror: &Mirror,
    (base, head): (&str, &str),
    doubled: Vec<bool>,
    most: usize,
    mut state: T,
    mut with: impl FnMut(&mut T, usize, Section) + Send + 'static,
) -> Result<T, WorkspaceError> {
    let arguments = [
        "diff-tree",
        "-r",
        "-p",
        "-M",
        "-U5",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--full-index",
        "--submodule=short",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        base,
        head,
    ];
    let read = move |stdout: &mut std::io::BufReader<std::fs::File>| {
        let owners: Vec<usize> = doubled
            .iter()
            .enumerate()
            .flat_map(|(at, &twice)| std::iter::repeat_n(at, 1 + usize::from(twice)))
            .collect();
        let count = sections(stdout, most, |at, section| {
            if let Some(&owner) = owners.get(at) {
                with(&mut state, owner, section);
            }
        })
        .map_err(|source| WorkspaceError::Io {
            doing: "reading the diff".to_owned(),
            source,
        })?;
        if count == owners.len() {
            Ok(state)
        } else {
            Err(WorkspaceError::Git {
                action: "diff-tree",
                message: format!("the diff has {count} sections, expected {}", owners.len()),
            })
        }
    };
    git.stream(
        "diff-tree",
        Some(&mirror.path),
        &arguments,
        Vec::new(),
        read,
    )
    .await
}

/// What each section is, without keeping any.
async fn look(
    git: &Git,
    mirror: &Mirror,
    ends: (&str, &str),
    doubled: Vec<bool>,
    file_bytes: usize,
) -> Result<Vec<Look>, WorkspaceError> {
    each_section(
        git,
        mirror,
        ends,
        doubled,
        file_bytes,
        Vec::new(),
        move |looks: &mut Vec<Look>, owner, section| {
            // Git looks for a NUL only where a file begins; PostgreSQL keeps none in a text.
            let look = if section.binary || section.text.contains(&0) {
                Look::Binary
            } else if section.size > file_bytes {
                Look::TooLarge
            } else if std::str::from_utf8(&section.text).is_err() {
                Look::NotUtf8
            } else {
                Look::Text {
                    changed: section.changed,
                    size: section.size,
                }
            };
            // The second section of a changed type is not looked at.
            if looks.len() == owner {
                looks.push(look);
            }
        },
    )
    .await
}

/// Parts what is used from what is dropped. The numbers are the places in the list.
fn select(
    raws: Vec<Raw>,
    looks: &[Look],
    limits: UseLimits,
    dropped: &mut Vec<Dropped>,
) -> Vec<(usize, Used)> {
    let mut usable = Vec::new();
    for (at, (raw, look)) in raws.into_iter().zip(looks).enumerate() {
        let shown = String::from_utf8_lossy(&raw.path).into_owned();
        match usable_text(&raw, look, limits) {
            Ok((path, old_path, changed, size)) => {
                let used = Used {
                    raw,
                    path,
                    old_path,
                };
                usable.push((at, used, changed, size));
            }
            Err(reason) => dropped.push(Dropped {
                path: shown,
                reason,
            }),
        }
    }
    let candidates: Vec<Candidate<'_>> = usable
        .iter()
        .map(|(_, used, changed, size)| Candidate {
            path: &used.path,
            changed: *changed,
            size: *size,
        })
        .collect();
    let left = choose(&candidates, limits.max_files, limits.patch_bytes);
    let mut kept = Vec::new();
    for ((at, used, ..), left) in usable.into_iter().zip(left) {
        let reason = match left {
            None => {
                kept.push((at, used));
                continue;
            }
            Some(Left::Files) => format!("over max_files ({})", limits.max_files),
            Some(Left::Bytes) => {
                format!("all patches together are over {} bytes", limits.patch_bytes)
            }
        };
        dropped.push(Dropped {
            path: used.path,
            reason,
        });
    }
    kept
}

/// Paths, changed lines and size of a file that could be used, or why it could not.
fn usable_text(
    raw: &Raw,
    look: &Look,
    limits: UseLimits,
) -> Result<(String, Option<String>, usize, usize), String> {
    let path = readable(&raw.path)?;
    let old_path = raw.old_path.as_deref().map(readable).transpose()?;
    if raw.type_changed {
        return Err("its type changed".to_owned());
    }
    match raw.kind {
        Some(Kind::File) => {}
        Some(Kind::Symlink) => return Err("symlink".to_owned()),
        Some(Kind::Submodule) => return Err("submodule".to_owned()),
        None => return Err("neither file nor symlink".to_owned()),
    }
    match look {
        Look::Text { changed, size } => Ok((path, old_path, *changed, *size)),
        Look::Binary => Err("binary".to_owned()),
        Look::NotUtf8 => Err("not UTF-8".to_owned()),
        Look::TooLarge => Err(format!("larger than {} bytes", limits.file_bytes)),
    }
}

/// A path that can be shown to agents, one per line.
fn readable(path: &[u8]) -> Result<String, String> {
    let path = std::str::from_utf8(path).map_err(|_| "path is not UTF-8".to_owned())?;
    if path.contains(char::is_control) {
        return Err("path has control characters".to_owned());
    }
    Ok(path.to_owned())
}

/// The sections of the used files, by their places in the list.
async fn texts(
    git: &Git,
    mirror: &Mirror,
    ends: (&str, &str),
    doubled: Vec<bool>,
    used: &[(usize, Used)],
    file_bytes: usize,
) -> Result<HashMap<usize, Vec<u8>>, WorkspaceError> {
    let wanted: HashSet<usize> = used.iter().map(|(at, _)| *at).collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let keep = move |texts: &mut HashMap<usize, Vec<u8>>, owner, section: Section| {
        if wanted.contains(&owner) {
            texts.insert(owner, section.text);
        }
    };
    each_section(git, mirror, ends, doubled, file_bytes, HashMap::new(), keep).await
}

/// The text of a file at the head commit.
#[derive(Clone, Debug)]
enum HeadText {
    /// Deleted, or too large.
    None,
    Text(String),
    /// It has a NUL beyond where git looks for one.
    Binary,
    NotUtf8,
}

/// The texts of the used files at the head commit, in their order.
async fn heads(
    git: &Git,
    mirror: &Mirror,
    used: &[(usize, Used)],
    file_bytes: usize,
) -> Result<Vec<HeadText>, WorkspaceError> {
    let places: Vec<usize> = (0..used.len())
        .filter(|&at| used[at].1.raw.status != FileStatus::Deleted)
        .collect();
    let ids = places
        .iter()
        .map(|&at| used[at].1.raw.new_id.clone())
        .collect();
    let heads = vec![HeadText::None; used.len()];
    read_objects(git, mirror, ids, heads, move |heads, at, size, content| {
        if size > file_bytes as u64 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        content
            .read_to_end(&mut bytes)
            .map_err(|source| WorkspaceError::Io {
                doing: "reading a file of the head commit".to_owned(),
                source,
            })?;
        heads[places[at]] = match String::from_utf8(bytes) {
            Ok(text) if text.contains('\0') => HeadText::Binary,
            Ok(text) => HeadText::Text(text),
            Err(_) => HeadText::NotUtf8,
        };
        Ok(())
    })
    .await
}

/// Paths of files that the change does not touch: all, or evenly many of all parts.
async fn others(
    git: &Git,
    mirror: &Mirror,
    head: &str,
    raws: &[Raw],
) -> Result<Vec<String>, WorkspaceError> {
    let touched: HashSet<&[u8]> = raws
        .iter()
        .flat_map(|raw| [Some(raw.path.as_slice()), raw.old_path.as_deref()])
        .flatten()
        .collect();
    let mut paths: Vec<String> = read_tree(git, mirror, head)
        .await?
        .into_iter()
        .filter(|entry| entry.kind == Kind::File && !touched.contains(entry.path.as_slice()))
        .filter_map(|entry| readable(&entry.path).ok())
        .collect();
    paths.sort_unstable();
    let count = paths.len();
    if count > MOST_OTHERS {
        paths = (0..MOST_OTHERS)
            .map(|at| std::mem::take(&mut paths[at * count / MOST_OTHERS]))
            .collect();
    }
    Ok(paths)
}
