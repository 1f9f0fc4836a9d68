//! Recovers lost work: returns expired leases to the queue, repeats notifications that were not
//! received, and reports runs whose worker died.
//!
//! Every worker runs a rescuer. Each change is a single statement, so two rescuers never process the
//! same job twice. PostgreSQL uses `SKIP LOCKED`.

use std::collections::HashMap;
use std::time::Duration;

use domain::vocabulary::{JobState, RunStatus, TaskStatus};
use entity::{JobId, agent_run, job, task};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait as _, JoinType, Order, Query, UpdateStatement, WindowStatement,
};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, FromQueryResult as _};

use super::locking::{expired, has_attempts_left, skip_locked};
use super::settings::QueueSettings;
use super::work::{FOLLOW_UP_JOBS, Notification, Work};
use crate::database::clock;
use crate::telemetry::chain;

/// Upper bound on pending notifications per queue in Redis. Further jobs are notified as earlier ones
/// are claimed.
const MAX_NOTIFICATIONS_PER_QUEUE: i32 = 1000;
/// Failed follow-up jobs ([`FOLLOW_UP_JOBS`]) are reported again for this long. Reporting is
/// idempotent, and the table does not record whether it happened.
const RECENT_FAILURE_WINDOW: Duration = Duration::from_secs(120);
/// Jobs without an end that one pass reports.
const MAX_REPORTED: u64 = 1000;

/// Result of one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Due jobs whose notification is missing or old.
    pub notify: Vec<Notification>,
    /// Failed jobs whose run (or task) has not ended, for example because the lease expired on the
    /// last attempt.
    ///
    /// The worker ends the run, provided that it still has not ended. Every pass reports the job
    /// until that is done, so a worker that dies meanwhile loses nothing.
    pub failed: Vec<Work>,
    /// Cancelled jobs whose run (or task) has not ended, for example because the worker died before
    /// it could cancel the run.
    pub cancelled: Vec<Work>,
}

/// Runs one pass. Safe to run in every worker.
pub async fn rescue(
    database: &DatabaseConnection,
    settings: &QueueSettings,
) -> Result<Rescued, DbErr> {
    cancel_unleased(database).await?;
    requeue_expired(database).await?;
    let notify = take_unnotified(database, settings).await?;
    let mut rescued = Rescued {
        notify,
        ..Rescued::default()
    };
    for job in jobs_without_end(database).await? {
        let work = match serde_json::from_value(job.work) {
            Ok(work) => work,
            Err(error) => {
                tracing::error!(
                    job.id = %job.id,
                    error = chain(&error),
                    "could not read the work of a job: this version does not know its kind"
                );
                continue;
            }
        };
        match job.state {
            JobState::Failed => rescued.failed.push(work),
            JobState::Cancelled => rescued.cancelled.push(work),
            JobState::Queued | JobState::Leased | JobState::Done => {}
        }
    }
    Ok(rescued)
}

/// Cancels the jobs whose cancellation was requested and that no worker holds any more.
async fn cancel_unleased(database: &DatabaseConnection) -> Result<(), DbErr> {
    let unleased = Condition::all()
        .add(Expr::col(job::Column::CancelRequested).eq(true))
        .add(
            Condition::any()
                .add(Expr::col(job::Column::State).eq(JobState::Queued))
                .add(expired(database)),
        );
    let update = end_leases(database, unleased)
        .value(job::Column::State, JobState::Cancelled)
        .value(job::Column::FinishedAt, clock::now(database))
        .take();
    for row in database.query_all(&update).await? {
        let job = job::Model::from_query_result(&row, "")?;
        tracing::info!(job.id = %job.id, task.id = %job.task_id, "cancelled a job without a worker");
    }
    Ok(())
}

/// Returns jobs with an expired lease to the queue, or marks them as failed if no attempt is left.
async fn requeue_expired(database: &DatabaseConnection) -> Result<(), DbErr> {
    let update = end_leases(database, expired(database))
        .value(
            job::Column::FinishedAt,
            Expr::case(has_attempts_left(), Expr::null()).finally(clock::now(database)),
        )
        .value(
            job::Column::State,
            Expr::case(has_attempts_left(), Expr::val(JobState::Queued)).finally(JobState::Failed),
        )
        .value(job::Column::AvailableAt, clock::now(database))
        .value(
            job::Column::LastError,
            "the lease expired: the worker that held it is gone",
        )
        .take();
    for row in database.query_all(&update).await? {
        let job = job::Model::from_query_result(&row, "")?;
        tracing::warn!(
            job.id = %job.id,
            task.id = %job.task_id,
            job.attempt = job.attempt,
            job.state = %job.state,
            "lease expired"
        );
    }
    Ok(())
}

/// Returns an update that ends the leases of the jobs that match `condition`.
fn end_leases(database: &DatabaseConnection, condition: Condition) -> UpdateStatement {
    let mut ids = Query::select();
    ids.column(job::Column::Id)
        .from(job::Entity)
        .cond_where(condition.clone());
    Query::update()
        .table(job::Entity)
        .value(job::Column::LeaseOwner, None::<String>)
        .value(job::Column::LeaseUntil, None::<DateTimeUtc>)
        .value(job::Column::NotifiedAt, None::<DateTimeUtc>)
        .value(job::Column::UpdatedAt, clock::now(database))
        .cond_where(Expr::col(job::Column::Id).in_subquery(skip_locked(database, ids)))
        .cond_where(condition)
        .returning_all()
        .take()
}

