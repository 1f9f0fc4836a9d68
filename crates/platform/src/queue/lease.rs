//! Claiming, renewing and finishing jobs.
//!
//! A claim is a compare-and-set that increments the epoch. Every write for a job happens in a
//! transaction that begins with [`Lease::fence`], so a worker that lost its lease changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use domain::vocabulary::JobState;
use entity::{JobId, TaskId, job};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{Condition, Expr, ExprTrait as _, Query, SimpleExpr, UpdateStatement};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, EntityTrait as _, FromQueryResult as _};

use super::locking::{expired, has_attempts_left, lock_in_order};
use super::retry_policy::{backoff, storable_error};
use super::settings::QueueSettings;
use super::work::{FOLLOW_UP_JOBS, Notification, WEBHOOK_ATTEMPTS, WEBHOOK_QUEUE, Work};
use crate::database::clock;
use crate::telemetry::chain;

/// The right to work on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub job_id: JobId,
    pub task_id: TaskId,
    pub epoch: i64,
    /// Number of this attempt, from 1.
    pub attempt: i32,
    pub max_attempts: i32,
    pub owner: String,
    pub work: Work,
    /// Time after which the lease expires without a renewal.
    pub duration: Duration,
}

/// A refused write for a job.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    #[error("lease lost: another worker owns the job {job_id} (epoch {epoch})")]
    LeaseLost { job_id: JobId, epoch: i64 },
    #[error("could not lock the row of the job")]
    Database(#[from] DbErr),
}

impl Lease {
    /// Locks the job's row until the commit, as the first statement of a transaction that writes for
    /// the job.
    ///
    /// An expired lease is still valid while no other worker has claimed the job.
    ///
    /// # Errors
    /// The lease is lost, or the database failed.
    pub async fn fence(&self, transaction: &impl ConnectionTrait) -> Result<(), FenceError> {
        let written = transaction.execute(&self.update(transaction)).await?;
        if written.rows_affected() == 1 {
            Ok(())
        } else {
            Err(FenceError::LeaseLost {
                job_id: self.job_id,
                epoch: self.epoch,
            })
        }
    }

    /// Returns the notification under which the job can be claimed after its release.
    fn notification(&self) -> Notification {
        Notification {
            queue: self.work.queue(),
            job_id: self.job_id,
            epoch: self.epoch,
        }
    }

    /// Returns an update of the job's row that changes nothing once the lease is lost.
    fn update(&self, connection: &impl ConnectionTrait) -> UpdateStatement {
        Query::update()
            .table(job::Entity)
            .value(job::Column::UpdatedAt, clock::now(connection))
            .cond_where(self.is_held())
            .take()
    }

    fn is_held(&self) -> Condition {
        Condition::all()
            .add(Expr::col(job::Column::Id).eq(self.job_id))
            .add(Expr::col(job::Column::Epoch).eq(self.epoch))
            .add(Expr::col(job::Column::State).eq(JobState::Leased))
            .add(Expr::col(job::Column::LeaseOwner).eq(self.owner.as_str()))
    }

    /// Executes an update that ends the lease and sets the state.
    async fn end(
        &self,
        connection: &impl ConnectionTrait,
        mut update: UpdateStatement,
        state: JobState,
    ) -> Result<(), DbErr> {
        update
            .value(job::Column::State, state)
            .value(job::Column::LeaseOwner, None::<String>)
            .value(job::Column::LeaseUntil, None::<DateTimeUtc>);
        match state {
            JobState::Queued | JobState::Leased => {}
            JobState::Done | JobState::Failed | JobState::Cancelled => {
                update.value(job::Column::FinishedAt, clock::now(connection));
            }
        }
        match connection.execute(&update).await?.rows_affected() {
            0 => Err(DbErr::RecordNotUpdated),
            _ => Ok(()),
        }
    }
}

/// Result of renewing a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease was extended.
    Held,
    /// The lease was extended, and the job is to be cancelled.
    CancelRequested,
    /// Another worker owns the job, or it ended.
    Lost,
}

/// Returns the limit of attempts. Webhook deliveries have more attempts than other jobs, because
/// their receiver may be unavailable for hours.
fn max_attempts(settings: &QueueSettings) -> SimpleExpr {
    Expr::case(
        Expr::col(job::Column::Queue).eq(WEBHOOK_QUEUE),
        Expr::val(WEBHOOK_ATTEMPTS),
    )
    .finally(settings.max_attempts)
    .into()
}

