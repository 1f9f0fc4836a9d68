//! What a probe is: a question, how its answer is graded, and what proves it.

use std::collections::BTreeMap;

use domain::vocabulary::Dimension;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::facts::Evidence;

/// The kinds of questions, after the protocol's table.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    ChangedFiles,
    SymbolFile,
    SymbolSignature,
    ConstantValue,
    CoveringTest,
    FileStatus,
    HunkLabel,
    TaughtRule,
    SymbolUsers,
    FlowOrder,
    ChangeTogether,
    BehaviourHunk,
    CorrectedFact,
    RetractedFact,
}

/// One closed probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Such as `AR-03`; the same for the same seed.
    pub label: String,
    pub dimension: Dimension,
    pub kind: ProbeKind,
    /// The whole question, with its choices where it has some.
    pub question: String,
    pub grader: Grader,
    /// Plausible wrong answers, drawn from the same repository.
    pub distractors: Vec<String>,
    /// Where the answer stands in the repository; none for what only the conversation defines.
    pub source: Option<Evidence>,
    /// How a reader who still holds the evidence comes to the answer.
    pub key: Key,
}

/// How an answer is graded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "grader", rename_all = "snake_case")]
pub enum Grader {
    /// Equal, after normalisation, to one of these.
    Exact { accept: Vec<String> },
    /// F1 of the set of items.
    Set { items: Vec<String> },
    /// Names the right one of the choices, by letter or by text.
    Choice { choices: Vec<String>, right: usize },
    /// The items in order: the share of ordered pairs that are right (Kendall), 1 for all.
    Sequence { items: Vec<String> },
    /// As `Exact`, but a replaced value is counted as stale. `current: None`: the fact was
    /// withdrawn, and saying so is right.
    Current {
        current: Option<Vec<String>>,
        replaced: Vec<String>,
    },
}

/// The way from evidence to answer, for controls and for attribution.
///
/// Versions are in the order in which they became true; a reader answers by the last one whose
/// evidence he holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub combine: Combine,
    pub versions: Vec<Version>,
}

impl Key {
    /// What a reader answers who holds the evidence of which `holds` is true; none where that is
    /// not enough for any answer.
    pub fn answer(&self, holds: impl Fn(&str) -> bool) -> Option<String> {
        self.answer_of(|part| part.evidence.iter().all(|line| holds(line)))
    }

    /// The same for a reader who holds whole parts.
    pub fn answer_of(&self, held: impl Fn(&Part) -> bool) -> Option<String> {
        self.versions.iter().rev().find_map(|version| {
            let values: Vec<&str> = version
                .parts
                .iter()
                .filter(|part| held(part))
                .map(|part| part.value.as_str())
                .collect();
            if values.is_empty() {
                return None;
            }
            let complete = values.len() == version.parts.len();
            match self.combine {
                Combine::Single => values.first().map(|&value| value.to_owned()),
                Combine::Set => Some(values.join(", ")),
                Combine::Sequence => complete.then(|| values.join(" -> ")),
            }
        })
    }
}

/// How the parts of a version make the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// One part, one value.
    Single,
    /// The values whose evidence is held, joined by `, `.
    Set,
    /// All values in order, joined by ` -> `; nothing unless all evidence is held.
    Sequence,
}

/// What was true from some point on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub parts: Vec<Part>,
}

/// A value and the literal strings that must be in a reader's context for him to say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub evidence: Vec<String>,
    pub value: String,
}

/// One thing said in the deep dive that only the conversation defines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Teaching {
    /// Which teaching turn says it, from 0. What is corrected and its correction are in different
    /// turns, all old values before all corrections.
    pub turn: usize,
    /// Labels of the probes that ask for it.
    pub probes: Vec<String>,
    /// The sentences, word for word. They hold the evidence of the probes.
    pub text: String,
}

/// The probes of a task, what must be taught for them, and how the generator got there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSet {
    pub seed: u64,
    pub probes: Vec<Probe>,
    pub teaching: Vec<Teaching>,
    pub report: GeneratorReport,
}

/// How many probes of each kind were made, and what was dropped and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GeneratorReport {
    pub made: BTreeMap<ProbeKind, usize>,
    /// Reason → count.
    pub dropped: BTreeMap<String, usize>,
    /// How many facts or pairs of them were looked at.
    #[serde(default)]
    pub candidates: BTreeMap<ProbeKind, usize>,
    /// Kind → reason → count.
    #[serde(default)]
    pub dropped_by_kind: BTreeMap<ProbeKind, BTreeMap<String, usize>>,
    /// What the fact sheet holds: kind of fact → count.
    #[serde(default)]
    pub facts: BTreeMap<String, usize>,
    /// Dimension that was asked for and has no probe → why.
    #[serde(default)]
    pub without: BTreeMap<String, String>,
}

impl ProbeSet {
    /// SHA-256, in hex, of the probes and the teaching as JSON without spaces and with the keys of
    /// every object in byte order. The seed and the report are left out: they do not change what
    /// is asked.
    pub fn hash(&self) -> String {
        let asked = serde_json::json!({ "probes": self.probes, "teaching": self.teaching });
        let mut text = String::new();
        write_canonical(&asked, &mut text);
        hex::encode(Sha256::digest(text.as_bytes()))
    }
}

/// `serde_json` keeps keys sorted or in order of insertion, depending on a feature that any crate
/// of a build can switch on; the hash must not.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|&(name, _)| name);
            out.push('{');
            for (at, (name, field)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(&Value::String(name.clone()), out);
                out.push(':');
                write_canonical(field, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}
