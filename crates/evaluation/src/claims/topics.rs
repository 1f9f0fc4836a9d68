//! Facts for grading open questions: facts of the diff about the purpose of the change, its risks,
//! and the steps of a rollback.
//!
//! An answer may correctly say more than these facts, but only they can be proved. No literal judge
//! grades them, because an answer in free words need not use the words of a fact. So they have no
//! wrong values.

use std::collections::BTreeSet;

use domain::vocabulary::OpenTopic;
use serde::{Deserialize, Serialize};

use super::atomic_fact::AtomicFact;
use super::word_match::has_word;
use crate::draw::Draw;
use crate::facts::{ConstantFact, FactSheet, FileFact, SymbolFact};
use domain::pull_request::{Change, FileStatus, PullRequest};

/// Maximum number of facts per topic: the facts of one request to a judge.
const MOST_FACTS: usize = 8;
/// Maximum length of an old value in a statement, in bytes.
const LONGEST_VALUE: usize = 200;

/// A fact about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFact {
    pub topic: OpenTopic,
    /// The fact, numbered within its topic.
    pub fact: AtomicFact,
    /// Lines of the diff, or the title, from which it follows.
    pub evidence: Vec<String>,
}

/// Returns the facts of every topic: all kinds in turn, in an order drawn by `seed`. A topic
/// without facts need not be asked about.
pub fn open_facts(pull_request: &PullRequest, sheet: &FactSheet, seed: u64) -> Vec<OpenFact> {
    OpenTopic::ALL
        .into_iter()
        .flat_map(|topic| {
            let kinds = match topic {
                OpenTopic::Purpose => purpose(pull_request, sheet),
                OpenTopic::Risks => risks(pull_request, sheet),
                OpenTopic::Rollback => rollback(pull_request, sheet),
            };
            drawn(topic, kinds, seed)
        })
        .collect()
}

/// A fact of a topic without a number, and its evidence.
type Bare = (AtomicFact, Vec<String>);

fn drawn(topic: OpenTopic, kinds: Vec<Vec<Bare>>, seed: u64) -> Vec<OpenFact> {
    let mut kinds: Vec<_> = kinds
        .into_iter()
        .enumerate()
        .map(|(kind, facts)| {
            let purpose = format!("open {} {kind}", topic.as_str());
            Draw::new(seed, &purpose).shuffled(facts).into_iter()
        })
        .collect();
    let mut chosen: Vec<OpenFact> = Vec::new();
    let mut said = BTreeSet::new();
    while chosen.len() < MOST_FACTS && !kinds.is_empty() {
        kinds.retain_mut(|facts| {
            let fit = facts.find(|(fact, evidence)| {
                usable(fact, evidence) && said.insert(fact.statement.clone())
            });
            let Some((fact, evidence)) = fit else {
                return false;
            };
            chosen.push(OpenFact {
                topic,
                fact,
                evidence,
            });
            true
        });
    }
    chosen.truncate(MOST_FACTS);
    for (at, one) in chosen.iter_mut().enumerate() {
        one.fact.id = format!("F{:02}", at + 1);
    }
    chosen
}

/// Returns whether names and values can be in backticks in a sentence.
fn usable(fact: &AtomicFact, evidence: &[String]) -> bool {
    let mut texts = fact.subjects.iter().chain(&fact.values);
    let shown = texts.all(|text| !text.trim().is_empty() && !text.contains(['\n', '`']));
    shown && !evidence.is_empty() && evidence.iter().all(|line| !line.trim().is_empty())
}

fn fact(statement: String, subject: &str, value: &str, evidence: &[String]) -> Bare {
    let fact = AtomicFact {
        id: String::new(),
        statement,
        subjects: vec![subject.to_owned()],
        values: vec![value.to_owned()],
        distractors: Vec::new(),
        // Only models judge it, by its statement.
        ..AtomicFact::default()
    };
    (fact, evidence.to_vec())
}

fn purpose(pull_request: &PullRequest, sheet: &FactSheet) -> Vec<Vec<Bare>> {
    // A single word does not state a purpose.
    let title = pull_request
        .title
        .iter()
        .map(|title| title.trim())
        .filter(|title| title.split_whitespace().count() > 1)
        .map(|title| {
            let statement =
                format!("What the pull request is for is, in the words of its title: `{title}`.");
            fact(statement, "the pull request", title, &[title.to_owned()])
        });
    let files = sheet.files.iter().filter_map(|file| {
        let FileFact { path, evidence, .. } = file;
        let (statement, value) = match file.status {
            FileStatus::Added => (format!("The change adds the file `{path}`."), "added"),
            FileStatus::Deleted => (format!("The change deletes the file `{path}`."), "deleted"),
            FileStatus::Renamed => {
                let old = file.old_path.as_deref()?;
                let statement = format!("The change renames the file `{old}` to `{path}`.");
                return Some(fact(statement, old, path, &evidence.text));
            }
            FileStatus::Modified => return None,
        };
        Some(fact(statement, path, value, &evidence.text))
    });
    let symbols = sheet
        .symbols
        .iter()
        .filter(|symbol| adds(pull_request, symbol))
        .map(|symbol| {
            let SymbolFact { name, file, .. } = symbol;
            let statement = format!("The change adds `{name}`, in `{file}`.");
            fact(statement, name, file, &symbol.evidence.text)
        });
    vec![title.collect(), files.collect(), symbols.collect()]
}

