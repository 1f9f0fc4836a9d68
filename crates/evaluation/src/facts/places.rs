//! Facts about files and hunks.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::names::{identifies, is_rare};
use crate::facts::sections::{Section, Sections, words};
use crate::facts::sheet::{Evidence, FileFact, HunkFact, SymbolFact};
use domain::pull_request::{Change, FileStatus};

/// Returns every file of the diff with the lines that show its change.
pub(super) fn files(sections: &Sections<'_>) -> Vec<FileFact> {
    let facts = sections.all.iter().filter_map(|section| {
        let file = section.file;
        let prefixes = [
            "new file mode",
            "deleted file mode",
            "rename from",
            "rename to",
        ];
        let status: Vec<&str> = section
            .extended
            .iter()
            .copied()
            .filter(|line| prefixes.iter().any(|start| line.starts_with(start)))
            .collect();
        let has_line = |start: &str| status.iter().any(|line| line.starts_with(start));
        let proved = match file.status {
            FileStatus::Added => has_line("new file mode"),
            FileStatus::Deleted => has_line("deleted file mode"),
            FileStatus::Renamed => has_line("rename from") && has_line("rename to"),
            FileStatus::Modified => status.is_empty(),
        };
        let commit = match file.status {
            FileStatus::Deleted => sections.base,
            FileStatus::Added | FileStatus::Modified | FileStatus::Renamed => sections.head,
        };
        let text = [section.opening].into_iter().chain(status);
        proved.then(|| FileFact {
            path: file.path.clone(),
            old_path: file.old_path.clone(),
            status: file.status,
            evidence: Evidence {
                file: file.path.clone(),
                lines: (1, 1),
                commit: commit.to_owned(),
                text: text.map(str::to_owned).collect(),
            },
        })
    });
    facts.collect()
}

/// Returns every hunk of a remaining file with the symbols that it defines.
pub(super) fn hunks(sections: &Sections<'_>, symbols: &[SymbolFact]) -> Vec<HunkFact> {
    let stays = |section: &&Section<'_>| section.file.status != FileStatus::Deleted;
    let hunk_counts = hunk_counts(sections);
    let mut facts = Vec::new();
    for section in sections.all.iter().filter(stays) {
        for (at, (hunk, line)) in section.file.hunks.iter().zip(&section.headers).enumerate() {
            let Some(header) = place(line) else {
                continue;
            };
            let mut defined: Vec<(u32, &str)> = section
                .symbols
                .definitions
                .iter()
                .filter(|definition| section.hunk_of(definition.line) == Some(at))
                .filter(|definition| {
                    symbols.iter().any(|symbol| {
                        symbol.name == definition.name && symbol.file == section.file.path
                    })
                })
                .filter(|definition| !elsewhere(section, at, &definition.name))
                .map(|definition| (definition.line, definition.name.as_str()))
                .collect();
            defined.sort_unstable();
            let lines: Vec<u32> = defined.iter().map(|(line, _)| *line).collect();
            let mut text = vec![section.opening.to_owned(), line.trim().to_owned()];
            let definitions = section.bare_evidence(sections.head, &lines);
            text.extend(definitions.map(|lines| lines.text).unwrap_or_default());
            let count = |change| {
                hunk.lines
                    .iter()
                    .filter(|line| line.change == change)
                    .count()
            };
            let last = hunk
                .new_start
                .saturating_add(hunk.new_lines.saturating_sub(1));
            facts.push(HunkFact {
                file: section.file.path.clone(),
                header: header.to_owned(),
                defines: defined.iter().map(|(_, name)| (*name).to_owned()).collect(),
                does: used_names(section, at, &hunk_counts),
                adds: u32::try_from(count(Change::Added)).unwrap_or(u32::MAX),
                removes: u32::try_from(count(Change::Removed)).unwrap_or(u32::MAX),
                evidence: Evidence {
                    file: section.file.path.clone(),
                    lines: (hunk.new_start, last),
                    commit: sections.head.to_owned(),
                    text,
                },
            });
        }
    }
    facts
}

/// Returns the number of hunks of the diff that contain each word, including headings.
fn hunk_counts<'a>(sections: &'a Sections<'_>) -> BTreeMap<&'a str, usize> {
    let mut hunk_counts = BTreeMap::new();
    for section in &sections.all {
        for (hunk, header) in section.file.hunks.iter().zip(&section.headers) {
            let heading = place(header).map_or("", |place| &header[place.len()..]);
            let lines = hunk.lines.iter().map(|line| line.text.as_str());
            let said: BTreeSet<&str> = lines.chain([heading]).flat_map(words).collect();
            for word in said {
                *hunk_counts.entry(word).or_default() += 1;
            }
        }
    }
    hunk_counts
}

/// Returns the names that the code of a hunk uses and no other hunk contains: the names that it
/// calls, or, if it calls none, other names that it uses.
fn used_names(
    section: &Section<'_>,
    at: usize,
    hunk_counts: &BTreeMap<&str, usize>,
) -> Vec<(String, String)> {
    let symbols = &section.symbols;
    let is_defined = |name: &str| {
        let mut definitions = symbols.definitions.iter();
        let mut constants = symbols.constants.iter();
        let mut tests = symbols.tests.iter();
        definitions.any(|other| other.name == name)
            || constants.any(|other| other.name == name)
            || tests.any(|other| other.name == name)
    };
    let is_own = |name: &str, line: u32| {
        let alone = hunk_counts.get(name) == Some(&1) && section.hunk_of(line) == Some(at);
        alone && identifies(name) && !is_defined(name)
    };
    let calls = symbols
        .definitions
        .iter()
        .flat_map(|definition| &definition.calls)
        .map(|call| (call.line, call.finished, call.name.as_str()));
    let mut found: BTreeSet<(u32, usize, &str)> = calls
        .filter(|(line, _, name)| is_own(name, *line))
        .collect();
    if found.is_empty() {
        let uses = symbols.uses.iter().zip(0..);
        let uses = uses.map(|(used, place)| (used.line, place, used.name.as_str()));
        found.extend(uses.filter(|(line, _, name)| is_rare(name) && is_own(name, *line)));
    }
    let mut seen = BTreeSet::new();
    let fresh = found.into_iter().filter(|(_, _, name)| seen.insert(*name));
    let used = fresh.filter_map(|(line, _, name)| {
        let text = section
            .bare_evidence("", &[line])?
            .text
            .into_iter()
            .next()?;
        Some((name.to_owned(), text))
    });
    used.collect()
}

/// Returns whether another hunk of the file could be mistaken for the one that defines a name: the
/// name is in its heading or on a removed line.
fn elsewhere(section: &Section<'_>, at: usize, name: &str) -> bool {
    let hunks = section.file.hunks.iter().zip(&section.headers).enumerate();
    let mut others = hunks.filter(|&(other, _)| other != at);
    others.any(|(_, (hunk, header))| {
        let heading = place(header).map_or("", |place| &header[place.len()..]);
        let removed = hunk
            .lines
            .iter()
            .filter(|line| line.change == Change::Removed)
            .map(|line| line.text.as_str());
        removed
            .chain([heading])
            .any(|line| words(line).any(|word| word == name))
    })
}

/// Returns `@@ -a,b +c,d @@` of a header line, which may be longer.
fn place(line: &str) -> Option<&str> {
    let end = line.get(2..)?.find("@@")? + 4;
    line.get(..end)
}
