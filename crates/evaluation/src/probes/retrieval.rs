//! Accurate retrieval (AR): single facts of the diff. This file has those about files.

mod code;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::code::{ASKS_PARAMETERS, ASKS_RETURN};
use crate::draw::Draw;
use crate::facts::{FactSheet, FileFact, SymbolKind};
use crate::probe::{Combine, Grader, Part, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, offer, several, single};
use crate::probes::likeness::sounds_like;
use crate::probes::path_parts::{extension, folder};
use crate::probes::places::{Places, ambiguous_names, was_removed, wrong_sets};
use domain::pull_request::FileStatus;

/// Maximum number of files in one question.
const LARGEST_SET: usize = 12;

const STATUSES: [FileStatus; 4] = [
    FileStatus::Added,
    FileStatus::Modified,
    FileStatus::Deleted,
    FileStatus::Renamed,
];

/// Returns the candidates, a list per kind, each in a drawn order.
pub(super) fn candidates(sheet: &FactSheet, seed: u64, most: usize) -> Vec<Vec<Candidate>> {
    let places = Places::new(sheet, seed);
    let draw = |kind: &str| Draw::new(seed, &format!("AR/{kind}"));
    vec![
        changed_files(sheet, &places, &mut draw("changed_files"), most),
        symbol_files(sheet, &places, &mut draw("symbol_file"), most),
        code::signatures(sheet, &mut draw("symbol_signature"), most),
        code::constants(sheet, &places, &mut draw("constant_value"), most),
        code::covering_tests(sheet, &mut draw("covering_test"), most),
        statuses(sheet, &mut draw("file_status"), most),
    ]
}

fn changed_files(
    sheet: &FactSheet,
    places: &Places<'_>,
    draw: &mut Draw,
    most: usize,
) -> Vec<Candidate> {
    let mut asked = BTreeSet::new();
    draw.shuffled(file_sets(sheet))
        .into_iter()
        .take(most)
        .map(|(question, files)| {
            let items: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
            if items.len() > LARGEST_SET {
                return Err("too many items for one question");
            }
            if !asked.insert(items.clone()) {
                return Err("another question has the same answer");
            }
            let renamed = files.iter().any(|file| file.old_path.is_some());
            let hint = if renamed {
                " Give a renamed file by its new path."
            } else {
                ""
            };
            let right: BTreeSet<&str> = items.iter().map(String::as_str).collect();
            let pool = places.wrong(draw, &right, items.len() + 2);
            let parts = files
                .iter()
                .map(|file| Part {
                    evidence: file.evidence.text.clone(),
                    value: file.path.clone(),
                })
                .collect();
            Ok(Draft {
                kind: ProbeKind::ChangedFiles,
                subject: question.clone(),
                stem: format!("{question}{hint} Name every one of them by its path."),
                listing: Vec::new(),
                distractors: wrong_sets(&pool, items.len()),
                source: files.first().map(|file| file.evidence.clone()),
                key: several(Combine::Set, parts),
                grader: Grader::Set { items },
                lessons: Vec::new(),
            })
        })
        .collect()
}

/// Returns every question for a set of changed files, with its answer.
pub(super) fn file_sets(sheet: &FactSheet) -> BTreeMap<String, Vec<&FileFact>> {
    let mut groups: BTreeMap<String, Vec<&FileFact>> = BTreeMap::new();
    let mut put = |question: String, file| groups.entry(question).or_default().push(file);
    for file in &sheet.files {
        put(
            "Which files does the diff of this pull request change?".to_owned(),
            file,
        );
        let folder = folder(&file.path);
        if folder.is_empty() {
            put(
                "Which files in the top folder itself does the diff change?".to_owned(),
                file,
            );
        } else {
            put(
                format!("Which files directly in the folder `{folder}` does the diff change?"),
                file,
            );
        }
        let ending = extension(&file.path);
        if !ending.is_empty() {
            put(
                format!("Which files whose names end in `{ending}` does the diff change?"),
                file,
            );
        }
        put(
            format!("Which files does the diff {}?", verb(file.status)),
            file,
        );
    }
    groups
}

