//! Reads the diff between two commits, and selects the files that are used.

use std::collections::{HashMap, HashSet};

use domain::pull_request::{ChangedFile, Content, Dropped, FileStatus, parse_patch};

use super::file_selection::{Candidate, Exclusion, select_files};
use super::limits::DiffLimits;
use super::patch::{Section, sections};
use super::raw_diff::{RawEntry, raw_diff};
use crate::error::SourceError;
use crate::git::{EntryKind, Git, Mirror, read_objects, read_tree};

/// Maximum number of untouched paths.
const MAX_OTHER_PATHS: usize = 3_000;

/// The files that are used, and the files that are not.
pub(super) struct Diff {
    pub(super) files: Vec<ChangedFile>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) other_paths: Vec<String>,
}

/// A changed file that is used.
struct UsedFile {
    raw: RawEntry,
    path: String,
    old_path: Option<String>,
}

/// Kind of a section, from a first pass over the diff.
enum SectionKind {
    Text { changed: usize, size: usize },
    Binary,
    NotUtf8,
    TooLarge,
}

pub(super) async fn read(
    git: &Git,
    mirror: &Mirror,
    (base, head): (&str, &str),
    limits: DiffLimits,
) -> Result<Diff, SourceError> {
    let raws = raw_diff(git, mirror, base, head).await?;
    let other_paths = untouched_paths(git, mirror, head, &raws).await?;
    let mut dropped = Vec::new();
    let doubled: Vec<bool> = raws.iter().map(|raw| raw.type_changed).collect();
    let range = (base, head);
    let kinds = section_kinds(git, mirror, range, doubled.clone(), limits.file_bytes).await?;
    let used = select(raws, &kinds, limits, &mut dropped);
    let mut texts = section_texts(git, mirror, range, doubled, &used, limits.file_bytes).await?;
    let heads = head_texts(git, mirror, &used, limits.file_bytes).await?;
    let mut files = Vec::new();
    for ((at, used), head) in used.into_iter().zip(heads) {
        let UsedFile {
            raw,
            path,
            old_path,
        } = used;
        let patch = texts.remove(&at).unwrap_or_default();
        match changed_file(path.clone(), old_path, raw.status, patch, head) {
            Ok(file) => files.push(file),
            Err(reason) => dropped.push(Dropped { path, reason }),
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    dropped.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Diff {
        files,
        dropped,
        other_paths,
    })
}

fn changed_file(
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
    let hunks =
        parse_patch(&patch).map_err(|error| format!("its diff cannot be parsed: {error}"))?;
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

/// Passes each section of the diff to `with`. A file that changed its type has two sections.
async fn each_section<T: Send + 'static>(
    git: &Git,
    mirror: &Mirror,
    (base, head): (&str, &str),
    doubled: Vec<bool>,
    max_bytes: usize,
    mut state: T,
    mut with: impl FnMut(&mut T, usize, Section) + Send + 'static,
) -> Result<T, SourceError> {
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
        let count = sections(stdout, max_bytes, |at, section| {
            if let Some(&owner) = owners.get(at) {
                with(&mut state, owner, section);
            }
        })
        .map_err(|source| SourceError::Io {
            doing: "reading the diff".to_owned(),
            source,
        })?;
        if count == owners.len() {
            Ok(state)
        } else {
            Err(SourceError::Git {
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

/// Returns the kind of each section, without keeping the texts.
async fn section_kinds(
    git: &Git,
    mirror: &Mirror,
    range: (&str, &str),
    doubled: Vec<bool>,
    file_bytes: usize,
) -> Result<Vec<SectionKind>, SourceError> {
    each_section(
        git,
        mirror,
        range,
        doubled,
        file_bytes,
        Vec::new(),
        move |kinds: &mut Vec<SectionKind>, owner, section| {
            // git looks for a NUL only at the start of a file, and PostgreSQL stores none in a text.
            let kind = if section.binary || section.text.contains(&0) {
                SectionKind::Binary
            } else if section.size > file_bytes {
                SectionKind::TooLarge
            } else if std::str::from_utf8(&section.text).is_err() {
                SectionKind::NotUtf8
            } else {
                SectionKind::Text {
                    changed: section.changed,
                    size: section.size,
                }
            };
            // The second section of a file that changed its type is ignored.
            if kinds.len() == owner {
                kinds.push(kind);
            }
        },
    )
    .await
}

/// Separates used files from dropped files. The numbers are positions in the raw diff.
fn select(
    raws: Vec<RawEntry>,
    kinds: &[SectionKind],
    limits: DiffLimits,
    dropped: &mut Vec<Dropped>,
) -> Vec<(usize, UsedFile)> {
    let mut usable = Vec::new();
    for (at, (raw, kind)) in raws.into_iter().zip(kinds).enumerate() {
        let shown = String::from_utf8_lossy(&raw.path).into_owned();
        match usable_text(&raw, kind, limits) {
            Ok((path, old_path, changed, size)) => {
                let used = UsedFile {
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
    let exclusions = select_files(&candidates, limits.max_files, limits.patch_bytes);
    let mut kept = Vec::new();
    for ((at, used, ..), exclusion) in usable.into_iter().zip(exclusions) {
        let reason = match exclusion {
            None => {
                kept.push((at, used));
                continue;
            }
            Some(Exclusion::Files) => format!("over max_files ({})", limits.max_files),
            Some(Exclusion::Bytes) => {
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

/// Returns paths, changed lines and size of a usable file, or the reason why it is not usable.
fn usable_text(
    raw: &RawEntry,
    kind: &SectionKind,
    limits: DiffLimits,
) -> Result<(String, Option<String>, usize, usize), String> {
    let path = readable(&raw.path)?;
    let old_path = raw.old_path.as_deref().map(readable).transpose()?;
    if raw.type_changed {
        return Err("its type changed".to_owned());
    }
    match raw.kind {
        Some(EntryKind::File) => {}
        Some(EntryKind::Symlink) => return Err("symlink".to_owned()),
        Some(EntryKind::Submodule) => return Err("submodule".to_owned()),
        None => return Err("neither file nor symlink".to_owned()),
    }
    match kind {
        SectionKind::Text { changed, size } => Ok((path, old_path, *changed, *size)),
        SectionKind::Binary => Err("binary".to_owned()),
        SectionKind::NotUtf8 => Err("not UTF-8".to_owned()),
        SectionKind::TooLarge => Err(format!("larger than {} bytes", limits.file_bytes)),
    }
}

/// Returns a path that can be shown to agents, one per line.
fn readable(path: &[u8]) -> Result<String, String> {
    let path = std::str::from_utf8(path).map_err(|_| "path is not UTF-8".to_owned())?;
    if path.contains(char::is_control) {
        return Err("path has control characters".to_owned());
    }
    Ok(path.to_owned())
}

/// Returns the sections of the used files, by their positions in the raw diff.
async fn section_texts(
    git: &Git,
    mirror: &Mirror,
    range: (&str, &str),
    doubled: Vec<bool>,
    used: &[(usize, UsedFile)],
    file_bytes: usize,
) -> Result<HashMap<usize, Vec<u8>>, SourceError> {
    let wanted: HashSet<usize> = used.iter().map(|(at, _)| *at).collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let keep = move |texts: &mut HashMap<usize, Vec<u8>>, owner, section: Section| {
        if wanted.contains(&owner) {
            texts.insert(owner, section.text);
        }
    };
    each_section(
        git,
        mirror,
        range,
        doubled,
        file_bytes,
        HashMap::new(),
        keep,
    )
    .await
}

/// Text of a file at the head commit.
#[derive(Clone, Debug)]
enum HeadText {
    /// The file is deleted or too large.
    None,
    Text(String),
    /// The file contains a NUL that git does not detect.
    Binary,
    NotUtf8,
}

/// Returns the texts of the used files at the head commit, in their order.
async fn head_texts(
    git: &Git,
    mirror: &Mirror,
    used: &[(usize, UsedFile)],
    file_bytes: usize,
) -> Result<Vec<HeadText>, SourceError> {
    let positions: Vec<usize> = (0..used.len())
        .filter(|&at| used[at].1.raw.status != FileStatus::Deleted)
        .collect();
    let ids = positions
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
            .map_err(|source| SourceError::Io {
                doing: "reading a file of the head commit".to_owned(),
                source,
            })?;
        heads[positions[at]] = match String::from_utf8(bytes) {
            Ok(text) if text.contains('\0') => HeadText::Binary,
            Ok(text) => HeadText::Text(text),
            Err(_) => HeadText::NotUtf8,
        };
        Ok(())
    })
    .await
}

/// Returns paths of files that the change does not touch: all of them, or an even selection.
async fn untouched_paths(
    git: &Git,
    mirror: &Mirror,
    head: &str,
    raws: &[RawEntry],
) -> Result<Vec<String>, SourceError> {
    let touched: HashSet<&[u8]> = raws
        .iter()
        .flat_map(|raw| [Some(raw.path.as_slice()), raw.old_path.as_deref()])
        .flatten()
        .collect();
    let mut paths: Vec<String> = read_tree(git, mirror, head)
        .await?
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::File && !touched.contains(entry.path.as_slice()))
        .filter_map(|entry| readable(&entry.path).ok())
        .collect();
    paths.sort_unstable();
    let count = paths.len();
    if count > MAX_OTHER_PATHS {
        paths = (0..MAX_OTHER_PATHS)
            .map(|at| std::mem::take(&mut paths[at * count / MAX_OTHER_PATHS]))
            .collect();
    }
    Ok(paths)
}
