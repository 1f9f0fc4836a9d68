//! Checks that every probe must pass, generated or from a question bank: its answer is proved again
//! at the recorded commit, and nothing else that an agent reads reveals it.
//!
//! Two things are proved separately. The answer is derived again from a new fact sheet. For
//! generated probes this finds mistakes of the generators, not of the fact extraction. The lines of
//! the source are looked up by number in the text of the file: the text of git at the recorded
//! commit, in [`domain::pull_request::ChangedFile::head_text`].

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::{Dimension, Verdict};

use crate::facts::{Evidence, FactSheet, fact_sheet};
use crate::grading::grade;
use crate::probe::{Combine, Grader, Probe, ProbeKind, ProbeSet};
use crate::probes::candidate::FEWEST_DISTRACTORS;
use crate::probes::kinds::dimension_of;
use crate::probes::leaks::{Leak, Questions, stem, subjects};
use crate::probes::likeness::folded;
use crate::probes::rederiving::follows;
use domain::pull_request::{Change, ChangedFile, Line, PullRequest};

/// Questions with a larger share of common words ask the same.
const NEARLY_THE_SAME: f64 = 0.9;

/// Returns the set without the probes that fail, each counted in the report with its reason, and
/// without the teaching for these alone.
pub fn prove(set: ProbeSet, pull_request: &PullRequest) -> ProbeSet {
    let failed = failures(&set, pull_request);
    without(set, &failed)
}

/// Returns the set without these probes, each counted in the report with its reason, and without
/// the teaching for these alone.
pub fn without(mut set: ProbeSet, failed: &BTreeMap<String, &'static str>) -> ProbeSet {
    let asked: BTreeSet<Dimension> = set.probes.iter().map(|probe| probe.dimension).collect();
    let report = &mut set.report;
    set.probes.retain(|probe| {
        let Some(&reason) = failed.get(&probe.label) else {
            return true;
        };
        *report.dropped.entry(reason.to_owned()).or_default() += 1;
        let by_kind = report.dropped_by_kind.entry(probe.kind).or_default();
        *by_kind.entry(reason.to_owned()).or_default() += 1;
        if let Some(made) = report.made.get_mut(&probe.kind) {
            *made = made.saturating_sub(1);
        }
        false
    });
    set.report.made.retain(|_, made| *made > 0);
    remove_teaching(&mut set, |label| failed.contains_key(label));
    for dimension in asked {
        set.explain_missing(dimension);
    }
    set
}

/// Removes the probes of other dimensions, the teaching for these alone, and their part of the
/// report, as if they had not been requested.
pub fn only_dimensions(mut set: ProbeSet, asked: &BTreeSet<Dimension>) -> ProbeSet {
    let mut others = BTreeSet::new();
    set.probes.retain(|probe| {
        let is_asked = asked.contains(&probe.dimension);
        if !is_asked {
            others.insert(probe.label.clone());
        }
        is_asked
    });
    remove_teaching(&mut set, |label| others.contains(label));
    let report = &mut set.report;
    let is_asked = |kind: &ProbeKind| asked.contains(&dimension_of(*kind));
    report.made.retain(|kind, _| is_asked(kind));
    report.candidates.retain(|kind, _| is_asked(kind));
    for (kind, reasons) in std::mem::take(&mut report.dropped_by_kind) {
        if is_asked(&kind) {
            report.dropped_by_kind.insert(kind, reasons);
            continue;
        }
        for (reason, count) in reasons {
            if let Some(dropped) = report.dropped.get_mut(&reason) {
                *dropped = dropped.saturating_sub(count);
            }
        }
    }
    report.dropped.retain(|_, count| *count > 0);
    let words: BTreeSet<&str> = asked.iter().map(|one| one.as_str()).collect();
    report
        .without
        .retain(|word, _| words.contains(word.as_str()));
    set
}

/// Removes the teaching for these probes alone.
fn remove_teaching(set: &mut ProbeSet, is_gone: impl Fn(&String) -> bool) {
    for lesson in &mut set.teaching {
        let meant = lesson.probes.len();
        lesson.probes.retain(|label| !is_gone(label));
        if meant > 0 && lesson.probes.is_empty() {
            lesson.text.clear();
        }
    }
    set.teaching.retain(|lesson| !lesson.text.is_empty());
}

