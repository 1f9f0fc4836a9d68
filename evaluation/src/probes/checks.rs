//! What every probe has to pass before it is used, whether it was just generated or comes from a
//! question bank: its answer is proved again at the recorded commit, and nothing else that an agent
//! is told gives it away.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Evidence, FactSheet, fact_sheet};
use crate::grading::{Verdict, grade};
use crate::probe::{Probe, ProbeSet};
use crate::probes::leaks::{Leak, Questions, stem};
use crate::probes::rederiving::follows;
use crate::pull_request::{Change, ChangedFile, Line, PullRequest};

/// Questions with more of their words in common than this ask the same.
const NEARLY_THE_SAME: f64 = 0.9;

/// The set without the probes that fail, each counted in the report with its reason; and without the
/// teaching that is for them alone.
pub fn prove(set: ProbeSet, pull_request: &PullRequest) -> ProbeSet {
    let failed = failures(&set, pull_request);
    without(set, &failed)
}

/// The set without these probes, each counted in the report with its reason; and without the teaching
/// that is for them alone.
pub fn without(mut set: ProbeSet, failed: &BTreeMap<String, &'static str>) -> ProbeSet {
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
    for lesson in &mut set.teaching {
        let meant = lesson.probes.len();
        lesson.probes.retain(|label| !failed.contains_key(label));
        if meant > 0 && lesson.probes.is_empty() {
            lesson.text.clear();
        }
    }
    set.teaching.retain(|lesson| !lesson.text.is_empty());
    set
}

/// Label → why the probe cannot be used.
pub fn failures(set: &ProbeSet, pull_request: &PullRequest) -> BTreeMap<String, &'static str> {
    // Read anew: a bank may bring probes that were made from another sheet.
    let sheet = fact_sheet(pull_request);
    let mut failed: BTreeMap<String, &'static str> = BTreeMap::new();
    for probe in &set.probes {
        if let Some(reason) = disproved(probe, set, &sheet, pull_request) {
            failed.insert(probe.label.clone(), reason);
        }
    }
    let questions = Questions::of(&set.probes);
    for (at, probe) in set.probes.iter().enumerate() {
        if failed.contains_key(&probe.label) {
            continue;
        }
        let used = |label: &str| !failed.contains_key(label);
        let twin = set.probes[..at]
            .iter()
            .any(|other| used(&other.label) && nearly_the_same(other, probe));
        let reason = match questions.leak(probe, pull_request.title.as_deref(), used) {
            Some(Leak::OwnQuestion) => "the question points to its answer",
            Some(Leak::OddOneOut) => "the right choice stands out",
            Some(Leak::Title) => "the title of the pull request holds the answer",
            Some(Leak::OtherQuestion(_)) => "another question gives the answer away",
            Some(Leak::OtherQuestions) => "the other questions together give the answer away",
            None if twin => "nearly the same is asked already",
            None => continue,
        };
        failed.insert(probe.label.clone(), reason);
    }
    failed
}

/// Why the answer of a probe cannot be proved, if so.
fn disproved(
    probe: &Probe,
    set: &ProbeSet,
    sheet: &FactSheet,
    pull_request: &PullRequest,
) -> Option<&'static str> {
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
        && !stands(source, pull_request)
    {
        return Some("its source does not stand at the recorded commit");
    }
    let taught: Vec<&str> = set
        .teaching
        .iter()
        .filter(|lesson| lesson.probes.contains(&probe.label))
        .map(|lesson| lesson.text.as_str())
        .collect();
    let mut evidence = probe
        .key
        .versions
        .iter()
        .flat_map(|version| &version.parts)
        .flat_map(|part| &part.evidence);
    let shown = |line: &String| {
        taught.iter().any(|text| text.contains(line.as_str()))
            || pull_request
                .files
                .iter()
                .any(|file| file.patch.contains(line.as_str()))
    };
    (!evidence.all(shown)).then_some("its evidence is shown to no agent")
}

/// Whether the lines of a source stand where it says: at these numbers in the head commit, or, where
/// that text is not there, in the diff.
fn stands(source: &Evidence, pull_request: &PullRequest) -> bool {
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
    // Headers of the diff are told beside lines of the file, and stand in the diff alone.
    source.text.iter().all(|wanted| {
        numbered.iter().any(|line| line.trim() == wanted) || is_header(&file.patch, wanted)
    })
}

/// The lines of a file from one number to another, both included, in the head commit; those that the
/// diff shows, where the whole text is not there.
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

/// The same in the base commit, of which only the diff is there.
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

/// Whether a line of a file's section is a header: all before its first hunk, and those of hunks.
fn is_header(patch: &str, wanted: &str) -> bool {
    let is_hunk = |line: &&str| line.starts_with("@@");
    let above = patch.lines().take_while(|line| !is_hunk(line));
    above
        .chain(patch.lines().filter(is_hunk))
        .any(|line| line.trim() == wanted)
}

/// Whether two questions ask for the same in nearly the same words.
fn nearly_the_same(one: &Probe, other: &Probe) -> bool {
    let words = |probe: &Probe| -> BTreeSet<String> {
        stem(probe)
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    if one.kind != other.kind || one.grader != other.grader {
        return false;
    }
    let (a, b) = (words(one), words(other));
    let both = a.intersection(&b).count() as f64;
    let any = a.union(&b).count() as f64;
    any > 0.0 && both / any >= NEARLY_THE_SAME
}
