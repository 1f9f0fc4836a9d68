//! How many tasks there are, without counting all of them every time.
//!
//! Tasks are never deleted, and their time is set when they are made. So those that are older than a
//! little while stay as many as they are: they are counted once a minute, and only the younger ones
//! with every request. The sum is what counting all of them would give.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use entity::task;
use moka::future::Cache;
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, QueryFilter, QuerySelect, Select};

use crate::caller::Caller;
use crate::tenancy;

/// Longer than any transaction that makes a task, and than clocks of hosts differ.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(150);
const KEPT: Duration = Duration::from_secs(60);
/// Organisations and teams that are remembered.
const MOST: u64 = 10_000;

/// How many tasks of somebody were made before a time.
#[derive(Clone, Copy)]
struct Settled {
    before: DateTime<Utc>,
    count: u64,
}

/// Counts of tasks by organisation and team.
pub(crate) struct Totals(Cache<(String, Option<String>), Settled>);

impl Totals {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_live(KEPT);
        Self(cache.build())
    }

    /// All tasks that a caller may see.
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

/// Counts rows, and has the database look at nothing else of them.
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
