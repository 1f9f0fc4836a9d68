//! Free recall as claims: which facts of the sheet a text speaks of, and whether it says them rightly.
//!
//! A fact is atomic: one subject, one value. What a text says beyond the facts is neither right nor
//! wrong here, because nothing proves it. The deterministic judge reads literally; how it reads is
//! told at [`judge_deterministic`].

mod facts;
mod topics;

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

pub use facts::atomic_facts;
pub use topics::{OpenFact, Topic, open_facts};

/// One thing that is true of the pull request, or of what was said in its review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomicFact {
    /// Such as `F07`; the same for the same seed.
    pub id: String,
    /// One English sentence, with names and values in backticks.
    pub statement: String,
    /// What a claim about the fact has to name.
    pub subjects: Vec<String>,
    /// The right value, in each of its spellings.
    pub values: Vec<String>,
    /// Wrong values of the same shape.
    pub distractors: Vec<String>,
}

/// What a judge finds of one fact in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// The text states a value for the fact's subject.
    pub claimed: bool,
    /// And it is the right one.
    pub value_right: bool,
    /// The text says that it does not know.
    pub abstained: bool,
}

/// The figures of one free recall. What is not defined is none, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    pub facts: usize,
    /// Facts for which there is a finding.
    pub graded: usize,
    pub claimed: usize,
    pub right: usize,
    pub abstained: usize,
    /// Facts for which the judge said nothing that could be read.
    pub ungraded: usize,
    /// `right / claimed`: how much of what the text says is true.
    pub precision: Option<f64>,
    /// `right / graded`: how much of the sheet the text covers.
    pub recall: Option<f64>,
}

impl Recall {
    /// Adds up findings, one per fact; none is ungraded.
    pub fn of(findings: &[Option<Finding>]) -> Self {
        let graded: Vec<&Finding> = findings.iter().flatten().collect();
        let count = |of: fn(&Finding) -> bool| graded.iter().filter(|finding| of(finding)).count();
        let claimed = count(|finding| finding.claimed);
        let right = count(|finding| finding.claimed && finding.value_right);
        let share = |of: usize| (of > 0).then(|| right as f64 / of as f64);
        Self {
            facts: findings.len(),
            graded: graded.len(),
            claimed,
            right,
            abstained: count(|finding| finding.abstained),
            ungraded: findings.len() - graded.len(),
            precision: share(claimed),
            recall: share(graded.len()),
        }
    }
}

/// Words that turn a claim round. What stands in backticks or quotes is no word of the sentence.
static NEGATION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)\b(?:not|never|neither|nor|no longer|without)\b|n't\b"));
static QUOTED: LazyLock<Regex> = LazyLock::new(|| pattern("`[^`]*`|\"[^\"]*\""));
static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.;!?]\s+|\n"));
static ABSTAINS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:do not|don't|cannot|can't|no longer)\s+(?:recall|remember|know)\b|\bno (?:memory|recollection)\b",
    )
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are valid")
}

/// Reads a text literally.
///
/// A *claim* is a sentence (it ends at a line's end, or at `.`, `;`, `!` or `?` before a space) that
/// names every subject and a value or a wrong value of the fact, as whole words and with their case.
/// It is right where some claim has a right value and no claim has a wrong one: saying both is
/// hedging, and earns nothing. A sentence that negates (`not`, `never`, …, outside of quotes) claims
/// nothing, and neither does one that names the subjects without any value: being vague is not being
/// wrong. The text *abstains* from a fact that it does not claim where one of its sentences says that
/// it does not know, and either names every subject or is all that the text says.
pub fn judge_deterministic(fact: &AtomicFact, text: &str) -> Finding {
    let sentences: Vec<&str> = SENTENCE_END
        .split(text)
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
        .collect();
    let names = |sentence: &str| {
        !fact.subjects.is_empty() && fact.subjects.iter().all(|name| has_word(sentence, name))
    };
    let (mut right, mut wrong, mut abstained) = (false, false, false);
    for sentence in &sentences {
        if ABSTAINS.is_match(sentence) {
            abstained |= sentences.len() == 1 || names(sentence);
            continue;
        }
        if !names(sentence) || NEGATION.is_match(&QUOTED.replace_all(sentence, "")) {
            continue;
        }
        let says = |values: &[String]| values.iter().any(|value| has_word(sentence, value));
        right |= says(&fact.values);
        wrong |= says(&fact.distractors);
    }
    let claimed = right || wrong;
    Finding {
        claimed,
        value_right: right && !wrong,
        abstained: abstained && !claimed,
    }
}

/// Whether `word` stands in `text` with nothing of a word directly beside it.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            let grows_before = before
                .is_some_and(|c| is_part(c) || "/.-".contains(c) && word.contains('/'))
                && word.starts_with(is_part);
            let grows_after = after.is_some_and(is_part) && word.ends_with(is_part);
            !grows_before && !grows_after
        })
}
