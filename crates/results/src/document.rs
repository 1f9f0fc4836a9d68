//! The result document of a task: one JSON document, schema 1.
//!
//! Within one schema number the document only grows. A figure that is undefined or unknown is null,
//! never 0.

mod board;
mod judging;
mod run;

use std::collections::BTreeMap;

use domain::vocabulary::TaskStatus;
use entity::TaskId;
use evaluation::statistics::RiskCoverage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use board::{ComparisonPart, RowPart};
pub use judging::{AgreementPart, JudgePart, JudgingPart};
pub use run::{
    BreakFiguresPart, ClaimsPart, DistancePart, HonestyPart, OpenPart, RecallPart, RunPart,
};

/// The whole result of a task. Within one schema number it only grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultDocument {
    /// Schema number.
    pub schema: u32,
    /// The request and its preparation.
    pub task: TaskPart,
    /// Whether agents asked a model stub. The figures then say nothing about any model.
    #[serde(default)]
    pub model_stub: bool,
    /// Every run of the task.
    pub runs: Vec<RunPart>,
    /// Ranked agents, best first.
    pub leaderboard: Vec<RowPart>,
    /// Agents that are not ranked, each with its reason: no run is a measurement, or more than half
    /// of the agent's attempts failed.
    #[serde(default)]
    pub unranked_agents: Vec<RowPart>,
    /// Conditions that differ between ranked agents, other than their own versions and models.
    #[serde(default)]
    pub differs: Vec<String>,
    /// Each pair of agents on the same probes, in the order of the leaderboard.
    #[serde(default)]
    pub comparisons: Vec<ComparisonPart>,
    /// Agent → risk-coverage curve: the error rate by the share of questions that it answers.
    #[serde(default)]
    pub risk_coverage: BTreeMap<String, RiskCoverage>,
    /// Judges, and their results on the adversarial battery.
    #[serde(default)]
    pub judging: JudgingPart,
}

/// The request and its preparation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPart {
    #[schemars(with = "String")]
    pub id: TaskId,
    #[schemars(with = "String")]
    pub status: TaskStatus,
    pub repo: String,
    pub pr_url: String,
    /// Base commit.
    pub base: Option<String>,
    /// Head commit.
    pub head: Option<String>,
    pub seed: i64,
    pub trials: i32,
    pub pass_mark: f64,
    pub instrument_version: String,
    pub probe_set_hash: Option<String>,
    pub prompt_hash: Option<String>,
    /// Dimension → number of probes.
    pub probes: BTreeMap<String, usize>,
    /// Requested breaks per run.
    #[serde(default = "one")]
    pub breaks: u32,
    /// Closed probes in one prompt, the same in all arms.
    #[serde(default = "one")]
    pub probes_per_prompt: u32,
    /// Whether the agents were also asked about purpose, risks and rollback.
    #[serde(default)]
    pub open_questions: bool,
    /// Requested trigger of the break: `auto`, `manual` or `auto_then_manual`.
    #[serde(default)]
    pub trigger: Option<String>,
    /// Origin of the probes: `generated`, or `imported` with a question bank that came with the
    /// request. Leaderboards over tasks leave out imported ones.
    #[serde(default)]
    pub question_bank: Option<String>,
    /// Number of probes by kind, and why candidates were dropped.
    #[serde(default)]
    pub generator: Option<evaluation::probe::GeneratorReport>,
    pub changed_files: Vec<String>,
    pub dropped_files: serde_json::Value,
    pub error: Option<String>,
}

fn one() -> u32 {
    1
}
