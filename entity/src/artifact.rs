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
    /// `None` if the file belongs to the whole task.
    pub run_id: Option<RunId>,
    /// Display name, such as `transcript`. Never part of a path.
    pub name: String,
    /// Object key in the store, made of ids only.
    pub key: String,
    pub media_type: String,
    /// Size in bytes.
    pub size: i64,
    pub sha256: String,
    pub created_at: DateTimeUtc,
}

relations! {}
