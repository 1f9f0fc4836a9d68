//! Grades an answer by the rule of its probe. No model, and no tolerance that is not written here.
//!
//! [`mod@reading`] defines which part of a reply is the answer, and [`mod@sameness`] when two texts
//! are the same value. An answer must *be* the expected value. An answer that only contains it,
//! among other values or in a sentence, is wrong, so that listing many values earns nothing. Code
//! is compared with its case. If case does not matter, the probe lists the spellings.

mod numbered;
mod reading;
mod sameness;

use std::collections::BTreeSet;

use domain::vocabulary::Verdict;
use serde::{Deserialize, Serialize};

use self::reading::Extent;
use self::sameness::{folded, names, normal, same};
use crate::probe::Grader;

/// Name under which these grades are stored.
pub const GRADER: &str = "deterministic/1";

/// Answer of an agent that does not know.
pub const ABSTENTION: &str = "I don't recall";

/// Answer of an agent for a fact that was withdrawn without a new value.
pub const WITHDRAWN: &str = "withdrawn";

/// Grade of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// Value in `[0, 1]`.
    pub value: f64,
    pub verdict: Verdict,
}

/// Grades the reply of an agent.
///
/// The answer is the text after the last `ANSWER:` of the reply. A reply of one line without it is
/// the answer itself. Anything else is [`Verdict::Unreadable`].
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

/// Returns the confidence that a reply states, in `[0, 1]`. Returns `None` if it states none on a
/// line of its own (`CONFIDENCE: 80`), or not a number from 0 to 100.
pub fn confidence(reply: &str) -> Option<f64> {
    reading::confidence(reply)
}

/// Returns the parts of a reply to several questions of one prompt, in their order and in the form
/// that [`grade`] and [`confidence`] read.
///
/// The texts after `ANSWER 1:` and `CONFIDENCE 1:` form the first part. A missing part is empty,
/// which is [`Verdict::Unreadable`].
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

/// F1 of two sets. A repeated item counts once.
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

/// Returns the choice that an answer names: by its letter, its text, or both if they agree.
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

/// Returns the share of pairs in the right order, among all pairs of the expected items and of any
/// unexpected items in the answer. A repeated item has no position.
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

/// Grades a corrected or withdrawn fact. An answer that hedges between values is wrong, not stale.
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
