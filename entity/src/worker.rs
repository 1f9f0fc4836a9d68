//! A worker process, with the agents that it detected.

use sea_orm::entity::prelude::*;

/// One worker process start.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "worker")]
pub struct Model {
    /// New for every start of the process.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub host: String,
    pub started_at: DateTimeUtc,
    /// Time of the last heartbeat.
    pub seen_at: DateTimeUtc,
    /// Queues that the worker serves: a list of strings.
    pub queues: Json,
    pub slots: i32,
    pub busy: i32,
    /// Detected agents: a list of `{name, display_name, available, version, problem, …}`.
    pub agents: Json,
}

relations! {}
