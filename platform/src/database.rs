//! The connection to the database that owns every fact.

use sea_orm::{DatabaseConnection, DbErr};

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`: `sqlite://path?mode=rwc` or `postgres://…`.
    pub url: String,
    /// `DATABASE_MAX_CONNECTIONS`.
    pub max_connections: u32,
}

/// Connects, without touching the schema. SQLite: write-ahead log, foreign keys, busy timeout.
pub async fn connect(_settings: &DatabaseSettings) -> Result<DatabaseConnection, DbErr> {
    Err(DbErr::Custom("not yet".to_owned()))
}

/// Brings the schema up to date. Safe to run from several processes at once.
pub async fn migrate(_database: &DatabaseConnection) -> Result<(), DbErr> {
    Ok(())
}
