//! Schema changes, one file each, oldest first. Each has an `up` and a `down`, for PostgreSQL and
//! SQLite.
//!
//! A released migration never changes. Entities do change, so migrations do not use them.

#![expect(
    elided_lifetimes_in_paths,
    reason = "the migration trait is written with an elided lifetime"
)]

mod keys;
mod m20261123_000001_create_task;
mod m20261123_000002_create_agent_run;
mod m20261123_000003_create_probe;
mod m20261123_000004_create_answer;
mod m20261123_000005_create_score;
mod m20261123_000006_create_artifact;
mod m20261123_000007_create_task_event;
mod m20261123_000008_create_job;
mod m20261123_000009_create_worker;
mod m20261123_000010_add_attribution;
mod m20261123_000011_add_instrument;
mod m20261123_000012_add_tenancy;
mod m20261128_000013_add_task_estimate;
mod m20261128_000014_add_open_questions;
mod m20261128_000015_add_recall_jurors;
mod m20261128_000016_add_score_rates;
mod m20261128_000017_add_delivery_ending;
mod m20261130_000018_add_task_options;

use sea_orm_migration::prelude::{DbErr, MigrationTrait, MigratorTrait, async_trait};
use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

/// List of all migrations.
#[derive(Clone, Copy, Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_task::Migration),
            Box::new(m20261123_000002_create_agent_run::Migration),
            Box::new(m20261123_000003_create_probe::Migration),
            Box::new(m20261123_000004_create_answer::Migration),
            Box::new(m20261123_000005_create_score::Migration),
            Box::new(m20261123_000006_create_artifact::Migration),
            Box::new(m20261123_000007_create_task_event::Migration),
            Box::new(m20261123_000008_create_job::Migration),
            Box::new(m20261123_000009_create_worker::Migration),
            Box::new(m20261123_000010_add_attribution::Migration),
            Box::new(m20261123_000011_add_instrument::Migration),
            Box::new(m20261123_000012_add_tenancy::Migration),
            Box::new(m20261128_000013_add_task_estimate::Migration),
            Box::new(m20261128_000014_add_open_questions::Migration),
            Box::new(m20261128_000015_add_recall_jurors::Migration),
            Box::new(m20261128_000016_add_score_rates::Migration),
            Box::new(m20261128_000017_add_delivery_ending::Migration),
            Box::new(m20261130_000018_add_task_options::Migration),
        ]
    }
}

/// Direction of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Applies pending migrations.
    Up,
    /// Reverts all migrations. All data is lost.
    Down,
}

/// Migrates the schema to its newest or to its empty state, in one transaction.
///
/// Several processes may start at once: the second waits for the first and then has nothing to do.
/// On PostgreSQL the transaction holds an advisory lock of the schema. On SQLite the transaction
/// takes the write lock at its beginning and waits for it up to the connection's busy timeout.
pub async fn migrate(database: &DatabaseConnection, direction: Direction) -> Result<(), DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = database.begin_with_options(options).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction
            .execute_unprepared(
                "SELECT pg_advisory_xact_lock(hashtext('membreak'), hashtext(current_schema()))",
            )
            .await?;
    }
    match direction {
        Direction::Up => Migrator::up(&transaction, None).await?,
        Direction::Down => Migrator::down(&transaction, None).await?,
    }
    transaction.commit().await
}
