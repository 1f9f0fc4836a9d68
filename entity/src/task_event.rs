//! Event log of a task. Rows are appended and never changed.

use sea_orm::entity::prelude::*;

use crate::{RunId, TaskId};
use domain::vocabulary::Level;

/// One event. `seq` counts within the task, without gaps and in the order of commits. A sequence of
/// the database does not guarantee either.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task_event")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub task_id: TaskId,
    /// Number from 1 within the task.
    pub seq: i64,
    pub run_id: Option<RunId>,
    pub at: DateTimeUtc,
    pub kind: String,
    pub level: Level,
    pub payload: Json,
}

relations! {}
