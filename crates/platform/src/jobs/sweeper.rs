//! Brings back what was lost: expired leases, bells that nobody heard, runs whose worker died.
//!
//! Safe to run in many workers at once: every change is one statement that takes each job once
//! (on PostgreSQL it skips the rows that somebody else is about to write).

use std::collections::HashMap;
use std::time::Duration;

use domain::vocabulary::{JobState, RunStatus, TaskStatus};
use entity::{JobId, agent_run, job, task};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait as _, JoinType, Order, Query, UpdateStatement, WindowStatement,
};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, FromQueryResult as _};

use super::ledger::LedgerSettings;
use super::rows::{expired, has_attempts_left, skip_locked};
use super::{AFTERWARDS, Ring, Work};
use crate::database::clock;
use crate::telemetry::chain;

/// How many jobs of one queue are rung for: what the carrier is to hold at most. The rest wait in
/// the ledger until it is their turn.
const RUNG_PER_QUEUE: i32 = 1000;
/// Nothing tells whether a failed job of those that follow an end ([`AFTERWARDS`]) was told of, so those
/// that failed lately are named; telling twice changes nothing.
const LATELY: Duration = Duration::from_secs(120);
/// How many jobs without an end one sweep names.
const NAMED_AT_ONCE: u64 = 1000;

/// What one sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that wait and whose bell is to be rung (again): due, and not rung for a while.
    pub rings: Vec<Ring>,
    /// Jobs that are `failed` while their run (or task) is not at its end, as when the lease ran
    /// out on the last attempt. The worker ends it. Every sweep names them until that is done, so
    /// it is done even if a worker dies over it; it is to be done under the condition that the
    /// run (or task) is still without an end.
    pub failed: Vec<Work>,
    /// The same for jobs that are `cancelled`, as when the worker died that was to cancel.
    pub cancelled: Vec<Work>,
}

/// Sweeps once. Safe to run in every worker.
pub async fn sweep(
    database: &DatabaseConnection,
    settings: &LedgerSettings,
) -> Result<Swept, DbErr> {
    cancel(database).await?;
    take_back(database).await?;
    let rings = ring_again(database, settings).await?;
    let mut swept = Swept {
        rings,
        ..Swept::default()
    };
    for job in without_end(database).await? {
        let work = match serde_json::from_value(job.work) {
            Ok(work) => work,
            Err(error) => {
                tracing::error!(
                    job.id = %job.id,
                    error = chain(&error),
                    "a job holds work that this version does not know"
                );
                continue;
            }
        };
        match job.state {
            JobState::Failed => swept.failed.push(work),
            JobState::Cancelled => swept.cancelled.push(work),
            JobState::Queued | JobState::Leased | JobState::Done => {}
        }
    }
    Ok(swept)
}

/// Ends the jobs that are to be cancelled and that no worker holds any more.
async fn cancel(database: &DatabaseConnection) -> Result<(), DbErr> {
    let lost = Condition::all()
        .add(Expr::col(job::Column::CancelRequested).eq(true))
        .add(
            Condition::any()
                .add(Expr::col(job::Column::State).eq(JobState::Queued))
                .add(expired(database)),
        );
    let update = unlease(database, lost)
        .value(job::Column::State, JobState::Cancelled)
        .value(job::Column::FinishedAt, clock::now(database))
        .take();
    for row in database.query_all(&update).await? {
        let job = job::Model::from_query_result(&row, "")?;
        tracing::info!(job.id = %job.id, task.id = %job.task_id, "cancelled a job nobody holds");
    }
    Ok(())
}

/// Takes jobs from workers that stopped renewing: back to `queued`, or `failed` when the attempts
/// are used up.
async fn take_back(database: &DatabaseConnection) -> Result<(), DbErr> {
    let update = unlease(database, expired(database))
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
            "the lease ran out: the worker that held it is gone",
        )
        .take();
    for row in database.query_all(&update).await? {
        let job = job::Model::from_query_result(&row, "")?;
        tracing::warn!(
            job.id = %job.id,
            task.id = %job.task_id,
            job.attempt = job.attempt,
            job.state = %job.state,
            "the lease of a job ran out"
        );
    }
    Ok(())
}

