//! What every probe has to pass before it is used, whether it was just generated or comes from a
//! question bank: its answer is proved again at the recorded commit, and nothing else that an agent
//! is told gives it away.

use std::collections::{BTreeMap, BTreeSet};

use super::candidate::mentions;
use crate::facts::Evidence;
use crate::grading::{Verdict, grade};
use crate::probe::{Grader, Probe, ProbeSet};
use crate::pull_request::PullRequest;

/// Questions with more of their words in common than this ask the same.
const NEARLY_THE_SAME: f64 = 0.9;

/// The set without the probes that fail, each counted in the report with its reason; and without the
/// teaching that is for them alone.
pub fn prove(mut set: ProbeSet, pull_request: &PullRequest) -> ProbeSet {
    let failed = failures(&set, pull_request);
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
    let mut failed: BTreeMap<String, &'static str> = BTreeMap::new();
    for probe in &set.probes {
        let unproved = disproved(probe, set, pull_request).or_else(|| {
            let title = pull_request.title.as_deref()?;
            told_by_title(probe, title).then_some("the title of the pull request holds the answer")
        });
        if let Some(reason) = unproved {
            failed.insert(probe.label.clone(), reason);
        }
    }
    for (at, probe) in set.probes.iter().enumerate() {
        if failed.contains_key(&probe.label) {
            continue;
        }
        let others = || {
            let used =
                |other: &&Probe| other.label != probe.label && !failed.contains_key(&other.label);
            set.probes.iter().filter(used)
        };
        let reason = if others().any(|other| gives_away(other, probe)) {
            Some("another question gives the answer away")
        } else if set.probes[..at]
            .iter()
            .any(|other| !failed.contains_key(&other.label) && nearly_the_same(other, probe))
        {
            Some("nearly the same is asked already")
        } else {
            None
        };
        if let Some(reason) = reason {
            failed.insert(probe.label.clone(), reason);
        }
    }
    failed
}

/// Why the answer of a probe cannot be proved, if so.
fn disproved(probe: &Probe, set: &ProbeSet, pull_request: &PullRequest) -> Option<&'static str> {
    let answer = probe.key.answer(|_| true);
    let right = |answer: &String| {
        grade(&probe.grader, &format!("ANSWER: {answer}")).verdict == Verdict::Right
    };
    if !answer.as_ref().is_some_and(right) {
        return Some("its evidence leads to another answer");
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
    let in_diff = |line: &String| file.patch.contains(line.as_str());
    if source.commit != pull_request.head {
        return source.commit == pull_request.base && source.text.iter().all(in_diff);
    }
    let Some(text) = &file.head_text else {
        return source.text.iter().all(in_diff);
    };
    let (first, last) = source.lines;
    let first = usize::try_from(first.saturating_sub(1)).unwrap_or_default();
    let last = usize::try_from(last).unwrap_or_default();
    let lines: Vec<&str> = text.lines().take(last).skip(first).collect();
    // Headers of the diff are told beside lines of the file, and stand in the diff alone.
    source
        .text
        .iter()
        .all(|wanted| lines.iter().any(|line| line.contains(wanted.as_str())) || in_diff(wanted))
}

/// Every spelling of the right answer that another text must not tell.
fn answers(grader: &Grader) -> Vec<Vec<&str>> {
    match grader {
        Grader::Exact { accept } => accept.iter().map(|text| vec![text.as_str()]).collect(),
        Grader::Set { items } if !items.is_empty() => {
            vec![items.iter().map(String::as_str).collect()]
        }
        Grader::Choice { choices, right } => {
            let right = choices.get(*right);
            right.map(|text| vec![text.as_str()]).into_iter().collect()
        }
        Grader::Current {
            current: Some(current),
            ..
        } => current.iter().map(|text| vec![text.as_str()]).collect(),
        // An order, and what is right by being gone, stand in no other question.
        Grader::Set { .. } | Grader::Sequence { .. } | Grader::Current { current: None, .. } => {
            Vec::new()
        }
    }
}

/// Values shorter than this are in every text.
const SHORTEST: usize = 3;

fn told_by_title(probe: &Probe, title: &str) -> bool {
    answers(&probe.grader).iter().any(|all| {
        all.iter()
            .all(|answer| answer.len() >= SHORTEST && mentions(title, answer))
    })
}

/// The question without its choices, or its items to be ordered.
fn stem(probe: &Probe) -> &str {
    probe
        .question
        .split_once("\n\n")
        .map_or(probe.question.as_str(), |(stem, _)| stem)
}

/// What a question is about: what it puts in backticks, without its own answers.
fn subjects(probe: &Probe) -> Vec<&str> {
    let own = answers(&probe.grader);
    stem(probe)
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|subject| !own.iter().flatten().any(|answer| answer == subject))
        .collect()
}

/// Whether the words of one question name the subject of another together with its answer.
fn gives_away(told: &Probe, asked: &Probe) -> bool {
    let subjects = subjects(asked);
    let text = stem(told);
    !subjects.is_empty()
        && subjects.iter().all(|subject| mentions(text, subject))
        && answers(&asked.grader)
            .iter()
            .any(|all| all.iter().all(|answer| mentions(text, answer)))
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
    if one.kind != other.kind || answers(&one.grader) != answers(&other.grader) {
        return false;
    }
    let (a, b) = (words(one), words(other));
    let both = a.intersection(&b).count() as f64;
    let any = a.union(&b).count() as f64;
    any > 0.0 && both / any >= NEARLY_THE_SAME
}
