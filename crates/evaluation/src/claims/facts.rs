//! Atomic facts of the fact sheet and of the teaching.

use std::collections::{BTreeMap, BTreeSet};

use super::atomic_fact::{AtomicFact, FactKind};
use super::word_match::has_word;
use crate::draw::Draw;
use crate::facts::FactSheet;
use crate::probe::{Grader, Probe, ProbeSet};
use domain::pull_request::FileStatus;

/// Returns the facts for grading a free recall: all kinds in turn, in an order drawn by `seed`.
///
/// A fact is left out if its wrong values cannot be distinguished from its right value or its
/// subject, or if it has no wrong values.
pub fn atomic_facts(
    sheet: &FactSheet,
    probes: &ProbeSet,
    seed: u64,
    at_most: usize,
) -> Vec<AtomicFact> {
    let mut kinds: Vec<_> = [
        files(sheet),
        homes(sheet),
        constants(sheet),
        returns(sheet),
        tests(sheet),
        uses(sheet),
        taught(probes),
    ]
    .into_iter()
    .enumerate()
    .map(|(kind, facts)| {
        Draw::new(seed, &format!("claims {kind}"))
            .shuffled(facts)
            .into_iter()
    })
    .collect();
    let mut chosen: Vec<AtomicFact> = Vec::new();
    let mut said = BTreeSet::new();
    while chosen.len() < at_most && !kinds.is_empty() {
        kinds.retain_mut(|facts| {
            for fact in facts.by_ref() {
                if let Some(fact) = usable(fact)
                    && said.insert(fact.statement.clone())
                {
                    chosen.push(fact);
                    return true;
                }
            }
            false
        });
    }
    chosen.truncate(at_most);
    for (at, fact) in chosen.iter_mut().enumerate() {
        fact.id = format!("F{:02}", at + 1);
    }
    chosen
}

/// Returns the fact without conflicting wrong values. Returns `None` if no wrong value remains.
fn usable(mut fact: AtomicFact) -> Option<AtomicFact> {
    let AtomicFact {
        subjects, values, ..
    } = &fact;
    if subjects.is_empty() || values.iter().any(String::is_empty) {
        return None;
    }
    if subjects
        .iter()
        .chain(values)
        .any(|text| text.contains(['\n', '`']))
    {
        return None;
    }
    // A name that contains its value would be a right claim by itself.
    if values
        .iter()
        .any(|value| subjects.iter().any(|subject| has_word(subject, value)))
    {
        return None;
    }
    let taken = subjects.iter().chain(values);
    let clashes = |wrong: &String| {
        taken
            .clone()
            .any(|text| has_word(text, wrong) || has_word(wrong, text))
    };
    let distractors: BTreeSet<String> = fact
        .distractors
        .iter()
        .filter(|wrong| !wrong.is_empty() && !clashes(wrong))
        .cloned()
        .collect();
    fact.distractors = distractors.into_iter().collect();
    (!fact.distractors.is_empty()).then_some(fact)
}

fn fact(
    kind: FactKind,
    statement: String,
    subject: &str,
    values: &[&str],
    distractors: impl IntoIterator<Item = String>,
) -> AtomicFact {
    AtomicFact {
        id: String::new(),
        statement,
        subjects: vec![subject.to_owned()],
        values: values.iter().map(|&value| value.to_owned()).collect(),
        distractors: distractors.into_iter().collect(),
        kind,
        also_true: Vec::new(),
    }
}

/// Returns the words for the status of a file, as people and diffs write them.
fn words(status: FileStatus) -> &'static [&'static str] {
    match status {
        FileStatus::Added => &["added", "adds", "Added", "created"],
        FileStatus::Modified => &["modified", "modifies", "Modified"],
        FileStatus::Deleted => &["deleted", "deletes", "Deleted", "removed"],
        FileStatus::Renamed => &["renamed", "renames", "Renamed", "moved"],
    }
}

fn files(sheet: &FactSheet) -> Vec<AtomicFact> {
    let all = [
        FileStatus::Added,
        FileStatus::Modified,
        FileStatus::Deleted,
        FileStatus::Renamed,
    ];
    sheet
        .files
        .iter()
        .map(|file| {
            let own = words(file.status);
            let wrong = all
                .iter()
                .filter(|&&status| status != file.status)
                .flat_map(|&status| words(status))
                .map(|&word| word.to_owned());
            let statement = format!("The file `{}` is {} by the change.", file.path, own[0]);
            fact(FactKind::Status, statement, &file.path, own, wrong)
        })
        .collect()
}

/// Returns every file that defines or uses a name of the sheet.
fn places<'a>(sheet: &'a FactSheet, symbol: &str) -> BTreeSet<&'a str> {
    let defined = sheet.symbols.iter().filter(|one| one.name == symbol);
    let used = sheet.uses.iter().filter(|one| one.symbol == symbol);
    let tested = sheet.tests.iter().filter(|one| one.symbol == symbol);
    defined
        .map(|one| one.file.as_str())
        .chain(used.flat_map(|one| one.used_in.iter().map(|(file, _)| file.as_str())))
        .chain(tested.map(|one| one.file.as_str()))
        .collect()
}

