//! Atomic facts, findings of judges, and the figures of a free recall.

use serde::{Deserialize, Serialize};

/// Kind of statement that a fact makes about its subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// The change of a file.
    Status,
    /// The file that defines the subject.
    Home,
    /// The literal value of a constant.
    Value,
    Returns,
    /// The test that covers it.
    Test,
    /// A file that uses it.
    Use,
    /// A fact that only the conversation states.
    #[default]
    Agreed,
}

impl FactKind {
    /// Returns whether the subject has exactly one value, so that any other value is wrong, even
    /// one that the repository does not contain.
    ///
    /// A name that one file uses or one test covers may be used or covered by others that the
    /// change does not touch, and these are unknown. Several things may be agreed about one
    /// subject. All words for a status are known.
    pub fn is_exclusive(self) -> bool {
        match self {
            Self::Home | Self::Value | Self::Returns => true,
            Self::Status | Self::Test | Self::Use | Self::Agreed => false,
        }
    }
}

/// A true statement about the pull request or about its review.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomicFact {
    /// Id such as `F07`. It is the same for the same seed.
    pub id: String,
    /// One English sentence, with names and values in backticks.
    pub statement: String,
    /// Names that a claim about the fact must contain.
    pub subjects: Vec<String>,
    /// The right value, in all of its spellings.
    pub values: Vec<String>,
    /// Wrong values of the same shape that the repository contains. They are not the only wrong
    /// values: for an [exclusive](FactKind::is_exclusive) kind, any other value is wrong.
    pub distractors: Vec<String>,
    #[serde(default)]
    pub kind: FactKind,
    /// Values of the same shape that are also true of the subject, and therefore not wrong beside
    /// the right one: the other files that define or use a name.
    #[serde(default)]
    pub also_true: Vec<String>,
}

/// Finding of a judge about one fact in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// The text states a value for the fact's subject.
    pub claimed: bool,
    /// The stated value is the right one.
    pub value_right: bool,
    /// The text says that it does not know.
    pub abstained: bool,
}

/// Figures of one free recall. An undefined figure is `None`, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    pub facts: usize,
    /// Facts with a finding.
    pub graded: usize,
    pub claimed: usize,
    pub right: usize,
    pub abstained: usize,
    /// Facts without a readable finding of the judge.
    pub ungraded: usize,
    /// `right / claimed`: the share of claims that are true.
    pub precision: Option<f64>,
    /// `right / graded`: the share of the sheet that the text covers.
    pub recall: Option<f64>,
}

impl Recall {
    /// Summarises findings, one per fact. `None` is ungraded.
    pub fn from_findings(findings: &[Option<Finding>]) -> Self {
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
