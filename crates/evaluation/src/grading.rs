//! Grades an answer by its probe's rule. No model, no tolerance that is not written down here.
//!
//! What is read as the answer is told in [`mod@reading`], when two texts say the same in
//! [`mod@sameness`]. An answer must *be* the expected value: one that only contains it, among others
//! or inside a sentence, is wrong, so that listing many values earns nothing. Letters of code are
//! compared with their case; values for which case does not matter have their spellings listed by
//! the probe.

mod numbered;
mod reading;
mod sameness;

use std::collections::BTreeSet;

use domain::vocabulary::Verdict;
use serde::{Deserialize, Serialize};

use self::reading::Extent;
use self::sameness::{folded, names, normal, same};
use crate::probe::Grader;

/// The name under which these grades are stored.
pub const GRADER: &str = "deterministic/1";

/// What an agent says when it does not know.
pub const ABSTENTION: &str = "I don't recall";

/// What an agent says of a fact that was taken back without a new value.
pub const WITHDRAWN: &str = "withdrawn";

/// The grade of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// In `[0, 1]`.
    pub value: f64,
    pub verdict: Verdict,
}

/// Grades the reply of an agent.
///
/// The answer is what follows the last `ANSWER:` of the reply; a reply of one line without it is
/// taken whole; anything else is [`Verdict::Unreadable`].
pub fn grade(grader: &Grader, reply: &str) -> Grade {
    let extent = match grader {
        Grader::Set { .. } | Grader::Sequence { .. } => Extent::List,
        Grader::Exact { .. } | Grader::Choice { .. } | Grader::Current { .. } => Extent::Line,
    };
    let Some(answer) = reading::answer(reply, extent) else {
        return nothing(Verdict::Unreadable);
    };
    if reading::abstains(&answer) {
        return nothing(Verdict::Abstained);
    }
    let grade = match grader {
        Grader::Exact { accept } => all_or(is_one_of(accept, &answer), Verdict::Wrong),
        Grader::Set { items } => set(items, &answer),
        Grader::Choice { choices, right } => {
            all_or(chosen(choices, &answer) == Some(*right), Verdict::Wrong)
        }
        Grader::Sequence { items } => sequence(items, &answer),
        Grader::Current { current, replaced } => {
            self::current(current.as_deref(), replaced, &answer)
        }
    };
    if grade.verdict == Verdict::Wrong && reading::shrugs(&answer) {
        return nothing(Verdict::Abstained);
    }
    grade
}

/// How sure a reply says that it is, in `[0, 1]`; none where it does not say so on a line of its
/// own (`CONFIDENCE: 80`), or says something else than a number from 0 to 100.
pub fn confidence(reply: &str) -> Option<f64> {
    reading::confidence(reply)
}

/// The parts of a reply to so many questions of one prompt, in their order and in the form that
/// [`grade`] and [`confidence`] read.
///
/// What follows `ANSWER 1:` and `CONFIDENCE 1:` is the first. A part that is missing is empty, which is [`Verdict::Unreadable`].
pub fn numbered_parts(reply: &str, questions: usize) -> Vec<String> {
    numbered::parts(reply, questions)
}

fn nothing(verdict: Verdict) -> Grade {
    Grade {
        value: 0.0,
        verdict,
    }
}

fn all_or(right: bool, otherwise: Verdict) -> Grade {
    if right {
        share(1.0)
    } else {
        nothing(otherwise)
    }
}

fn share(value: f64) -> Grade {
    let verdict = if value >= 1.0 {
        Verdict::Right
    } else if value > 0.0 {
        Verdict::Partial
    } else {
        Verdict::Wrong
    };
    Grade { value, verdict }
}

fn is_one_of(accept: &[String], answer: &str) -> bool {
    accept.iter().any(|expected| same(expected, answer))
}

/// F1 of two sets; an item that is named twice counts once.
fn set(items: &[String], answer: &str) -> Grade {
    let expected: BTreeSet<String> = items.iter().map(|item| normal(item)).collect();
    let given: BTreeSet<String> = reading::set_items(answer)
        .iter()
        .map(|given| {
            let known = items.iter().find(|item| same(item, given));
            normal(known.map_or(given.as_str(), String::as_str))
        })
        .collect();
    let total = expected.len() + given.len();
    if expected.is_empty() || given.is_empty() {
        return nothing(Verdict::Wrong);
    }
    let hits = expected.intersection(&given).count();
    share(2.0 * hits as f64 / total as f64)
}

/// Which choice an answer names: its letter, its text, or both if they agree.
fn chosen(choices: &[String], answer: &str) -> Option<usize> {
    let wanted = folded(answer);
    if let Some(by_text) = choices.iter().position(|choice| folded(choice) == wanted) {
        return Some(by_text);
    }
    let (letter, rest) = reading::letter(answer)?;
    let choice = choices.get(letter)?;
    let agrees = rest.is_none_or(|rest| folded(choice) == folded(&rest));
    agrees.then_some(letter)
}

/// The share of pairs that stand in the right order, out of all pairs of the expected items and of
/// any strangers that the answer adds. An item named twice has no place.
fn sequence(items: &[String], answer: &str) -> Grade {
    let given = reading::sequence_items(answer);
    let place = |item: &String| {
        let mut at = (0..given.len()).filter(|&at| same(item, &given[at]));
        match (at.next(), at.next()) {
            (Some(only), None) => Some(only),
            (None, _) | (Some(_), Some(_)) => None,
        }
    };
    let places: Vec<Option<usize>> = items.iter().map(place).collect();
    let strangers = given
        .iter()
        .filter(|given| !items.iter().any(|item| same(item, given)))
        .count();
    let pairs = |count: usize| count * count.saturating_sub(1) / 2;
    let all = pairs(items.len() + strangers);
    if all == 0 {
        let right = places.len() == 1 && places[0].is_some();
        return all_or(right, Verdict::Wrong);
    }
    let ordered = (0..places.len())
        .flat_map(|first| (first + 1..places.len()).map(move |second| (first, second)))
        .filter(|&(first, second)| {
            matches!((places[first], places[second]), (Some(a), Some(b)) if a < b)
        })
        .count();
    share(ordered as f64 / all as f64)
}

/// A corrected or withdrawn fact. An answer that hedges between values is wrong, not stale.
fn current(current: Option<&[String]>, replaced: &[String], answer: &str) -> Grade {
    let right = match current {
        Some(accept) => is_one_of(accept, answer),
        None => reading::says_withdrawn(answer) && !replaced.iter().any(|old| names(answer, old)),
    };
    if right {
        share(1.0)
    } else if is_one_of(replaced, answer) {
        nothing(Verdict::Stale)
    } else {
        nothing(Verdict::Wrong)
    }
}
