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
    /// The agent as asked for, with its parameter: `claude`, `control-lossy:0.5`.
    pub agent: String,
    /// From 1.
    pub trial: i32,
    pub status: RunStatus,
    /// The phase the run is in: `prepare`, `pre_compression`, `deep_dive`, `break`, `baseline`,
    /// `memory_only`, `evaluating`, `cold`, `judging`; none before it starts and after it ends.
    pub phase: Option<String>,
    /// `milestone_0` to `milestone_5` and what was reached, as clients of the first service know them.
    pub milestones: Json,
    /// Figures of the run that are no scores: turns, tokens, times.
    pub stats: Json,
    /// The breaks seen: a list of `{trigger, tokens_before, tokens_after, summary_artifact}`.
    pub breaks: Json,
    pub compression_detected: bool,
    pub seal_broken: bool,
    /// How the baseline was taken: `fork` or `split`.
    pub baseline: Option<String>,
    /// What a later attempt can go on from; none until there is something.
    pub checkpoint: Option<Json>,
    /// The version that the agent's program told.
    pub agent_version: Option<String>,
    /// What the agent asks, as far as we set it: its model, `MODEL@ORIGIN` where that is not the
    /// provider's own address, `MODEL@stub` where it is a stub.
    pub model: Option<String>,
    /// Everything that must be the same for two runs to be comparable; none until the run starts.
    pub manifest: Option<Json>,
    /// How often the run was begun again after a failure.
    pub retry_count: i32,
    pub failure_cause: Option<FailureCause>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    /// Mean of the post-break scores of the dimensions asked for; none where there is no valid one.
    pub overall_score: Option<f64>,
    pub passed: Option<bool>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub started_at: Option<DateTimeUtc>,
    pub completed_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::task::Entity",
        from = "Column::TaskId",
        to = "super::task::Column::Id"
    )]
    Task,
    #[sea_orm(has_many = "super::score::Entity")]
    Score,
}

impl Related<super::task::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Task.def()
    }
}

impl Related<super::score::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Score.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
