//! One unit of work: ledger and outbox in one.

use sea_orm::entity::prelude::*;

use crate::{JobId, RunId, TaskId};
use domain::vocabulary::{JobKind, JobState};

/// One job. Only the ledger writes it.
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
    /// What makes a second copy of the same work impossible; unique.
    pub work_key: String,
    /// What to do: ids only.
    pub work: Json,
    pub state: JobState,
    /// How often it was claimed.
    pub attempt: i32,
    pub max_attempts: i32,
    /// Grows with every claim; a write with an older one is refused.
    pub epoch: i64,
    pub lease_owner: Option<String>,
    pub lease_until: Option<DateTimeUtc>,
    /// Not before this.
    pub available_at: DateTimeUtc,
    /// When its bell was last rung.
    #[sea_orm(column_name = "rung_at")]
    pub notified_at: Option<DateTimeUtc>,
    pub cancel_requested: bool,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub finished_at: Option<DateTimeUtc>,
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
