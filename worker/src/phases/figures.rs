//! The figures of a run that are no scores: sizes, turns, costs, and how it was measured.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::billing::Bill;

/// The context of the main line after one turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContextPoint {
    /// From 1, over the whole run.
    pub(crate) turn: u32,
    pub(crate) phase: String,
    /// None where the program did not tell.
    pub(crate) tokens: Option<u64>,
    /// The break that came in this turn.
    #[serde(rename = "break", default)]
    pub(crate) break_index: Option<i32>,
}

/// What was taught in one turn of the main line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Planted {
    /// The number of the turn, as in [`ContextPoint`].
    pub(crate) turn: u32,
    /// The context after it.
    pub(crate) tokens: Option<u64>,
    /// The labels of the probes that ask for it.
    pub(crate) probes: BTreeSet<String>,
}

/// How the probes of one dimension are split between before and after the break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Halves {
    pub(crate) before: usize,
    pub(crate) after: usize,
}

/// Figures of a run that are no scores. The first names are those of the first service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Context after the study.
    pub(crate) initial_tokens: Option<u64>,
    /// Context just before the break.
    pub(crate) pre_compression_tokens: Option<u64>,
    /// Turns of the deep dive.
    pub(crate) deep_dive_iterations: u32,
    /// The last context of the main line that was told; copies that are asked do not count.
    pub(crate) total_tokens: Option<u64>,
    /// The deep dive ran into its limit of turns.
    pub(crate) hit_limit: bool,
    pub(crate) max_tokens_configured: u64,
    pub(crate) detection_method: String,
    /// What the agent's programs were confined by.
    #[serde(default)]
    pub(crate) sandbox: String,
    /// Prompts said to any session of the run.
    pub(crate) prompts: u32,
    /// The agent asked a model stub: the figures say nothing of any model.
    #[serde(default)]
    pub(crate) model_stub: bool,
    /// What all of them were billed for.
    #[serde(default)]
    pub(crate) bill: Bill,
    pub(crate) tool_calls: u32,
    /// The size of the context over the main line.
    #[serde(default)]
    pub(crate) context: Vec<ContextPoint>,
    /// `unseen` or `seen`, once the workspace is sealed.
    #[serde(default)]
    pub(crate) canary: Option<String>,
    /// How far the sealed sessions are sealed: `full`, `permissions` or `workspace`.
    #[serde(default)]
    pub(crate) seal: Option<String>,
    /// What was taught when.
    #[serde(default)]
    pub(crate) planted: Vec<Planted>,
    /// Breaks that the run is to go through; a split baseline is used up by one.
    #[serde(default)]
    pub(crate) breaks_planned: Option<i32>,
    /// Dimension → its halves, where the baseline is split.
    #[serde(default)]
    pub(crate) halves: BTreeMap<String, Halves>,
    /// What made the run void, if it is: the first of `tool_call`, `canary`, `compaction`.
    #[serde(default)]
    pub(crate) void_reason: Option<String>,
    /// Wall time of each phase.
    pub(crate) phase_ms: BTreeMap<String, u64>,
}
