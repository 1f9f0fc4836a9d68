//! Cached counts of jobs and live workers for `/health`.
//!
//! The endpoint is public, and counting reads every job. So counts are cached for a few seconds,
//! and a slow count is aborted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::vocabulary::JobState;
use entity::{job, worker};
use sea_orm::{DatabaseConnection, DbErr, QuerySelect};
use tokio::sync::Mutex;

use crate::http::error::ApiError;
use crate::tenancy;

/// Lifetime of cached counts.
const FRESH: Duration = Duration::from_secs(3);
/// Timeout of counting, including the wait for another request that counts.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Counts of jobs, and the live workers.
pub(crate) struct Counted {
    /// Jobs by queue and state.
    pub(crate) jobs: Vec<(String, JobState, i64)>,
    pub(crate) workers: Vec<worker::Model>,
}

/// Counts, and remembers for a moment.
#[derive(Default)]
pub(crate) struct CountsCache(Mutex<Option<(Instant, Arc<Counted>)>>);

impl CountsCache {
    /// The figures of a moment ago.
    pub(crate) async fn of(&self, database: &DatabaseConnection) -> Result<Arc<Counted>, ApiError> {
        const DOING: &str = "counting jobs and workers";
        let counting = async {
            // Held while counting: of many requests one counts, the others wait for its figures.
            let mut known = self.0.lock().await;
            if let Some((at, counted)) = known.as_ref()
                && at.elapsed() < FRESH
            {
                return Ok(Arc::clone(counted));
            }
            let counted = Arc::new(count(database).await?);
            *known = Some((Instant::now(), Arc::clone(&counted)));
            Ok(counted)
        };
        match tokio::time::timeout(TIMEOUT, counting).await {
            Ok(counted) => counted.map_err(ApiError::database(DOING)),
            Err(elapsed) => Err(ApiError::Unavailable {
                doing: DOING,
                source: Box::new(elapsed),
            }),
        }
    }
}

async fn count(database: &DatabaseConnection) -> Result<Counted, DbErr> {
    let jobs = tenancy::jobs_of_all()
        .select_only()
        .column(job::Column::Queue)
        .column(job::Column::State)
        .column_as(sea_orm::ColumnTrait::count(&job::Column::Id), "count")
        .group_by(job::Column::Queue)
        .group_by(job::Column::State)
        .into_tuple()
        .all(database)
        .await?;
    let workers = tenancy::live_workers().all(database).await?;
    Ok(Counted { jobs, workers })
}
