//! Something that happened to a task, in order. Only ever appended.

use sea_orm::entity::prelude::*;

use crate::{RunId, TaskId};
use domain::vocabulary::Level;

/// One event. `seq` counts within the task without a gap and in the order of commits, which a
/// database's own counter does not promise.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task_event")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub task_id: TaskId,
    /// From 1 within the task.
    pub seq: i64,
    pub run_id: Option<RunId>,
    pub at: DateTimeUtc,
    pub kind: String,
    pub level: Level,
    pub payload: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
