//! A worker process that is or was alive, and the agents that it found.

use sea_orm::entity::prelude::*;

/// One worker process start.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "worker")]
pub struct Model {
    /// New at every start of the process.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub host: String,
    pub started_at: DateTimeUtc,
    /// The last sign of life.
    pub seen_at: DateTimeUtc,
    /// The queues it serves: a list of strings.
    pub queues: Json,
    pub slots: i32,
    pub busy: i32,
    /// What it knows of agents: a list of `{name, display_name, available, version, problem, …}`.
    pub agents: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