/// Returns the reason for each probe that cannot be used, by label.
pub fn failures(set: &ProbeSet, pull_request: &PullRequest) -> BTreeMap<String, &'static str> {
    // Extracted again: a bank may contain probes that were made from another sheet.
    let sheet = fact_sheet(pull_request);
    let mut failed: BTreeMap<String, &'static str> = BTreeMap::new();
    for probe in &set.probes {
        if let Some(reason) = unproved_reason(probe, set, &sheet, pull_request) {
            failed.insert(probe.label.clone(), reason);
        }
    }
    let questions = Questions::from_probes(&set.probes);
    // An answer that one question hides among its choices may be revealed by another once the first
    // is removed.
    loop {
        let before = failed.len();
        for (at, probe) in set.probes.iter().enumerate() {
            if !failed.contains_key(&probe.label)
                && let Some(reason) = unfair_reason(set, at, pull_request, &questions, &failed)
            {
                failed.insert(probe.label.clone(), reason);
            }
        }
        if failed.len() == before {
            return failed;
        }
    }
}

/// Returns the reason for which a probe is not fair beside the title and the other remaining
/// probes, if any.
fn unfair_reason(
    set: &ProbeSet,
    at: usize,
    pull_request: &PullRequest,
    questions: &Questions<'_>,
    failed: &BTreeMap<String, &'static str>,
) -> Option<&'static str> {
    let probe = &set.probes[at];
    let used = |label: &str| !failed.contains_key(label);
    let mut earlier = set.probes[..at].iter();
    match questions.leak(probe, pull_request.title.as_deref(), used) {
        Some(Leak::OwnQuestion) => Some("the question points to its answer"),
        Some(Leak::OddOneOut) => Some("the right choice stands out"),
        Some(Leak::Title) => Some("the title of the pull request holds the answer"),
        Some(Leak::TitleSound) => Some("the title of the pull request points to the answer"),
        Some(Leak::OtherQuestion(_)) => Some("another question gives the answer away"),
        Some(Leak::OtherQuestions) => Some("the other questions together give the answer away"),
        None => earlier
            .any(|other| used(&other.label) && nearly_the_same(other, probe))
            .then_some("nearly the same is asked already"),
    }
}

/// Returns the reason for which the answer of a probe cannot be proved, if any.
fn unproved_reason(
    probe: &Probe,
    set: &ProbeSet,
    sheet: &FactSheet,
    pull_request: &PullRequest,
) -> Option<&'static str> {
    if let Some(reason) = malformed_reason(probe) {
        return Some(reason);
    }
    let answer = probe.key.answer(|_| true);
    let right = |answer: &String| {
        grade(&probe.grader, &format!("ANSWER: {answer}")).verdict == Verdict::Right
    };
    if !answer.as_ref().is_some_and(right) {
        return Some("its evidence leads to another answer");
    }
    if !follows(probe, sheet) {
        return Some("the facts lead to another answer");
    }
    if let Some(source) = &probe.source
        && !is_at_source(source, pull_request)
    {
        return Some("its source does not stand at the recorded commit");
    }
    let mut evidence = probe
        .key
        .versions
        .iter()
        .flat_map(|version| &version.parts)
        .flat_map(|part| &part.evidence);
    let lessons = set
        .teaching
        .iter()
        .filter(|lesson| lesson.probes.contains(&probe.label));
    let shown = |line: &String| {
        // The diff proves facts of the repository, and its own lesson proves a taught fact.
        if is_about_the_repository(probe.dimension) {
            let mut files = pull_request.files.iter();
            return files.any(|file| file.patch.contains(line.as_str()));
        }
        lessons
            .clone()
            .any(|lesson| lesson.text.contains(line.as_str()))
    };
    (!evidence.all(shown)).then_some("its evidence is shown to no agent")
}

/// Returns the reason for which a probe is malformed, whatever it asks, if any.
fn malformed_reason(probe: &Probe) -> Option<&'static str> {
    if dimension_of(probe.kind) != probe.dimension {
        return Some("its kind belongs to another dimension");
    }
    if is_about_the_repository(probe.dimension) != probe.source.is_some() {
        return Some("it does not tell where its answer stands");
    }
    let wrong: BTreeSet<String> = probe
        .distractors
        .iter()
        .filter(|text| {
            let verdict = grade(&probe.grader, &format!("ANSWER: {text}")).verdict;
            matches!(verdict, Verdict::Wrong | Verdict::Partial)
        })
        .map(|text| text.to_lowercase())
        .collect();
    if wrong.len() < FEWEST_DISTRACTORS {
        return Some("too few plausible wrong answers");
    }
    let Grader::Choice { choices, .. } = &probe.grader else {
        return None;
    };
    let different: BTreeSet<String> = choices.iter().map(|text| text.to_lowercase()).collect();
    if different.len() != choices.len() {
        return Some("two choices read the same");
    }
    (choices.len() <= FEWEST_DISTRACTORS).then_some("too few plausible wrong answers")
}