/// Claims the job of a notification. Returns `None` if the job is already claimed, not due, cancelled
/// or deleted.
///
/// Claiming is one statement, so exactly one of several workers succeeds. A job with an expired lease
/// can be claimed while it has attempts left.
pub async fn claim(
    database: &DatabaseConnection,
    notification: &Notification,
    owner: &str,
    settings: &QueueSettings,
) -> Result<Option<Lease>, DbErr> {
    let is_due = Condition::all()
        .add(Expr::col(job::Column::State).eq(JobState::Queued))
        .add(Expr::col(job::Column::AvailableAt).lte(clock::now(database)));
    let update = Query::update()
        .table(job::Entity)
        .value(job::Column::State, JobState::Leased)
        .value(job::Column::Epoch, Expr::col(job::Column::Epoch).add(1))
        .value(job::Column::Attempt, Expr::col(job::Column::Attempt).add(1))
        .value(job::Column::MaxAttempts, max_attempts(settings))
        .value(job::Column::LeaseOwner, owner)
        .value(
            job::Column::LeaseUntil,
            clock::after(database, settings.lease),
        )
        .value(job::Column::UpdatedAt, clock::now(database))
        .cond_where(
            Condition::all()
                .add(Expr::col(job::Column::Id).eq(notification.job_id))
                .add(Expr::col(job::Column::Epoch).eq(notification.epoch))
                .add(Expr::col(job::Column::CancelRequested).eq(false))
                .add(
                    Condition::any()
                        .add(is_due)
                        .add(expired(database).add(has_attempts_left())),
                ),
        )
        .returning_all()
        .take();
    let Some(row) = database.query_one(&update).await? else {
        return Ok(None);
    };
    let job = job::Model::from_query_result(&row, "")?;
    match serde_json::from_value(job.work) {
        Ok(work) => Ok(Some(Lease {
            job_id: job.id,
            task_id: job.task_id,
            epoch: job.epoch,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            owner: owner.to_owned(),
            work,
            duration: settings.lease,
        })),
        Err(error) => {
            // The claim stays and expires, so that a newer worker can claim the job.
            tracing::error!(
                job.id = %job.id,
                error = chain(&error),
                "could not read the work of a job: this version does not know its kind"
            );
            Ok(None)
        }
    }
}

/// Extends the leases of this worker that are still held, in one query. Returns the result per job.
pub async fn renew(
    database: &DatabaseConnection,
    leases: &[Lease],
) -> Result<Vec<(JobId, Renewal)>, DbErr> {
    let mut held = HashMap::new();
    // All leases of a process have the same duration, so this is one iteration.
    let by_duration: BTreeMap<Duration, Vec<&Lease>> =
        leases.iter().fold(BTreeMap::new(), |mut durations, lease| {
            durations.entry(lease.duration).or_default().push(lease);
            durations
        });
    for (duration, leases) in by_duration {
        let held_by_us = leases
            .iter()
            .fold(Condition::any(), |any, lease| any.add(lease.is_held()));
        let update = Query::update()
            .table(job::Entity)
            .value(job::Column::LeaseUntil, clock::after(database, duration))
            .value(job::Column::UpdatedAt, clock::now(database))
            .cond_where(
                Expr::col(job::Column::Id).in_subquery(lock_in_order(database, held_by_us.clone())),
            )
            .cond_where(held_by_us)
            .returning_all()
            .take();
        for row in database.query_all(&update).await? {
            let job = job::Model::from_query_result(&row, "")?;
            held.insert(job.id, job.cancel_requested);
        }
    }
    Ok(leases
        .iter()
        .map(|lease| {
            let renewal = match held.get(&lease.job_id) {
                None => Renewal::Lost,
                Some(true) => Renewal::CancelRequested,
                Some(false) => Renewal::Held,
            };
            (lease.job_id, renewal)
        })
        .collect())
}

/// Marks a job as done, in the transaction that writes its result and after [`Lease::fence`].
pub async fn finish(transaction: &impl ConnectionTrait, lease: &Lease) -> Result<(), DbErr> {
    let update = lease.update(transaction);
    lease.end(transaction, update, JobState::Done).await
}

