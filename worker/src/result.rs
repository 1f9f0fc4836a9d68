//! The result document of a task: one JSON document, schema 1, from the rows of the database.

use std::collections::BTreeMap;

use entity::TaskId;
use entity::status::{FailureCause, TaskStatus};
use sea_orm::{DatabaseConnection, DbErr};
use serde::{Deserialize, Serialize};

/// The whole result of a task. Only grows within one schema number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultDocument {
    pub schema: u32,
    pub task: TaskPart,
    pub runs: Vec<RunPart>,
    pub leaderboard: Vec<RowPart>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskPart {
    pub id: TaskId,
    pub status: TaskStatus,
    pub repo: String,
    pub pr_url: String,
    pub base: Option<String>,
    pub head: Option<String>,
    pub seed: i64,
    pub trials: i32,
    pub pass_mark: f64,
    pub instrument_version: String,
    pub probe_set_hash: Option<String>,
    pub prompt_hash: Option<String>,
    /// Dimension → number of probes.
    pub probes: BTreeMap<String, usize>,
    pub changed_files: Vec<String>,
    pub dropped_files: serde_json::Value,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPart {
    pub id: entity::RunId,
    pub agent: String,
    pub agent_version: Option<String>,
    pub trial: i32,
    pub status: entity::status::RunStatus,
    pub failure_cause: Option<FailureCause>,
    pub error: Option<String>,
    pub retry_count: i32,
    pub compression_detected: bool,
    pub seal_broken: bool,
    pub baseline: Option<String>,
    pub breaks: Vec<BreakPart>,
    pub dimensions: BTreeMap<String, DimensionPart>,
    pub overall_score: Option<f64>,
    pub passed: Option<bool>,
    pub duration_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakPart {
    pub trigger: String,
    pub tokens_before: Option<u64>,
    pub tokens_after: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DimensionPart {
    pub n: usize,
    pub cold: Option<f64>,
    pub baseline: Option<f64>,
    pub post: Option<f64>,
    pub retention: Option<f64>,
    pub item_retention: Option<f64>,
    pub stale_rate: Option<f64>,
    pub abstained_rate: Option<f64>,
    pub wrong_rate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowPart {
    pub rank: usize,
    pub agent: String,
    pub trials: usize,
    pub overall_score: Option<f64>,
    pub scores: BTreeMap<String, Option<f64>>,
    pub retention: evaluation::leaderboard::Estimate,
    pub passed: bool,
}

/// Reads the result of a task, finished or not.
pub async fn result_document(
    _database: &DatabaseConnection,
    _task: TaskId,
) -> Result<Option<ResultDocument>, DbErr> {
    Ok(None)
}
