//! Finds questions that can be answered without knowing the change: from the question itself, from
//! the title of the pull request, or from the other questions.
//!
//! It is unknown here which texts a program preserves over a break. Whether a preserved tail
//! carries an answer is decided at judging time by [`crate::attribution::carries`].

use std::collections::BTreeSet;

use crate::grading::grade;
use crate::probe::{Grader, Probe, ProbeKind, ProbeSet};
use crate::probes::candidate::mentions;
use crate::probes::likeness::{in_common, is_about_places, sounds_like, stands_out, words};

/// Maximum share of a set that may be derived from other questions. Naming the whole set among
/// three times as many items gives this much without knowing the change.
const MOST_HARVESTED: f64 = 0.5;

/// Shorter values occur in every text.
const SHORTEST: usize = 3;

/// Place from which an answer can be derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leak {
    /// The question names its answer, or its words point to it.
    OwnQuestion,
    /// Its right choice is the only one of its shape.
    OddOneOut,
    /// The title of the pull request names the answer.
    Title,
    /// The title has more words in common with the right choice than with any other.
    TitleSound,
    /// Another question, with this label, names subject and answer.
    OtherQuestion(String),
    /// The other questions together name nearly the whole set.
    OtherQuestions,
}

/// Returns the place from which the answer can be derived, for every such probe by label.
///
/// All other probes count as used: if two probes reveal each other, both are reported.
pub fn leaks(set: &ProbeSet, title: Option<&str>) -> Vec<(String, Leak)> {
    let all = Questions::from_probes(&set.probes);
    set.probes
        .iter()
        .filter_map(|probe| Some((probe.label.clone(), all.leak(probe, title, |_| true)?)))
        .collect()
}

/// Questions with their statements about the repository.
pub(super) struct Questions<'a> {
    all: Vec<Question<'a>>,
}

struct Question<'a> {
    probe: &'a Probe,
    /// The texts that it puts in backticks.
    quoted: Vec<&'a str>,
    /// Its choices. For a hunk, the file.
    offered: Vec<&'a str>,
}

impl<'a> Questions<'a> {
    pub(super) fn from_probes(probes: &'a [Probe]) -> Self {
        let all = probes
            .iter()
            .map(|probe| Question {
                probe,
                quoted: stem(probe).split('`').skip(1).step_by(2).collect(),
                offered: offered(&probe.grader),
            })
            .collect();
        Self { all }
    }

    /// Returns the place from which the answer of a probe can be derived, given the title and the
    /// questions whose labels are `used`.
    pub(super) fn leak(
        &self,
        probe: &Probe,
        title: Option<&str>,
        used: impl Fn(&str) -> bool,
    ) -> Option<Leak> {
        let own = stem(probe);
        let reveals = |text: &str| {
            answers(&probe.grader)
                .iter()
                .any(|all| all.iter().all(|answer| mentions(text, answer)))
        };
        if reveals(own) {
            return Some(Leak::OwnQuestion);
        }
        if let Grader::Choice { choices, right } = &probe.grader
            && let Some(answer) = choices.get(*right)
        {
            let others: Vec<String> = choices
                .iter()
                .filter(|choice| *choice != answer)
                .cloned()
                .collect();
            if sounds_like(own, answer, others.iter().map(String::as_str)) {
                return Some(Leak::OwnQuestion);
            }
            if is_about_places(probe.kind) && stands_out(answer, &others) {
                return Some(Leak::OddOneOut);
            }
        }
        if title.is_some_and(|title| told_by_title(probe, title)) {
            return Some(Leak::Title);
        }
        if title.is_some_and(|title| title_sounds_like(probe, title)) {
            return Some(Leak::TitleSound);
        }
        let others = || {
            self.all
                .iter()
                .filter(|other| other.probe.label != probe.label && used(&other.probe.label))
        };
        let subjects = subjects(probe);
        let gives_away = |other: &Question<'_>| {
            let text = stem(other.probe);
            !subjects.is_empty()
                && subjects.iter().all(|subject| mentions(text, subject))
                && reveals(text)
        };
        if let Some(other) = others().find(|other| gives_away(other)) {
            return Some(Leak::OtherQuestion(other.probe.label.clone()));
        }
        // Three readers: one takes the subjects of questions about the change as changed, one all
        // subjects, one the choices too.
        let is_of_change = |other: &&Question<'_>| other.probe.source.is_some();
        let known = others().filter(is_of_change).flat_map(Question::quoted);
        let named = others().flat_map(Question::quoted);
        let all = others().flat_map(|other| other.quoted().chain(other.offered.iter().copied()));
        let worth = |answer: Option<String>| {
            answer.map_or(0.0, |answer| {
                grade(&probe.grader, &format!("ANSWER: {answer}")).value
            })
        };
        let most = [
            harvest(probe, known),
            harvest(probe, named),
            harvest(probe, all),
        ]
        .map(worth);
        most.iter()
            .any(|worth| *worth > MOST_HARVESTED)
            .then_some(Leak::OtherQuestions)
    }
}

