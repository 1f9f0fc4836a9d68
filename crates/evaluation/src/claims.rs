//! Free recall as claims: which facts of the sheet a text speaks of, and whether it says them rightly.
//!
//! A fact is atomic: one subject, one value. What a text says beyond the facts is neither right nor
//! wrong here, because nothing proves it. The deterministic judge reads literally; how it reads is
//! told at [`judge_deterministic`].

mod facts;
mod reading;
mod relations;
mod shapes;
mod topics;

use serde::{Deserialize, Serialize};

pub use facts::atomic_facts;
pub use reading::judge_deterministic;
pub use shapes::invented;
pub use topics::{OpenFact, open_facts};

/// What a fact says of its subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// What the change does to a file.
    Status,
    /// Where it is defined.
    Home,
    /// The literal value of a constant.
    Value,
    Returns,
    /// The test that covers it.
    Test,
    /// A file that uses it.
    Use,
    /// What only the conversation says of it.
    #[default]
    Agreed,
}

impl FactKind {
    /// Whether the subject has this one value, so that every other one is wrong, also one that the
    /// repository does not have.
    ///
    /// A name that is used in a file, or covered by a test, may be used or covered by others that the
    /// change does not touch: of those nothing is known. Of one subject several things may be agreed.
    /// And all the words that tell a status are known.
    pub fn is_exclusive(self) -> bool {
        match self {
            Self::Home | Self::Value | Self::Returns => true,
            Self::Status | Self::Test | Self::Use | Self::Agreed => false,
        }
    }
}

/// One thing that is true of the pull request, or of what was said in its review.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomicFact {
    /// Such as `F07`; the same for the same seed.
    pub id: String,
    /// One English sentence, with names and values in backticks.
    pub statement: String,
    /// What a claim about the fact has to name.
    pub subjects: Vec<String>,
    /// The right value, in each of its spellings.
    pub values: Vec<String>,
    /// Wrong values of the same shape that the repository has. They are not all that is wrong: of
    /// a kind that [is exclusive](FactKind::is_exclusive) every other value is.
    pub distractors: Vec<String>,
    #[serde(default)]
    pub kind: FactKind,
    /// Values of the same shape that are true of the subject too, and so not wrong beside the right
    /// one: the other files that a name is defined or used in.
    #[serde(default)]
    pub also_true: Vec<String>,
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

/// Whether `word` stands in `text` with nothing of a word directly beside it.
fn has_word(text: &str, word: &str) -> bool {
    places_of(text, word).next().is_some()
}

/// Where `word` stands in `text` with nothing of a word directly beside it.
fn places_of<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let places = (!word.is_empty()).then(|| text.match_indices(word));
    places.into_iter().flatten().filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let grows_before = before
            .is_some_and(|c| is_part(c) || "/.-".contains(c) && word.contains('/'))
            && word.starts_with(is_part);
        let grows_after = after.is_some_and(is_part) && word.ends_with(is_part);
        (!grows_before && !grows_after).then_some(at)
    })
}
