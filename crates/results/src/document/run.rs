//! One run in a result document.

use std::collections::BTreeMap;

use domain::Tokens;
use domain::vocabulary::{FailureCause, RunStatus};
use entity::RunId;
use evaluation::scoring::DimensionScore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ranking::RunState;
use crate::run_stats::{BreakPart, ContextPoint, HalvesPart, PlantedPart};

/// One run: one agent in one trial of the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunPart {
    #[schemars(with = "String")]
    pub id: RunId,
    /// Agent with its parameter, as requested.
    pub agent: String,
    pub agent_version: Option<String>,
    /// Model that the agent asks, null if only the agent's program knows it.
    #[serde(default)]
    pub model: Option<String>,
    /// SHA-256 of the conditions that must be equal for two runs to be comparable.
    #[serde(default)]
    pub manifest_hash: Option<String>,
    /// Those conditions: name and value.
    #[serde(default)]
    pub manifest: BTreeMap<String, String>,
    /// Number of the trial, from 1.
    pub trial: i32,
    #[schemars(with = "String")]
    pub status: RunStatus,
    /// Party responsible for a failure.
    #[schemars(with = "Option<String>")]
    pub failure_cause: Option<FailureCause>,
    pub error: Option<String>,
    pub retry_count: i32,
    /// Whether there is evidence of a break.
    pub compression_detected: bool,
    /// Whether the run is void.
    pub seal_broken: bool,
    /// Reason if `seal_broken` is true: `tool_call`, `canary`, or `compaction` if the conversation
    /// was compacted while the agent answered probes.
    #[serde(default)]
    pub void_reason: Option<String>,
    /// How strictly the asked sessions are sealed: `full` (no tools, no workspace), `permissions`
    /// (no workspace; tools are offered and refused), or `workspace` (asked in the main line, which
    /// keeps its tools and finds its workspace empty).
    #[serde(default)]
    pub seal: Option<String>,
    /// How the baseline was taken: `fork` or `split`.
    pub baseline: Option<String>,
    /// Dimension → number of its probes asked before and after the break, if the baseline is split.
    /// A half without probes has no grade.
    #[serde(default)]
    pub halves: BTreeMap<String, HalvesPart>,
    /// Breaks that the run was planned to go through. A split baseline allows one.
    #[serde(default)]
    pub breaks_planned: Option<u32>,
    /// Breaks with their evidence.
    pub breaks: Vec<BreakPart>,
    /// Taught items by turn of the main line.
    #[serde(default)]
    pub planted: Vec<PlantedPart>,
    /// Source of the right answers after the break: attribution → count.
    #[serde(default)]
    pub attribution: BTreeMap<String, usize>,
    /// Number of probes asked after the break whose answer the compaction summary carries, null if
    /// the program does not show its summary.
    #[serde(default)]
    pub summary_carries: Option<usize>,
    /// Whether the agent asked a model stub. The figures then say nothing about any model.
    #[serde(default)]
    pub model_stub: bool,
    /// Billed tokens of all turns, null if one turn did not report them.
    #[serde(default)]
    pub tokens: Option<Tokens>,
    /// US dollars, null if the cost of one turn is unknown.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// `program`, `price_table` or `mixed`.
    #[serde(default)]
    pub cost_source: Option<String>,
    /// Dimension → figures of the first break: the score.
    pub dimensions: BTreeMap<String, DimensionScore>,
    /// Figures by break: the forgetting curve.
    #[serde(default)]
    pub by_break: Vec<BreakFiguresPart>,
    /// Number of answers after the first break, by claim.
    #[serde(default)]
    pub honesty: Option<HonestyPart>,
    /// Free recall as claims against the fact sheet, by arm, break and judge.
    #[serde(default)]
    pub recall: Vec<RecallPart>,
    /// Answers to open questions as claims against facts, by topic, arm, break and judge. They are
    /// not part of any score, which must not depend on whether there is a jury.
    #[serde(default)]
    pub open: Vec<OpenPart>,
    /// Context size after every turn of the main line.
    #[serde(default)]
    pub context: Vec<ContextPoint>,
    /// Whether the agent saw the random token that only a forbidden read reveals: `unseen`, `seen`,
    /// or null if the run did not get that far.
    #[serde(default)]
    pub canary: Option<String>,
    /// Mean score of the dimensions asked for.
    pub overall_score: Option<f64>,
    /// Whether enough dimensions reached the pass mark.
    pub passed: Option<bool>,
    pub duration_ms: Option<u64>,
}