/// Returns whether the answers of a dimension are in the repository. Otherwise only the
/// conversation defines them.
fn is_about_the_repository(dimension: Dimension) -> bool {
    match dimension {
        Dimension::Ar | Dimension::Lru => true,
        Dimension::Ttl | Dimension::Sf => false,
    }
}

/// Returns whether the lines of a source are at the stated place: at these numbers in the head
/// commit, or, without that text, in the diff.
fn is_at_source(source: &Evidence, pull_request: &PullRequest) -> bool {
    let Some(file) = pull_request
        .files
        .iter()
        .find(|file| file.path == source.file || file.old_path.as_ref() == Some(&source.file))
    else {
        return false;
    };
    let numbered = if source.commit == pull_request.head {
        in_head(file, source.lines)
    } else if source.commit == pull_request.base {
        in_base(file, source.lines)
    } else {
        return false;
    };
    // Headers of the diff are listed beside lines of the file, and are only in the diff.
    source.text.iter().all(|wanted| {
        numbered.iter().any(|line| line.trim() == wanted) || is_header(&file.patch, wanted)
    })
}

/// Returns the lines of a file between two numbers, both included, in the head commit. Without the
/// whole text, returns those that the diff shows.
fn in_head(file: &ChangedFile, (first, last): (u32, u32)) -> Vec<&str> {
    if let Some(text) = &file.head_text {
        return (1..)
            .zip(text.lines())
            .filter(|(number, _)| (first..=last).contains(number))
            .map(|(_, line)| line)
            .collect();
    }
    shown(file, Change::Removed, |line| line.new_number, first, last)
}

/// Does the same for the base commit, of which only the diff is available.
fn in_base(file: &ChangedFile, (first, last): (u32, u32)) -> Vec<&str> {
    shown(file, Change::Added, |line| line.old_number, first, last)
}

fn shown(
    file: &ChangedFile,
    without: Change,
    number: impl Fn(&Line) -> Option<u32>,
    first: u32,
    last: u32,
) -> Vec<&str> {
    let lines = file.hunks.iter().flat_map(|hunk| &hunk.lines);
    lines
        .filter(|line| line.change != without)
        .filter(|line| number(line).is_some_and(|number| (first..=last).contains(&number)))
        .map(|line| line.text.as_str())
        .collect()
}

/// Returns whether a line of a file's section is a header: any line before the first hunk, or the
/// header of a hunk.
fn is_header(patch: &str, wanted: &str) -> bool {
    let is_hunk = |line: &&str| line.starts_with("@@");
    let above = patch.lines().take_while(|line| !is_hunk(line));
    above
        .chain(patch.lines().filter(is_hunk))
        .any(|line| line.trim() == wanted)
}

/// Returns whether two questions ask the same: about the same names, or in nearly the same words,
/// with the same right answer. Their grading and the order of their choices do not matter.
fn nearly_the_same(one: &Probe, other: &Probe) -> bool {
    if one.kind != other.kind || right(one) != right(other) {
        return false;
    }
    let about =
        |probe: &Probe| -> BTreeSet<String> { subjects(probe).into_iter().map(folded).collect() };
    let (a, b) = (about(one), about(other));
    if !a.is_empty() && a == b {
        return true;
    }
    let words = |probe: &Probe| -> BTreeSet<String> {
        stem(probe)
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (a, b) = (words(one), words(other));
    let both = a.intersection(&b).count() as f64;
    let any = a.union(&b).count() as f64;
    any > 0.0 && both / any >= NEARLY_THE_SAME
}

/// Returns the right answer of a probe. The order of a set does not count.
fn right(probe: &Probe) -> Vec<String> {
    let last = probe.key.versions.last();
    let parts = last.map(|version| version.parts.as_slice());
    let mut values: Vec<String> = parts
        .unwrap_or_default()
        .iter()
        .map(|part| part.value.to_lowercase())
        .collect();
    match probe.key.combine {
        Combine::Set => values.sort_unstable(),
        Combine::Single | Combine::Sequence => {}
    }
    values
}
