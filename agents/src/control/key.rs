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

impl Entry {
    /// The versions of which evidence is held, by their number, each with the evidence itself:
    /// what a summary of a conversation would have to carry on. `holds` tells whether all of the
    /// evidence of a part of a version is held.
    pub fn held(&self, holds: impl Fn(usize, &[String]) -> bool) -> Vec<(usize, Vec<String>)> {
        self.versions
            .iter()
            .enumerate()
            .filter_map(|(number, version)| {
                let parts: Vec<&Part> = version
                    .parts
                    .iter()
                    .filter(|part| holds(number, &part.evidence))
                    .collect();
                let complete = self.combine == Combine::Set || parts.len() == version.parts.len();
                let lines: Vec<String> = parts
                    .iter()
                    .flat_map(|part| part.evidence.iter().cloned())
                    .collect();
                (complete && !lines.is_empty()).then_some((number, lines))
            })
            .collect()
    }

    /// What may be said by one who holds so much; none where that is not enough for any answer.
    pub fn answer(&self, holds: impl Fn(usize, &[String]) -> bool) -> Option<String> {
        self.versions
            .iter()
            .enumerate()
            .rev()
            .find_map(|(number, version)| {
                let values: Vec<&str> = version
                    .parts
                    .iter()
                    .filter(|part| holds(number, &part.evidence))
                    .map(|part| part.value.as_str())
                    .collect();
                match self.combine {
                    _ if values.is_empty() => None,
                    Combine::Set => Some(values.join(", ")),
                    Combine::Single | Combine::Sequence if values.len() < version.parts.len() => {
                        None
                    }
                    Combine::Single => values.first().map(|&value| value.to_owned()),
                    Combine::Sequence => Some(values.join(" -> ")),
                }
            })
    }
}
