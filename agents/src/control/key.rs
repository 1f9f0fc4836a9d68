//! The answer key: what a control agent needs instead of a model.

use serde::{Deserialize, Serialize};

/// All entries for the probes of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerKey {
    pub entries: Vec<Entry>,
}

/// How to answer one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The probe's label; the same for the same seed.
    pub id: String,
    /// The question, word for word: by it the probe is recognised in a prompt.
    pub question: String,
    pub combine: Combine,
    /// In the order in which they became true; the last one whose evidence is held is answered.
    pub versions: Vec<Version>,
    /// Plausible wrong answers.
    pub distractors: Vec<String>,
}

/// How the parts of a version make an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// One value.
    Single,
    /// The values whose evidence is held.
    Set,
    /// All values in order, or nothing.
    Sequence,
}

/// What was true from some point on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub parts: Vec<Part>,
}

/// A value, and what must be held for it to be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub evidence: Vec<String>,
    pub value: String,
}
