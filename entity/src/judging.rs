//! One judging of a task: by whom, and how good a judge each is. What is judged again is added.

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
    /// From 1: the one that the task's own runs were judged by.
    pub number: i32,
    pub status: JudgingStatus,
    /// Who judged, with their figures on the adversarial battery.
    pub judges: Json,
    /// How far the jurors agree; none with fewer than two.
    pub agreement: Option<Json>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    pub created_by: Option<String>,
    pub created_at: DateTimeUtc,
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
}

impl Related<super::task::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Task.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
