//! Cached number of tasks, without counting all tasks each time.
//!
//! Tasks are never deleted, and their creation time is fixed. So the number of older tasks is
//! constant. It is counted once a minute, and every request counts only newer tasks. The sum is
//! exact.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use entity::task;
use moka::future::Cache;
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, QueryFilter, QuerySelect, Select};

use crate::caller::Caller;
use crate::tenancy;

/// Longer than any transaction that makes a task, and than clocks of hosts differ.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(150);
const CACHED_FOR: Duration = Duration::from_secs(60);
/// Organisations and teams that are remembered.
const MOST: u64 = 10_000;

/// Number of tasks that were created before a time.
#[derive(Clone, Copy)]
struct Settled {
    before: DateTime<Utc>,
    count: u64,
}

/// Counts of tasks by organisation and team.
pub(crate) struct TaskCounts(Cache<(String, Option<String>), Settled>);

impl TaskCounts {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_live(CACHED_FOR);
        Self(cache.build())
    }

    /// Returns the number of tasks that a caller can access.
    pub(crate) async fn of(
        &self,
        database: &DatabaseConnection,
        caller: &Caller,
    ) -> Result<u64, DbErr> {
        let whose = (caller.org.clone(), caller.team.clone());
        let settled = match self.0.get(&whose).await {
            Some(settled) => settled,
            None => {
                let before = (Utc::now() - SETTLED_AFTER).trunc_subsecs(6);
                let older = tenancy::tasks(caller).filter(task::Column::CreatedAt.lt(before));
                let count = count(database, older).await?;
                let settled = Settled { before, count };
                self.0.insert(whose, settled).await;
                settled
            }
        };
        let younger = tenancy::tasks(caller).filter(task::Column::CreatedAt.gte(settled.before));
        Ok(settled.count + count(database, younger).await?)
    }
}

/// Counts rows without reading their columns.
pub(crate) async fn count(
    database: &DatabaseConnection,
    wanted: Select<task::Entity>,
) -> Result<u64, DbErr> {
    let counted: Option<i64> = wanted
        .select_only()
        .column_as(task::Column::Id.count(), "count")
        .into_tuple()
        .one(database)
        .await?;
    Ok(counted.unwrap_or_default().unsigned_abs())
}