impl<'a> Question<'a> {
    fn quoted(&self) -> impl Iterator<Item = &'a str> {
        self.quoted.iter().copied()
    }
}

/// Returns the choices of a question. For a hunk, its file.
fn offered(grader: &Grader) -> Vec<&str> {
    match grader {
        Grader::Choice { choices, .. } => choices
            .iter()
            .map(|choice| choice.split(" @@").next().unwrap_or(choice))
            .collect(),
        Grader::Exact { .. }
        | Grader::Set { .. }
        | Grader::Sequence { .. }
        | Grader::Current { .. } => Vec::new(),
    }
}

/// Returns every spelling of the right answer that another text must not contain.
pub(super) fn answers(grader: &Grader) -> Vec<Vec<&str>> {
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
        // An order, and an answer that is right because the fact is gone, cannot be in another
        // question.
        Grader::Set { .. } | Grader::Sequence { .. } | Grader::Current { current: None, .. } => {
            Vec::new()
        }
    }
}

/// Returns the question without its choices or items to order.
pub(crate) fn stem(probe: &Probe) -> &str {
    probe
        .question
        .split_once("\n\n")
        .map_or(probe.question.as_str(), |(stem, _)| stem)
}

fn told_by_title(probe: &Probe, title: &str) -> bool {
    answers(&probe.grader).iter().any(|all| {
        all.iter()
            .all(|answer| answer.len() >= SHORTEST && mentions(title, answer))
    })
}

/// Returns whether the title points to the right choice, or to the right path if a file is asked
/// for: no other has as many words in common with it.
fn title_sounds_like(probe: &Probe, title: &str) -> bool {
    let title_words = words(title);
    let points = |answer: &String, others: Vec<&String>| {
        let own = in_common(answer, &title_words);
        own > 0
            && others
                .iter()
                .all(|other| in_common(other, &title_words) < own)
    };
    match &probe.grader {
        Grader::Choice { choices, right } => choices.get(*right).is_some_and(|answer| {
            let others = choices.iter().filter(|choice| *choice != answer);
            points(answer, others.collect())
        }),
        Grader::Exact { accept } if probe.kind == ProbeKind::SymbolFile => accept
            .iter()
            .any(|answer| points(answer, probe.distractors.iter().collect())),
        Grader::Exact { .. }
        | Grader::Set { .. }
        | Grader::Sequence { .. }
        | Grader::Current { .. } => false,
    }
}

/// Returns the subjects of a question: the texts in backticks, without its own answers.
pub(super) fn subjects(probe: &Probe) -> Vec<&str> {
    let own = answers(&probe.grader);
    stem(probe)
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|subject| !own.iter().flatten().any(|answer| answer == subject))
        .collect()
}

/// Returns the answer that a reader derives for a set of paths from the paths in other questions:
/// all that match the folder or extension of the question.
fn harvest<'a>(probe: &Probe, quoted: impl Iterator<Item = &'a str>) -> Option<String> {
    let Grader::Set { .. } = &probe.grader else {
        return None;
    };
    let own: Vec<&str> = stem(probe).split('`').skip(1).step_by(2).collect();
    let ending = own.iter().find(|text| text.starts_with('.'));
    let folder = own.iter().find(|text| text.ends_with('/'));
    let fits = |path: &&str| {
        let within = |folder: &&str| {
            path.strip_prefix(*folder)
                .is_some_and(|rest| !rest.contains('/'))
        };
        is_path(path)
            && !own.contains(path)
            && ending.is_none_or(|ending| path.ends_with(ending))
            && folder.is_none_or(within)
    };
    let paths: BTreeSet<&str> = quoted.filter(fits).collect();
    let paths: Vec<&str> = paths.into_iter().collect();
    Some(paths.join(", "))
}

fn is_path(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    !text.contains(' ')
        && name
            .rsplit_once('.')
            .is_some_and(|(stem, ending)| !stem.is_empty() && !ending.is_empty())
}
