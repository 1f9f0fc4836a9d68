//! `/api/v1/queues`: queue depths, workers, leases and dead jobs.
//!
//! The database has the counts. Redis has only the number of pending notifications. Jobs are those
//! of the caller's tasks. Workers are those of the installation.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::vocabulary::{JobKind, JobState};
use entity::{JobId, job};
use platform::telemetry::chain;
use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::{Admin, Caller};
use crate::http::cursor::{Cursor, read_cursor};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{self, Path, Query};
use crate::queues::dead_jobs::{discard_job, retry_job};
use crate::state::ApiState;
use crate::tasks::retry::Refused;
use crate::tasks::retry_routes::refused;
use crate::tenancy;
use crate::tenancy::TaskSummary;

/// Leases that are listed.
const MAX_LEASES: u64 = 1000;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_queues))
        .routes(routes!(list_dead_jobs))
        .routes(routes!(retry_dead_job))
        .routes(routes!(discard_dead_job))
}

/// Queues, workers and leases.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueueList {
    queues: Vec<QueueView>,
    /// Workers that were active within the last minute.
    workers: Vec<WorkerView>,
    /// Jobs that a worker holds, oldest first; 1000 at most.
    leases: Vec<LeaseView>,
    at: DateTime<Utc>,
}

/// One queue.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct QueueView {
    name: String,
    /// Jobs that wait and are due.
    depth: u64,
    /// Jobs that are due later, such as a next attempt.
    delayed: u64,
    /// Jobs that a worker holds.
    running: u64,
    /// Jobs that are out of attempts.
    dead: u64,
    /// As counted at most a minute ago.
    done: u64,
    /// As counted at most a minute ago.
    cancelled: u64,
    /// Age of the oldest due job in seconds. Null without one.
    oldest_age_seconds: Option<f64>,
    /// Living workers that serve it.
    workers: usize,
    /// Pending notifications in Redis. Null without Redis, or while it does not respond.
    notifications: Option<u64>,
    /// Deprecated name of `notifications`. It will be removed in the next release.
    #[schema(deprecated)]
    doorbells: Option<u64>,
}

/// A living worker.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkerView {
    name: String,
    host: String,
    queues: Vec<String>,
    slots: i32,
    busy: i32,
    started_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
}

/// A job that a worker holds.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeaseView {
    job_id: Uuid,
    task_id: Uuid,
    run_id: Option<Uuid>,
    queue: String,
    #[schema(value_type = String)]
    kind: JobKind,
    attempt: i32,
    max_attempts: i32,
    worker: Option<String>,
    /// End of the lease, unless the worker renews it.
    lease_until: Option<DateTime<Utc>>,
    cancel_requested: bool,
}

/// Lists queues with their depths, live workers and leases.
#[utoipa::path(get, path = "/api/v1/queues", tag = "queues",
    responses((status = 200, description = "The queues", body = QueueList)))]
async fn list_queues(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Json<QueueList>, ApiError> {
    let api = &state;
    let database = &api.platform.database;
    let counting = || ApiError::database("counting jobs");
    let now = Utc::now();
    let counts = state
        .job_counts
        .count_all(database, Some(&caller))
        .await
        .map_err(counting())?;
    let workers = tenancy::live_workers()
        .all(database)
        .await
        .map_err(counting())?;
    let mut queues: BTreeMap<String, QueueView> = BTreeMap::new();
    let workers: Vec<WorkerView> = workers
        .into_iter()
        .map(|worker| WorkerView {
            name: worker.name,
            host: worker.host,
            queues: serde_json::from_value(worker.queues).unwrap_or_default(),
            slots: worker.slots,
            busy: worker.busy,
            started_at: worker.started_at,
            seen_at: worker.seen_at,
        })
        .collect();
    for queue in workers.iter().flat_map(|worker| &worker.queues) {
        queues.entry(queue.clone()).or_default().workers += 1;
    }
    for counted in counts {
        let count = counted.count;
        let view = queues.entry(counted.queue).or_default();
        match counted.state {
            JobState::Queued => {
                view.depth = counted.due;
                view.delayed = count.saturating_sub(view.depth);
                let age = counted.first.map(|oldest| (now - oldest).as_seconds_f64());
                view.oldest_age_seconds = age.filter(|age| *age >= 0.0);
            }
            JobState::Leased => view.running += count,
            JobState::Failed => view.dead += count,
            JobState::Done => view.done += count,
            JobState::Cancelled => view.cancelled += count,
        }
    }
    let names: Vec<String> = queues.keys().cloned().collect();
    let pending = match api.platform.notifier.pending(&names).await {
        Ok(pending) => pending,
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "could not count pending notifications"
            );
            None
        }
    };
    for (name, view) in &mut queues {
        view.name.clone_from(name);
        view.notifications = pending
            .as_ref()
            .and_then(|pending| pending.get(name).copied());
        view.doorbells = view.notifications;
    }
    let leases = tenancy::jobs(&caller)
        .filter(job::Column::State.eq(JobState::Leased))
        .order_by_asc(job::Column::UpdatedAt)
        .limit(MAX_LEASES)
        .all(database)
        .await
        .map_err(counting())?;
    Ok(Json(QueueList {
        queues: queues.into_values().collect(),
        workers,
        leases: leases.into_iter().map(LeaseView::from).collect(),
        at: now,
    }))
}