/// Marks the due jobs whose notification is missing or old as notified. Returns their notifications,
/// oldest first.
async fn take_unnotified(
    database: &DatabaseConnection,
    settings: &QueueSettings,
) -> Result<Vec<Notification>, DbErr> {
    let is_due = || {
        Condition::all()
            .add(Expr::col((job::Entity, job::Column::State)).eq(JobState::Queued))
            .add(Expr::col((job::Entity, job::Column::AvailableAt)).lte(clock::now(database)))
    };
    let not_notified = || {
        Condition::any()
            .add(Expr::col((job::Entity, job::Column::NotifiedAt)).is_null())
            .add(
                Expr::col((job::Entity, job::Column::NotifiedAt))
                    .lt(clock::before(database, settings.notify_again)),
            )
    };
    let in_line = Query::select()
        .column(job::Column::Id)
        .expr_window_as(
            Expr::cust("ROW_NUMBER()"),
            WindowStatement::partition_by(job::Column::Queue)
                .order_by(job::Column::AvailableAt, Order::Asc)
                .order_by(job::Column::Id, Order::Asc)
                .take(),
            "place",
        )
        .from(job::Entity)
        .cond_where(is_due())
        .take();
    let ids = Query::select()
        .column((job::Entity, job::Column::Id))
        .from(job::Entity)
        .join_subquery(
            JoinType::InnerJoin,
            in_line,
            "in_line",
            Expr::col(("in_line", "id")).equals((job::Entity, job::Column::Id)),
        )
        .and_where(Expr::col(("in_line", "place")).lte(MAX_NOTIFICATIONS_PER_QUEUE))
        .cond_where(is_due())
        .cond_where(not_notified())
        .take();
    let update = Query::update()
        .table(job::Entity)
        .value(job::Column::NotifiedAt, clock::now(database))
        .cond_where(Expr::col(job::Column::Id).in_subquery(skip_locked(database, ids)))
        .cond_where(is_due())
        .cond_where(not_notified())
        .returning_all()
        .take();
    let mut jobs = Vec::new();
    for row in database.query_all(&update).await? {
        jobs.push(job::Model::from_query_result(&row, "")?);
    }
    jobs.sort_by_key(|job| (job.available_at, job.id));
    Ok(jobs
        .into_iter()
        .map(|job| Notification {
            queue: job.queue,
            job_id: job.id,
            epoch: job.epoch,
        })
        .collect())
}

/// Returns failed and cancelled jobs whose run or task has not ended.
async fn jobs_without_end(database: &DatabaseConnection) -> Result<Vec<job::Model>, DbErr> {
    let unsuccessful = || {
        Expr::col((job::Entity, job::Column::State)).is_in([JobState::Failed, JobState::Cancelled])
    };
    let runs = RunStatus::ALL
        .iter()
        .copied()
        .filter(|status| !status.is_final());
    let of_runs = Query::select()
        .column((job::Entity, sea_orm::sea_query::Asterisk))
        .from(agent_run::Entity)
        .inner_join(
            job::Entity,
            Expr::col((job::Entity, job::Column::RunId))
                .equals((agent_run::Entity, agent_run::Column::Id)),
        )
        .and_where(Expr::col((agent_run::Entity, agent_run::Column::Status)).is_in(runs))
        .and_where(unsuccessful())
        .limit(MAX_REPORTED)
        .take();
    let tasks = TaskStatus::ALL
        .iter()
        .copied()
        .filter(|status| !status.is_final());
    let of_tasks = Query::select()
        .column((job::Entity, sea_orm::sea_query::Asterisk))
        .from(task::Entity)
        .inner_join(
            job::Entity,
            Expr::col((job::Entity, job::Column::TaskId)).equals((task::Entity, task::Column::Id)),
        )
        .and_where(Expr::col((task::Entity, task::Column::Status)).is_in(tasks))
        .and_where(Expr::col((job::Entity, job::Column::RunId)).is_null())
        // Follow-up jobs never end a task, even if the task has started again.
        .and_where(Expr::col((job::Entity, job::Column::Kind)).is_not_in(FOLLOW_UP_JOBS))
        .and_where(unsuccessful())
        .limit(MAX_REPORTED)
        .take();
    let window_start = clock::before(database, RECENT_FAILURE_WINDOW);
    let follow_ups = Query::select()
        .column(sea_orm::sea_query::Asterisk)
        .from(job::Entity)
        .and_where(Expr::col((job::Entity, job::Column::Kind)).is_in(FOLLOW_UP_JOBS))
        .and_where(unsuccessful())
        .and_where(Expr::col((job::Entity, job::Column::FinishedAt)).gt(window_start))
        .limit(MAX_REPORTED)
        .take();
    let mut by_id: HashMap<JobId, job::Model> = HashMap::new();
    for select in [of_runs, of_tasks, follow_ups] {
        for row in database.query_all(&select).await? {
            let job = job::Model::from_query_result(&row, "")?;
            by_id.insert(job.id, job);
        }
    }
    let mut jobs: Vec<_> = by_id.into_values().collect();
    jobs.sort_by_key(|job| job.id);
    Ok(jobs)
}
