//! What a probe is: a question, how its answer is graded, and what proves it.

use serde::{Deserialize, Serialize};

use crate::facts::Evidence;

/// A rubric dimension, as in MemoryAgentBench (ICLR 2026).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Dimension {
    /// Accurate retrieval.
    #[serde(rename = "AR")]
    Ar,
    /// Test-time learning.
    #[serde(rename = "TTL")]
    Ttl,
    /// Long-range understanding.
    #[serde(rename = "LRU")]
    Lru,
    /// Selective forgetting: the newer fact must win.
    #[serde(rename = "SF")]
    Sf,
}

impl Dimension {
    /// All four, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Ar, Self::Ttl, Self::Lru, Self::Sf];

    /// The short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ar => "AR",
            Self::Ttl => "TTL",
            Self::Lru => "LRU",
            Self::Sf => "SF",
        }
    }
}

/// The kinds of questions, after the protocol's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorReport {
    pub made: std::collections::BTreeMap<ProbeKind, usize>,
    /// Reason → count.
    pub dropped: std::collections::BTreeMap<String, usize>,
}

impl ProbeSet {
    /// SHA-256, in hex, of the probes and the teaching in their stored form.
    pub fn hash(&self) -> String {
        String::new()
    }
}
