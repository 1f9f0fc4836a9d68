//! One unit of work: a row of the job queue.

use sea_orm::entity::prelude::*;

use crate::{JobId, RunId, TaskId};
use domain::vocabulary::{JobKind, JobState};

/// One job. Only `platform::queue` writes it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JobId,
    pub task_id: TaskId,
    pub run_id: Option<RunId>,
    pub kind: JobKind,
    /// `prepare`, `run:<agent>`, `judge` or `finish`.
    pub queue: String,
    /// Unique key that prevents a second job for the same work.
    pub work_key: String,
    /// The work as JSON, with ids only.
    pub work: Json,
    pub state: JobState,
    /// Number of claims.
    pub attempt: i32,
    pub max_attempts: i32,
    /// Increases with every claim. A write under an older epoch is refused.
    pub epoch: i64,
    pub lease_owner: Option<String>,
    pub lease_until: Option<DateTimeUtc>,
    /// Time from which the job can be claimed.
    pub available_at: DateTimeUtc,
    /// Time of the last notification. The column keeps its first name, `rung_at`.
    #[sea_orm(column_name = "rung_at")]
    pub notified_at: Option<DateTimeUtc>,
    pub cancel_requested: bool,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub finished_at: Option<DateTimeUtc>,
}

relations! {
    belongs_to Task: task by TaskId;
}
