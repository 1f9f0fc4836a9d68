//! One question with a known grading rule, tied to one dimension.

use sea_orm::entity::prelude::*;

use crate::{ProbeId, TaskId};
use domain::vocabulary::Dimension;

/// One probe of a task. Every agent and trial of the task gets the same probes.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "probe")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ProbeId,
    pub task_id: TaskId,
    /// Position from 0, in the order of generation.
    pub position: i32,
    /// Label given by the generator, such as `AR-03`. The same for the same seed.
    pub label: String,
    pub dimension: Dimension,
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub question: String,
    /// The complete probe: grader, answer, distractors, evidence.
    pub spec: Json,
    pub created_at: DateTimeUtc,
}

relations! {
    belongs_to Task: task by TaskId;
}