/// An update that takes the lease away from jobs.
fn unlease(database: &DatabaseConnection, which: Condition) -> UpdateStatement {
    let mut ids = Query::select();
    ids.column(job::Column::Id)
        .from(job::Entity)
        .cond_where(which.clone());
    Query::update()
        .table(job::Entity)
        .value(job::Column::LeaseOwner, None::<String>)
        .value(job::Column::LeaseUntil, None::<DateTimeUtc>)
        .value(job::Column::RungAt, None::<DateTimeUtc>)
        .value(job::Column::UpdatedAt, clock::now(database))
        .cond_where(Expr::col(job::Column::Id).in_subquery(skip_locked(database, ids)))
        .cond_where(which)
        .returning_all()
        .take()
}

/// Marks the jobs that are to be rung for as rung, and returns their rings, oldest first.
async fn ring_again(
    database: &DatabaseConnection,
    settings: &LedgerSettings,
) -> Result<Vec<Ring>, DbErr> {
    let waits = || {
        Condition::all()
            .add(Expr::col((job::Entity, job::Column::State)).eq(JobState::Queued))
            .add(Expr::col((job::Entity, job::Column::AvailableAt)).lte(clock::now(database)))
    };
    let not_rung = || {
        Condition::any()
            .add(Expr::col((job::Entity, job::Column::RungAt)).is_null())
            .add(
                Expr::col((job::Entity, job::Column::RungAt))
                    .lt(clock::before(database, settings.ring_again)),
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
        .cond_where(waits())
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
        .and_where(Expr::col(("in_line", "place")).lte(RUNG_PER_QUEUE))
        .cond_where(waits())
        .cond_where(not_rung())
        .take();
    let update = Query::update()
        .table(job::Entity)
        .value(job::Column::RungAt, clock::now(database))
        .cond_where(Expr::col(job::Column::Id).in_subquery(skip_locked(database, ids)))
        .cond_where(waits())
        .cond_where(not_rung())
        .returning_all()
        .take();
    let mut jobs = Vec::new();
    for row in database.query_all(&update).await? {
        jobs.push(job::Model::from_query_result(&row, "")?);
    }
    jobs.sort_by_key(|job| (job.available_at, job.id));
    Ok(jobs
        .into_iter()
        .map(|job| Ring {
            queue: job.queue,
            job_id: job.id,
            epoch: job.epoch,
        })
        .collect())
}

/// Failed and cancelled jobs whose run, or whose task, is not at its end.
async fn without_end(database: &DatabaseConnection) -> Result<Vec<job::Model>, DbErr> {
    let ended_badly = || {
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
        .and_where(ended_badly())
        .limit(NAMED_AT_ONCE)
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
        // What follows an end is no reason for another one, should the task have begun again.
        .and_where(Expr::col((job::Entity, job::Column::Kind)).is_not_in(AFTERWARDS))
        .and_where(ended_badly())
        .limit(NAMED_AT_ONCE)
        .take();
    let lately = clock::before(database, LATELY);
    let afterwards = Query::select()
        .column(sea_orm::sea_query::Asterisk)
        .from(job::Entity)
        .and_where(Expr::col((job::Entity, job::Column::Kind)).is_in(AFTERWARDS))
        .and_where(ended_badly())
        .and_where(Expr::col((job::Entity, job::Column::FinishedAt)).gt(lately))
        .limit(NAMED_AT_ONCE)
        .take();
    let mut found: HashMap<JobId, job::Model> = HashMap::new();
    for select in [of_runs, of_tasks, afterwards] {
        for row in database.query_all(&select).await? {
            let job = job::Model::from_query_result(&row, "")?;
            found.insert(job.id, job);
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|job| job.id);
    Ok(found)
}
