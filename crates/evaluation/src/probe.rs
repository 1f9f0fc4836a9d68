//! A probe: a question, the rule that grades its answer, and the evidence that proves it.

use std::collections::BTreeMap;

use domain::vocabulary::Dimension;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::facts::Evidence;

/// Kinds of questions, as in the table of the protocol.
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
    /// Label such as `AR-03`. It is the same for the same seed.
    pub label: String,
    pub dimension: Dimension,
    pub kind: ProbeKind,
    /// The whole question, including its choices.
    pub question: String,
    pub grader: Grader,
    /// Plausible wrong answers, drawn from the same repository.
    pub distractors: Vec<String>,
    /// The place of the answer in the repository. `None` for facts that only the conversation
    /// defines.
    pub source: Option<Evidence>,
    /// The way from the evidence to the answer.
    pub key: Key,
}

/// Rule that grades an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "grader", rename_all = "snake_case")]
pub enum Grader {
    /// Equal, after normalisation, to one of these.
    Exact { accept: Vec<String> },
    /// F1 of the set of items.
    Set { items: Vec<String> },
    /// Names the right choice, by letter or by text.
    Choice { choices: Vec<String>, right: usize },
    /// The items in order: the share of ordered pairs that are right (Kendall), 1 for all.
    Sequence { items: Vec<String> },
    /// Like `Exact`, but a replaced value counts as stale. With `current: None` the fact was
    /// withdrawn, and saying so is right.
    Current {
        current: Option<Vec<String>>,
        replaced: Vec<String>,
    },
}

/// The way from evidence to answer, for controls and for attribution.
///
/// Versions are in the order in which they became true. A reader answers with the last version
/// whose evidence it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub combine: Combine,
    pub versions: Vec<Version>,
}

impl Key {
    /// Returns the answer of a reader that holds the evidence for which `holds` is true. Returns
    /// `None` if it supports no answer.
    pub fn answer(&self, holds: impl Fn(&str) -> bool) -> Option<String> {
        self.answer_of(|part| part.evidence.iter().all(|line| holds(line)))
    }

    /// Does the same for a reader that holds whole parts.
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

/// How the parts of a version are combined into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// One part, one value.
    Single,
    /// The values whose evidence is held, joined by `, `.
    Set,
    /// All values in order, joined by ` -> `. Nothing unless all evidence is held.
    Sequence,
}

/// A fact that was true from some point on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub parts: Vec<Part>,
}

/// A value, and the literal texts that must be in a reader's context to state it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub evidence: Vec<String>,
    pub value: String,
}

/// A statement of the deep dive that only the conversation defines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Teaching {
    /// Number of the teaching turn, from 0. A fact and its correction are in different turns, and
    /// all old values come before all corrections.
    pub turn: usize,
    /// Labels of the probes about it.
    pub probes: Vec<String>,
    /// The sentences, word for word. They contain the evidence of the probes.
    pub text: String,
}

/// The probes of a task, their teaching, and the report of the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSet {
    pub seed: u64,
    pub probes: Vec<Probe>,
    pub teaching: Vec<Teaching>,
    pub report: GeneratorReport,
}

/// Numbers of generated probes of each kind, and of dropped ones with the reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GeneratorReport {
    pub made: BTreeMap<ProbeKind, usize>,
    /// Reason → count.
    pub dropped: BTreeMap<String, usize>,
    /// Number of facts, or pairs of facts, that were considered.
    #[serde(default)]
    pub candidates: BTreeMap<ProbeKind, usize>,
    /// Kind → reason → count.
    #[serde(default)]
    pub dropped_by_kind: BTreeMap<ProbeKind, BTreeMap<String, usize>>,
    /// Number of facts on the fact sheet, by kind.
    #[serde(default)]
    pub facts: BTreeMap<String, usize>,
    /// Reason for each requested dimension without a probe.
    #[serde(default)]
    pub without: BTreeMap<String, String>,
}

impl ProbeSet {
    /// Returns the SHA-256, in hex, of the probes and the teaching, as JSON without spaces and with
    /// the keys of every object in byte order. Seed and report are left out: they do not change the
    /// questions.
    pub fn hash(&self) -> String {
        let asked = serde_json::json!({ "probes": self.probes, "teaching": self.teaching });
        let mut text = String::new();
        write_canonical(&asked, &mut text);
        hex::encode(Sha256::digest(text.as_bytes()))
    }
}

/// `serde_json` keeps keys sorted or in order of insertion, depending on a feature that any crate
/// of a build can enable. The hash must not depend on it.
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