fn other_files(sheet: &FactSheet, symbol: &str) -> Vec<String> {
    let own = places(sheet, symbol);
    sheet
        .files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| !own.contains(path))
        .map(str::to_owned)
        .collect()
}

fn also_true(sheet: &FactSheet, symbol: &str) -> Vec<String> {
    places(sheet, symbol)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Returns the values of all constants with a name. Two files may define the same name.
fn namesakes(sheet: &FactSheet, name: &str) -> Vec<String> {
    let of_name = sheet.constants.iter().filter(|one| one.name == name);
    of_name.map(|one| one.value.clone()).collect()
}

fn homes(sheet: &FactSheet) -> Vec<AtomicFact> {
    sheet
        .symbols
        .iter()
        .map(|symbol| {
            let statement = format!("`{}` is defined in `{}`.", symbol.name, symbol.file);
            let wrong = other_files(sheet, &symbol.name);
            AtomicFact {
                also_true: also_true(sheet, &symbol.name),
                ..fact(
                    FactKind::Home,
                    statement,
                    &symbol.name,
                    &[&symbol.file],
                    wrong,
                )
            }
        })
        .collect()
}

fn constants(sheet: &FactSheet) -> Vec<AtomicFact> {
    sheet
        .constants
        .iter()
        .map(|constant| {
            let statement = format!("`{}` has the value `{}`.", constant.name, constant.value);
            let others = sheet.constants.iter().map(|other| other.value.clone());
            AtomicFact {
                also_true: namesakes(sheet, &constant.name),
                ..fact(
                    FactKind::Value,
                    statement,
                    &constant.name,
                    &[&constant.value],
                    others,
                )
            }
        })
        .collect()
}

fn returns(sheet: &FactSheet) -> Vec<AtomicFact> {
    let count = |name: &str| {
        let of_name = sheet.symbols.iter().filter(|one| one.name == name);
        of_name.filter_map(|one| one.returns.as_deref()).count()
    };
    sheet
        .symbols
        .iter()
        .filter_map(|symbol| {
            let returns = symbol.returns.as_deref()?;
            let others = sheet
                .symbols
                .iter()
                .filter_map(|other| other.returns.clone());
            let statement = format!("`{}` returns `{returns}`.", symbol.name);
            (count(&symbol.name) == 1).then(|| {
                fact(
                    FactKind::Returns,
                    statement,
                    &symbol.name,
                    &[returns],
                    others,
                )
            })
        })
        .collect()
}

fn tests(sheet: &FactSheet) -> Vec<AtomicFact> {
    let mut of_symbol: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for test in &sheet.tests {
        of_symbol.entry(&test.symbol).or_default().push(&test.test);
    }
    of_symbol
        .iter()
        .filter_map(|(symbol, tests)| {
            // With several tests, the question would be ambiguous.
            let [test] = tests.as_slice() else {
                return None;
            };
            let statement = format!("`{symbol}` is covered by the test `{test}`.");
            let others = sheet.tests.iter().map(|other| other.test.clone());
            Some(fact(FactKind::Test, statement, symbol, &[test], others))
        })
        .collect()
}

fn uses(sheet: &FactSheet) -> Vec<AtomicFact> {
    sheet
        .uses
        .iter()
        .flat_map(|used| {
            used.used_in.iter().map(|(file, _)| {
                let statement = format!("`{}` is used in `{file}`.", used.symbol);
                let wrong = other_files(sheet, &used.symbol);
                AtomicFact {
                    also_true: also_true(sheet, &used.symbol),
                    ..fact(FactKind::Use, statement, &used.symbol, &[file], wrong)
                }
            })
        })
        .collect()
}

/// Returns the facts that only the conversation defines, in their current version.
fn taught(probes: &ProbeSet) -> Vec<AtomicFact> {
    probes
        .probes
        .iter()
        .filter(|probe| probe.source.is_none())
        .filter_map(|probe| {
            let (values, replaced) = current(&probe.grader)?;
            let subjects = subjects(probe, &values, &replaced);
            let value = values.first()?;
            let names: Vec<String> = subjects.iter().map(|name| format!("`{name}`")).collect();
            let statement = format!(
                "In the review it was agreed for {}: `{value}`.",
                names.join(", ")
            );
            let mut distractors = replaced;
            distractors.extend(probe.distractors.iter().cloned());
            Some(AtomicFact {
                id: String::new(),
                statement,
                subjects,
                values,
                distractors,
                kind: FactKind::Agreed,
                also_true: Vec::new(),
            })
        })
        .collect()
}

fn current(grader: &Grader) -> Option<(Vec<String>, Vec<String>)> {
    match grader {
        Grader::Exact { accept } => Some((accept.clone(), Vec::new())),
        Grader::Current {
            current: Some(current),
            replaced,
        } => Some((current.clone(), replaced.clone())),
        Grader::Current { current: None, .. }
        | Grader::Set { .. }
        | Grader::Choice { .. }
        | Grader::Sequence { .. } => None,
    }
}

/// Returns the names that the question puts in backticks, except those in its list of answers.
fn subjects(probe: &Probe, values: &[String], replaced: &[String]) -> Vec<String> {
    let answers: Vec<&String> = values
        .iter()
        .chain(replaced)
        .chain(&probe.distractors)
        .collect();
    probe
        .question
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .filter(|subject| !answers.contains(&subject))
        .collect()
}