/// Ends a failed attempt, in a transaction and after [`Lease::fence`].
///
/// Returns the job to the queue with a backoff, and its notification. Marks the job as failed and
/// returns `None` if no attempt is left or `retry` is `None`.
///
/// `retry` is the minimum delay before the next attempt: a provider's rate limit may last longer than
/// the queue's own backoff.
///
/// A job whose cancellation was requested meanwhile is cancelled instead of retried.
pub async fn fail(
    transaction: &impl ConnectionTrait,
    lease: &Lease,
    error: &str,
    retry: Option<Duration>,
    settings: &QueueSettings,
) -> Result<Option<Notification>, DbErr> {
    let mut update = lease.update(transaction);
    update.value(job::Column::LastError, storable_error(error));
    let Some(min_delay) = retry.filter(|_| lease.attempt < lease.max_attempts) else {
        lease.end(transaction, update, JobState::Failed).await?;
        return Ok(None);
    };
    if is_cancel_requested(transaction, lease).await? {
        lease.end(transaction, update, JobState::Cancelled).await?;
        return Ok(None);
    }
    let delay = backoff(
        settings.backoff,
        lease.attempt,
        rand::random_range(0.8..1.2),
    )
    .max(min_delay);
    update
        .value(job::Column::AvailableAt, clock::after(transaction, delay))
        // The rescuer notifies workers as soon as the job is due.
        .value(job::Column::NotifiedAt, None::<DateTimeUtc>);
    lease.end(transaction, update, JobState::Queued).await?;
    Ok(Some(lease.notification()))
}

/// Marks a job as cancelled, in a transaction and after [`Lease::fence`].
pub async fn cancel(transaction: &impl ConnectionTrait, lease: &Lease) -> Result<(), DbErr> {
    let update = lease.update(transaction);
    lease.end(transaction, update, JobState::Cancelled).await
}

/// Returns an unfinished job to the queue at shutdown, in a transaction and after [`Lease::fence`].
///
/// The job is due at once, and the attempt does not count.
pub async fn release(
    transaction: &impl ConnectionTrait,
    lease: &Lease,
) -> Result<Notification, DbErr> {
    let mut update = lease.update(transaction);
    update
        .value(job::Column::Attempt, Expr::col(job::Column::Attempt).sub(1))
        .value(job::Column::AvailableAt, clock::now(transaction))
        .value(job::Column::NotifiedAt, None::<DateTimeUtc>);
    lease.end(transaction, update, JobState::Queued).await?;
    Ok(lease.notification())
}

/// Cancels the unfinished jobs of a task. Returns the number of jobs that are still leased.
///
/// Queued jobs are cancelled at once, leased jobs are marked for their worker. Jobs that follow an
/// earlier end of the task ([`FOLLOW_UP_JOBS`]) continue and are not counted.
///
/// Must come before any write to the task or its runs in the same transaction, because rows are
/// locked in the order job, run, task.
pub async fn request_cancel(
    transaction: &impl ConnectionTrait,
    task: TaskId,
) -> Result<u64, DbErr> {
    let unfinished = || {
        Condition::all()
            .add(Expr::col(job::Column::TaskId).eq(task))
            .add(Expr::col(job::Column::State).is_in([JobState::Queued, JobState::Leased]))
            .add(Expr::col(job::Column::Kind).is_not_in(FOLLOW_UP_JOBS))
    };
    let is_queued = || Expr::col(job::Column::State).eq(JobState::Queued);
    let update = Query::update()
        .table(job::Entity)
        .value(job::Column::CancelRequested, true)
        .value(
            job::Column::FinishedAt,
            Expr::case(is_queued(), clock::now(transaction)).finally(Expr::null()),
        )
        .value(
            job::Column::State,
            Expr::case(is_queued(), Expr::val(JobState::Cancelled)).finally(JobState::Leased),
        )
        .value(job::Column::UpdatedAt, clock::now(transaction))
        .cond_where(
            Expr::col(job::Column::Id).in_subquery(lock_in_order(transaction, unfinished())),
        )
        .cond_where(unfinished())
        .returning_all()
        .take();
    let mut leased = 0;
    for row in transaction.query_all(&update).await? {
        let job = job::Model::from_query_result(&row, "")?;
        leased += u64::from(job.state == JobState::Leased);
    }
    Ok(leased)
}

async fn is_cancel_requested(
    transaction: &impl ConnectionTrait,
    lease: &Lease,
) -> Result<bool, DbErr> {
    let job = job::Entity::find_by_id(lease.job_id)
        .one(transaction)
        .await?;
    Ok(job.is_some_and(|job| job.cancel_requested))
}
