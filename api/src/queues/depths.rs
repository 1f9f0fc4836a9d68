//! Counts of jobs per queue and state, without counting all jobs each time.
//!
//! Open and dead jobs are few and have an index, so every request counts them. Done and cancelled
//! jobs grow to millions, so their counts are cached for a minute.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::vocabulary::JobState;
use entity::job;
use moka::future::Cache;
use sea_orm::sea_query::{Expr, ExprTrait, Func, SimpleExpr};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, QueryFilter, QuerySelect, Select};

use crate::caller::Caller;
use crate::tenancy;

const CACHED_FOR: Duration = Duration::from_secs(60);
/// Organisations and teams that are remembered.
const MOST: u64 = 1_000;

/// Jobs of one queue and state.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) queue: String,
    pub(crate) state: JobState,
    pub(crate) count: u64,
    /// Number of due jobs.
    pub(crate) due: u64,
    /// Earliest time at which a job is due.
    pub(crate) first: Option<DateTime<Utc>>,
}

/// Queue, state, number of due jobs, number of jobs, and earliest due time.
type Row = (String, JobState, i64, i64, Option<DateTime<Utc>>);

/// Organisation and team, or `None` for the whole installation.
type Whose = Option<(String, Option<String>)>;

/// The jobs that have ended, as they were counted last.
pub(crate) struct JobCounts(Cache<Whose, Arc<[Counted]>>);

impl JobCounts {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_live(CACHED_FOR);
        Self(cache.build())
    }

    /// Returns all jobs of the tasks that a caller can access, or of the installation.
    pub(crate) async fn count_all(
        &self,
        database: &DatabaseConnection,
        caller: Option<&Caller>,
    ) -> Result<Vec<Counted>, DbErr> {
        let jobs = || caller.map_or_else(tenancy::jobs_of_all, tenancy::jobs);
        let whose = caller.map(|caller| (caller.org.clone(), caller.team.clone()));
        let ended = [JobState::Done, JobState::Cancelled];
        let ended = self
            .0
            .try_get_with(whose, async {
                let ended = count(database, jobs(), ended).await?;
                Ok::<Arc<[Counted]>, DbErr>(ended.into())
            })
            .await
            .map_err(|error| match Arc::try_unwrap(error) {
                Ok(error) => error,
                Err(shared) => DbErr::Custom(shared.to_string()),
            })?;
        let open = [JobState::Queued, JobState::Leased, JobState::Failed];
        let mut all = count(database, jobs(), open).await?;
        all.extend(ended.iter().cloned());
        Ok(all)
    }
}

async fn count(
    database: &DatabaseConnection,
    jobs: Select<job::Entity>,
    states: impl IntoIterator<Item = JobState>,
) -> Result<Vec<Counted>, DbErr> {
    let is_due = Expr::col((job::Entity, job::Column::AvailableAt)).lte(Utc::now());
    let due: SimpleExpr = Expr::case(is_due, 1).finally(0).into();
    let counts: Vec<Row> = jobs
        .filter(job::Column::State.is_in(states))
        .select_only()
        .column(job::Column::Queue)
        .column(job::Column::State)
        .expr_as(SimpleExpr::from(Func::sum(due)), "due")
        .column_as(job::Column::Id.count(), "count")
        .column_as(job::Column::AvailableAt.min(), "first")
        .group_by(job::Column::Queue)
        .group_by(job::Column::State)
        .into_tuple()
        .all(database)
        .await?;
    let counted = counts
        .into_iter()
        .map(|(queue, state, due, count, first)| Counted {
            queue,
            state,
            count: count.unsigned_abs(),
            due: due.unsigned_abs(),
            first,
        });
    Ok(counted.collect())
}
