//! One agent working through one trial of a task.

use sea_orm::entity::prelude::*;

use crate::{RunId, TaskId};
use domain::vocabulary::{FailureCause, RunStatus};

/// One run.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_run")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: RunId,
    pub task_id: TaskId,
    /// The requested agent with its parameter: `claude`, `control-lossy:0.5`.
    pub agent: String,
    /// Number from 1.
    pub trial: i32,
    pub status: RunStatus,
    /// Current phase: `prepare`, `pre_compression`, `deep_dive`, `break`, `baseline`,
    /// `memory_only`, `evaluating`, `cold` or `judging`. `None` before the start and after the end.
    pub phase: Option<String>,
    /// `milestone_0` to `milestone_5` with their results, for clients of the first service.
    pub milestones: Json,
    /// Run statistics other than scores: turns, tokens, durations.
    pub stats: Json,
    /// Observed breaks: a list of `{trigger, tokens_before, tokens_after, summary_artifact}`.
    pub breaks: Json,
    pub compression_detected: bool,
    pub seal_broken: bool,
    /// Source of the baseline: `fork` or `split`.
    pub baseline: Option<String>,
    /// State from which a later attempt can resume. `None` before the first checkpoint.
    pub checkpoint: Option<Json>,
    /// Version that the agent's program reported.
    pub agent_version: Option<String>,
    /// Configured model: `MODEL`, `MODEL@ORIGIN` with another address than the provider's,
    /// `MODEL@stub` with a model stub.
    pub model: Option<String>,
    /// Everything that must be equal for two runs to be comparable. `None` until the run starts.
    pub manifest: Option<Json>,
    /// Number of restarts after a failure.
    pub retry_count: i32,
    pub failure_cause: Option<FailureCause>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    /// Mean of the post-break scores of the requested dimensions. `None` without a valid score.
    pub overall_score: Option<f64>,
    pub passed: Option<bool>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub started_at: Option<DateTimeUtc>,
    pub completed_at: Option<DateTimeUtc>,
}

relations! {
    belongs_to Task: task by TaskId;
    has_many Score: score;
}