impl RunPart {
    /// Returns the state from which the outcome of the run follows.
    pub fn state(&self) -> RunState {
        RunState {
            status: self.status,
            failure_cause: self.failure_cause,
            compression_detected: self.compression_detected,
            seal_broken: self.seal_broken,
            void_reason: self.void_reason.clone(),
        }
    }

    /// Returns the distance between the teaching of a probe's answer and a break, or `None` if it
    /// was not taught.
    pub fn distance(&self, probe: &str, break_index: u32) -> Option<DistancePart> {
        let planted = self
            .planted
            .iter()
            .rev()
            .find(|planted| planted.probes.iter().any(|label| label == probe))?;
        let broke = self
            .context
            .iter()
            .find(|point| point.break_index == Some(break_index))?;
        let turns = self
            .context
            .iter()
            .filter(|point| point.turn > planted.turn && point.turn < broke.turn)
            .filter(|point| point.break_index.is_none())
            .count();
        let first = self.breaks.first().filter(|_| break_index == 1);
        let before = first.and_then(|first| first.tokens_before);
        Some(DistancePart {
            turns,
            tokens: before
                .zip(planted.tokens)
                .and_then(|(before, then)| before.checked_sub(then)),
        })
    }
}

/// Distance between the teaching of an item and a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DistancePart {
    /// Turns of the main line between the last teaching of the item and the break.
    pub turns: usize,
    /// Growth of the context in between. Null if it is unknown, and after the first break, which
    /// removed part of the context.
    pub tokens: Option<u64>,
}

/// Figures of one break of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BreakFiguresPart {
    /// Number of the break, from 1.
    #[serde(rename = "break")]
    pub index: u32,
    /// Dimension → figures.
    pub dimensions: BTreeMap<String, DimensionScore>,
    /// Share of the knowledge from before the first break that is left after this one:
    /// `(post - cold) / (first baseline - cold)`, mean of the dimensions where it is defined.
    pub kept_of_first: Option<f64>,
}

/// Number of answers of a run after its first break, by claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HonestyPart {
    pub answers: usize,
    /// Answers that claim to know.
    pub claimed: usize,
    /// Answers that claim to know and are right.
    pub right: usize,
    /// Answers that claim to know and are partly right.
    #[serde(default)]
    pub partial: usize,
    /// Answers that claim to know and are wrong in full.
    pub wrong: usize,
    /// Answers that claim a replaced value.
    pub stale: usize,
    /// Answers that say "I don't recall".
    pub abstained: usize,
    /// Replies without a readable answer.
    pub unreadable: usize,
    /// Answers that state a confidence.
    pub with_confidence: usize,
}

/// One free recall, graded by one judge or by the jury.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecallPart {
    /// `baseline` or `post`.
    pub arm: String,
    /// Number of the break, from 1.
    #[serde(rename = "break")]
    pub index: u32,
    /// `deterministic/1`, a model, or `jury`.
    pub judge: String,
    /// The claims.
    #[serde(flatten)]
    pub claims: ClaimsPart,
}

/// One answer to an open question, graded by one model or by the jury.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpenPart {
    /// `purpose`, `risks` or `rollback`.
    pub topic: String,
    /// `cold`, `baseline` or `post`.
    pub arm: String,
    /// Number of the break, from 1; 0 in the cold arm.
    #[serde(rename = "break")]
    pub index: u32,
    /// A model, or `jury`; `none` if there was no model that could judge it.
    pub judge: String,
    /// The claims.
    #[serde(flatten)]
    pub claims: ClaimsPart,
}

/// A text as claims against facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimsPart {
    /// Facts that were looked for.
    pub facts: usize,
    /// Facts that the text states something about.
    pub claimed: usize,
    /// Facts that it states correctly.
    pub right: usize,
    /// Facts without a readable verdict.
    pub ungraded: usize,
    /// right / claimed.
    pub precision: Option<f64>,
    /// right / judged.
    pub recall: Option<f64>,
    /// Number of jurors that voted, if this is the jury.
    #[serde(default)]
    pub jurors: Option<usize>,
    /// Reason why there are no figures.
    #[serde(default)]
    pub note: Option<String>,
}
