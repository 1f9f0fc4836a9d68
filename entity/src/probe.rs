//! One question with a known grading rule, tied to one dimension.

use sea_orm::entity::prelude::*;

use crate::{ProbeId, TaskId};
use domain::vocabulary::Dimension;

/// One probe of a task; every agent and trial of the task gets the same.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "probe")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ProbeId,
    pub task_id: TaskId,
    /// From 0, the order in which the generator made them.
    pub position: i32,
    /// The generator's name for it, such as `AR-03`; the same for the same seed.
    pub label: String,
    pub dimension: Dimension,
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub question: String,
    /// The whole probe as the instrument knows it: grader, answer, distractors, evidence.
    pub spec: Json,
    pub created_at: DateTimeUtc,
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