fn risks(pull_request: &PullRequest, sheet: &FactSheet) -> Vec<Vec<Bare>> {
    let uses = sheet.uses.iter().flat_map(|used| {
        used.used_in.iter().map(|(file, evidence)| {
            let statement = format!(
                "`{}`, which the change touches, is used in `{file}`.",
                used.symbol
            );
            fact(statement, &used.symbol, file, &evidence.text)
        })
    });
    let tests = sheet.tests.iter().map(|test| {
        let statement = format!("The test `{}` covers `{}`.", test.test, test.symbol);
        fact(statement, &test.symbol, &test.test, &test.evidence.text)
    });
    let constants = changed(pull_request, sheet).map(|(constant, old)| {
        let ConstantFact { name, value, .. } = constant;
        let statement =
            format!("The change sets `{name}` to `{value}`; it was another value before.");
        fact(statement, name, value, &old.evidence)
    });
    vec![uses.collect(), tests.collect(), constants.collect()]
}

fn rollback(pull_request: &PullRequest, sheet: &FactSheet) -> Vec<Vec<Bare>> {
    let files = |status: FileStatus| -> Vec<Bare> {
        let of_status = sheet.files.iter().filter(|file| file.status == status);
        of_status
            .filter_map(|file| {
                let path = &file.path;
                let (statement, subject, value) = match status {
                    FileStatus::Added => (
                        format!("To undo the change, the file `{path}` has to be removed."),
                        path,
                        "removed",
                    ),
                    FileStatus::Deleted => (
                        format!("To undo the change, the file `{path}` has to be restored."),
                        path,
                        "restored",
                    ),
                    FileStatus::Renamed => {
                        let old = file.old_path.as_deref()?;
                        let statement = format!(
                            "To undo the change, the file `{path}` has to be renamed back to `{old}`."
                        );
                        (statement, path, old)
                    }
                    FileStatus::Modified => return None,
                };
                Some(fact(statement, subject, value, &file.evidence.text))
            })
            .collect()
    };
    let constants = changed(pull_request, sheet).map(|(constant, old)| {
        let statement = format!(
            "To undo the change, `{}` has to get its old value `{}` back.",
            constant.name, old.value
        );
        fact(statement, &constant.name, &old.value, &old.evidence)
    });
    vec![
        files(FileStatus::Added),
        files(FileStatus::Deleted),
        files(FileStatus::Renamed),
        constants.collect(),
    ]
}

/// Returns whether the change adds a symbol to the repository: an added line defines it, and no
/// removed line names it. A moved symbol, or one with a new signature, is not added.
fn adds(pull_request: &PullRequest, symbol: &SymbolFact) -> bool {
    let mut lines = pull_request
        .files
        .iter()
        .flat_map(|file| &file.hunks)
        .flat_map(|hunk| &hunk.lines);
    let taken_away =
        lines.any(|line| line.change == Change::Removed && has_word(&line.text, &symbol.name));
    let defined = pull_request
        .files
        .iter()
        .filter(|file| file.path == symbol.file)
        .flat_map(|file| &file.hunks)
        .flat_map(|hunk| &hunk.lines)
        .any(|line| {
            line.change == Change::Added && line.new_number == Some(symbol.evidence.lines.0)
        });
    defined && !taken_away
}

/// The state of a constant before the change.
struct Old {
    value: String,
    /// The lines before and after the change.
    evidence: Vec<String>,
}

/// Returns the constants whose value before the change is in the diff.
fn changed<'a>(
    pull_request: &'a PullRequest,
    sheet: &'a FactSheet,
) -> impl Iterator<Item = (&'a ConstantFact, Old)> {
    sheet
        .constants
        .iter()
        .filter_map(|constant| Some((constant, old_value(pull_request, constant)?)))
}

/// Returns the earlier value of a constant: the value in the only removed line of its hunk that
/// differs in nothing but the value. If the line changed in other ways, the value is unknown.
fn old_value(pull_request: &PullRequest, constant: &ConstantFact) -> Option<Old> {
    let ConstantFact { name, value, .. } = constant;
    let file = pull_request
        .files
        .iter()
        .find(|file| file.path == constant.file)?;
    let (hunk, new) = file.hunks.iter().find_map(|hunk| {
        let line = hunk.lines.iter().find(|line| {
            line.change == Change::Added && line.new_number == Some(constant.evidence.lines.0)
        })?;
        Some((hunk, line.text.as_str()))
    })?;
    let named = new.find(name.as_str())? + name.len();
    let mut found = Vec::new();
    for (at, _) in new[named..].match_indices(value.as_str()) {
        let (before, after) = (&new[..named + at], &new[named + at + value.len()..]);
        // `32` is not a value in `u32`.
        let part = |c: char| c.is_alphanumeric() || c == '_';
        if before.ends_with(part) || after.starts_with(part) {
            continue;
        }
        for line in &hunk.lines {
            let old = line.text.strip_prefix(before);
            let old = old.and_then(|rest| rest.strip_suffix(after)).map(str::trim);
            if let Some(old) = old
                && line.change == Change::Removed
                && !old.is_empty()
                && old != value
                && old.len() <= LONGEST_VALUE
            {
                found.push((old.to_owned(), line.text.trim().to_owned()));
            }
        }
    }
    let [(value, line)] = found.as_slice() else {
        return None;
    };
    Some(Old {
        value: value.clone(),
        evidence: vec![line.clone(), new.trim().to_owned()],
    })
}