fn symbol_files(
    sheet: &FactSheet,
    places: &Places<'_>,
    draw: &mut Draw,
    most: usize,
) -> Vec<Candidate> {
    let ambiguous = ambiguous_names(sheet);
    draw.shuffled(&sheet.symbols)
        .into_iter()
        .take(most)
        .map(|symbol| {
            if was_removed(sheet, &symbol.evidence) {
                return Err("the change takes it away");
            }
            if ambiguous.contains(symbol.name.as_str()) {
                return Err("the name means several things");
            }
            let right = BTreeSet::from([symbol.file.as_str()]);
            let wrong = places.alike(draw, &symbol.file, &right, &symbol.name, 3);
            let asked = format!("defines the {} `{}`?", word(symbol.kind), symbol.name);
            let mut draft = Draft {
                kind: ProbeKind::SymbolFile,
                subject: symbol.name.clone(),
                stem: format!("Which file of the diff {asked} Give its path."),
                listing: Vec::new(),
                grader: Grader::Exact {
                    accept: vec![symbol.file.clone()],
                },
                distractors: wrong.clone(),
                source: Some(symbol.evidence.clone()),
                key: single(&symbol.file, places.located(&symbol.file, &symbol.evidence)),
                lessons: Vec::new(),
            };
            // An agent that must name a path itself can still choose among those that it read.
            let paths = sheet.files.iter().map(|file| file.path.as_str());
            let named = paths.filter(|path| *path != symbol.file);
            let points = sounds_like(&symbol.name, &symbol.file, named);
            if points || draw.below(2) == 0 {
                draft.stem = format!("Which of these files {asked}");
                offer(&mut draft, draw, &symbol.file, wrong);
            }
            Ok(draft)
        })
        .collect()
}

/// Files take turns by status. Otherwise nearly all questions would be about modified files.
fn statuses(sheet: &FactSheet, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let mut ranked: Vec<(usize, usize, &FileFact)> = Vec::new();
    for status in STATUSES {
        let files = draw.shuffled(sheet.files.iter().filter(|file| file.status == status));
        let place = draw.below(STATUSES.len());
        ranked.extend(
            files
                .into_iter()
                .enumerate()
                .map(|(round, file)| (round, place, file)),
        );
    }
    ranked.sort_by_key(|&(round, place, _)| (round, place));
    ranked
        .into_iter()
        .take(most)
        .map(|(_, _, file)| {
            if sheet.files.iter().all(|other| other.status == file.status) {
                return Err("all files have the same status");
            }
            let right = state(file.status).to_owned();
            let wrong: Vec<String> = STATUSES
                .iter()
                .filter(|status| **status != file.status)
                .map(|status| state(*status).to_owned())
                .collect();
            let mut draft = Draft {
                kind: ProbeKind::FileStatus,
                subject: file.path.clone(),
                stem: format!("What did the change do to the file `{}`?", file.path),
                listing: Vec::new(),
                grader: Grader::Exact { accept: Vec::new() },
                distractors: Vec::new(),
                source: Some(file.evidence.clone()),
                key: single(&right, file.evidence.text.clone()),
                lessons: Vec::new(),
            };
            offer(&mut draft, draw, &right, wrong);
            Ok(draft)
        })
        .collect()
}

fn word(kind: SymbolKind) -> &'static str {
    match kind {
        SymbolKind::Function => "function",
        SymbolKind::Type => "type",
    }
}

fn verb(status: FileStatus) -> &'static str {
    match status {
        FileStatus::Added => "create",
        FileStatus::Modified => "modify in place, without creating, deleting or renaming them",
        FileStatus::Deleted => "delete",
        FileStatus::Renamed => "rename",
    }
}

pub(super) fn state(status: FileStatus) -> &'static str {
    match status {
        FileStatus::Added => "added",
        FileStatus::Modified => "modified",
        FileStatus::Deleted => "deleted",
        FileStatus::Renamed => "renamed",
    }
}
