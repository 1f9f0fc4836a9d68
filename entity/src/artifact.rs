//! One stored file of a task or of a run. The bytes are in the artifact store.

use sea_orm::entity::prelude::*;

use crate::{ArtifactId, RunId, TaskId};

/// Unique by task, run and name.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "artifact")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ArtifactId,
    pub task_id: TaskId,
    /// None: the file belongs to the whole task.
    pub run_id: Option<RunId>,
    /// What people call it, such as `transcript`; never part of a path.
    pub name: String,
    /// Where the store keeps it; made from ids alone.
    pub key: String,
    pub media_type: String,
    /// In bytes.
    pub size: i64,
    pub sha256: String,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