impl From<job::Model> for LeaseView {
    fn from(job: job::Model) -> Self {
        Self {
            job_id: job.id.0,
            task_id: job.task_id.0,
            run_id: job.run_id.map(|run| run.0),
            queue: job.queue,
            kind: job.kind,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            worker: job.lease_owner,
            lease_until: job.lease_until,
            cancel_requested: job.cancel_requested,
        }
    }
}

/// Which dead jobs to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `list_dead_jobs` reads it")]
pub(crate) struct ListDead {
    /// Only those of this queue.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    queue: Option<String>,
    /// Jobs per page. More than 1000 counts as 1000.
    #[param(minimum = 1, default = 50)]
    page_size: Option<u64>,
    /// Continues after the page with this `next_cursor`.
    #[param(pattern = "^[A-Za-z0-9_-]{32}$")]
    cursor: Option<String>,
}

/// Jobs that are out of attempts, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadJobs {
    jobs: Vec<DeadJob>,
    total: u64,
    /// `cursor` of the next page. Null on the last page.
    next_cursor: Option<String>,
}

/// A job that is out of attempts.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadJob {
    id: Uuid,
    task_id: Uuid,
    run_id: Option<Uuid>,
    queue: String,
    #[schema(value_type = String)]
    kind: JobKind,
    attempts: i32,
    /// Error of the last attempt.
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    failed_at: Option<DateTime<Utc>>,
}

/// Lists the jobs that are out of attempts.
#[utoipa::path(get, path = "/api/v1/queues/dead", tag = "queues", params(ListDead),
    responses(
        (status = 200, description = "The dead jobs", body = DeadJobs),
        (status = 422, description = "The query is invalid", body = ErrorBody)))]
async fn list_dead_jobs(
    State(api): State<ApiState>,
    caller: Caller,
    Query(mut query): Query,
) -> Result<Json<DeadJobs>, ApiError> {
    let queue = query.text("queue");
    let size = query.page_size(50);
    let cursor = read_cursor(&mut query);
    query.finish()?;
    let mut wanted = tenancy::jobs(&caller).filter(job::Column::State.eq(JobState::Failed));
    if let Some(queue) = queue {
        wanted = wanted.filter(job::Column::Queue.eq(queue));
    }
    let listing = || ApiError::database("listing dead jobs");
    let database = &api.platform.database;
    let total = wanted.clone().count(database).await.map_err(listing())?;
    if let Some(cursor) = cursor {
        wanted = wanted.filter(cursor.in_columns(job::Column::CreatedAt, job::Column::Id));
    }
    let size = size.unsigned_abs();
    let mut jobs = wanted
        .order_by_desc(job::Column::CreatedAt)
        .order_by_desc(job::Column::Id)
        .limit(size + 1)
        .all(database)
        .await
        .map_err(listing())?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = jobs.len() > size;
    jobs.truncate(size);
    let last = jobs.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor::new(last.created_at, last.id.0).to_string());
    Ok(Json(DeadJobs {
        jobs: jobs.into_iter().map(DeadJob::from).collect(),
        total,
        next_cursor,
    }))
}

impl From<job::Model> for DeadJob {
    fn from(job: job::Model) -> Self {
        Self {
            id: job.id.0,
            task_id: job.task_id.0,
            run_id: job.run_id.map(|run| run.0),
            queue: job.queue,
            kind: job.kind,
            attempts: job.attempt,
            last_error: job.last_error,
            created_at: job.created_at,
            failed_at: job.finished_at,
        }
    }
}

async fn dead_job(
    api: &ApiState,
    caller: &Caller,
    id: &str,
) -> Result<(job::Model, TaskSummary), ApiError> {
    let id: JobId = validation::id("job_id", id)?;
    let database = &api.platform.database;
    let no_job = || ApiError::NotFound("Job not found".to_owned());
    let job = tenancy::jobs(caller)
        .filter(job::Column::Id.eq(id))
        .one(database)
        .await
        .map_err(ApiError::database("finding a job"))?
        .ok_or_else(no_job)?;
    let task = tenancy::task(database, caller, &job.task_id.to_string()).await?;
    Ok((job, task))
}

/// Tries a dead job again: a run is made again from its beginning, unless its agent failed it.
#[utoipa::path(post, path = "/api/v1/queues/dead/{job_id}/retry", tag = "queues",
    params(("job_id" = Uuid, Path)),
    responses(
        (status = 204, description = "The job is queued"),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody),
        (status = 404, description = "The job does not exist", body = ErrorBody),
        (status = 409, description = "The job is not dead, or cannot be retried", body = ErrorBody)))]
async fn retry_dead_job(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (job, task) = dead_job(&api, &caller, &id).await?;
    let most = api.settings.limits.active_tasks;
    retry_job(&api.platform, &task, &job, &caller.actor(), most)
        .await
        .map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a dead job from the list. Its task stays unchanged.
#[utoipa::path(delete, path = "/api/v1/queues/dead/{job_id}", tag = "queues",
    params(("job_id" = Uuid, Path)),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody),
        (status = 404, description = "The job does not exist", body = ErrorBody),
        (status = 409, description = "The job is not dead, or its task has not ended", body = ErrorBody)))]
async fn discard_dead_job(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (job, task) = dead_job(&api, &caller, &id).await?;
    // The rescuer may still need the job to end its run.
    if !task.status.is_final() {
        return Err(refused(Refused::NotEnded));
    }
    discard_job(&api.platform, &job, &caller.actor())
        .await
        .map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
