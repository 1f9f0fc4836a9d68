//! One judging of a task, with its judges and their quality. Another judging adds a row.

use sea_orm::entity::prelude::*;

use crate::{JudgingId, TaskId};
use domain::vocabulary::JudgingStatus;

/// Unique by task and number.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "judging")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JudgingId,
    pub task_id: TaskId,
    /// Number from 1, which is the judging of the task's own run.
    pub number: i32,
    pub status: JudgingStatus,
    /// Judges, with their results on the adversarial battery.
    pub judges: Json,
    /// Agreement of the jurors. `None` with fewer than two.
    pub agreement: Option<Json>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    pub created_by: Option<String>,
    pub created_at: DateTimeUtc,
    pub completed_at: Option<DateTimeUtc>,
}

relations! {
    belongs_to Task: task by TaskId;
}
