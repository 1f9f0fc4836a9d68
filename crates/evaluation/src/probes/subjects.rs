//! Parts of the pull request that a taught sentence can be about.

use std::collections::BTreeSet;

use crate::draw::Draw;
use crate::facts::{FactSheet, FileFact};
use crate::probes::path_parts::folder;
use crate::probes::places::{ambiguous_names, was_removed};
use domain::pull_request::FileStatus;

/// Kind of subject of a sentence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    File,
    Folder,
    Symbol,
}

/// The files, folders and symbols of a change, each list in a drawn order.
pub(super) struct Subjects {
    files: Vec<String>,
    folders: Vec<String>,
    symbols: Vec<String>,
}

impl Subjects {
    pub(super) fn new(sheet: &FactSheet, draw: &mut Draw) -> Self {
        // A deleted file gets no owner, unless there is no other file.
        let stays = |file: &&FileFact| file.status != FileStatus::Deleted;
        let mut files: Vec<&FileFact> = sheet.files.iter().filter(stays).collect();
        if files.is_empty() {
            files = sheet.files.iter().collect();
        }
        let folders: BTreeSet<String> = files
            .iter()
            .map(|file| folder(&file.path).to_owned())
            .filter(|folder| !folder.is_empty())
            .collect();
        let ambiguous = ambiguous_names(sheet);
        let symbols: BTreeSet<String> = sheet
            .symbols
            .iter()
            .filter(|symbol| {
                symbol.name.len() > 2
                    && !ambiguous.contains(symbol.name.as_str())
                    && !was_removed(sheet, &symbol.evidence)
            })
            .map(|symbol| symbol.name.clone())
            .collect();
        Self {
            files: mixed(draw, &files, &sheet.other_paths),
            folders: draw.shuffled(folders),
            symbols: draw.shuffled(symbols),
        }
    }

    pub(super) fn files(&self) -> &[String] {
        &self.files
    }

    /// Returns pairs of a sentence pattern, by its index in `patterns`, and a subject. No pair is
    /// repeated. Neighbours have different patterns and, if possible, different subjects.
    pub(super) fn pairs(&self, patterns: &[About], most: usize) -> Vec<(usize, &str)> {
        let longest = self
            .files
            .len()
            .max(self.folders.len())
            .max(self.symbols.len());
        let mut pairs = Vec::new();
        for round in 0..longest {
            for (pattern, &about) in patterns.iter().enumerate() {
                let subjects = self.all(about);
                if round < subjects.len() {
                    let subject = &subjects[(round + pattern) % subjects.len()];
                    pairs.push((pattern, subject.as_str()));
                }
                if pairs.len() == most {
                    return pairs;
                }
            }
        }
        pairs
    }

    /// A change may have no folder and no symbol. Its files replace them.
    fn all(&self, about: About) -> &[String] {
        let wanted = match about {
            About::File => &self.files,
            About::Folder => &self.folders,
            About::Symbol => &self.symbols,
        };
        if wanted.is_empty() {
            &self.files
        } else {
            wanted
        }
    }
}

/// Mixes changed and unchanged files in turns: a question about a file must not reveal that the
/// change touches it.
fn mixed(draw: &mut Draw, changed: &[&FileFact], others: &[String]) -> Vec<String> {
    let changed = draw.shuffled(changed.iter().map(|file| file.path.clone()));
    let mut others = draw.shuffled(others.iter().cloned()).into_iter();
    let mut files = Vec::new();
    for path in changed {
        files.extend(others.next());
        files.push(path);
    }
    files
}

/// Returns a pattern with its `{value}` and `{subject}` filled in.
pub(super) fn filled(pattern: &str, subject: &str, value: &str) -> String {
    pattern
        .replace("{value}", value)
        .replace("{subject}", subject)
}
