//! Claiming, renewing and ending work: the only writer of `job` rows.
//!
//! A claim is a compare-and-set that bumps the epoch. Whoever wants to write on behalf of a job
//! does it in a transaction that begins with [`Lease::fence`]: a worker that has lost its lease
//! cannot change anything any more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use domain::vocabulary::JobState;
use entity::{JobId, TaskId, job};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{Condition, Expr, ExprTrait as _, Query, SimpleExpr, UpdateStatement};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, EntityTrait as _, FromQueryResult as _};

use super::rows::{expired, has_attempts_left, in_order};
use super::{AFTERWARDS, Ring, Work, attempts};
use crate::database::clock;
use crate::settings::Reader;
use crate::telemetry::chain;

/// How leases and attempts work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// `LEASE_SECONDS`, 60.
    pub lease: Duration,
    /// `RENEW_SECONDS`, 10.
    pub renew: Duration,
    /// `JOB_MAX_ATTEMPTS`, 3.
    pub max_attempts: i32,
    /// `JOB_BACKOFF_SECONDS`, 2: before the second attempt; doubles, with jitter, up to 5 minutes.
    pub backoff: Duration,
    /// `RING_AGAIN_SECONDS`, 2: how long a due job waits before its bell is rung again.
    pub ring_again: Duration,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            renew: Duration::from_secs(10),
            max_attempts: 3,
            backoff: Duration::from_secs(2),
            ring_again: Duration::from_secs(2),
        }
    }
}

impl LedgerSettings {
    /// Reads `LEASE_SECONDS`, `RENEW_SECONDS`, `JOB_MAX_ATTEMPTS`, `JOB_BACKOFF_SECONDS` and
    /// `RING_AGAIN_SECONDS`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let usual = Self::default();
        let settings = Self {
            lease: reader.seconds("LEASE_SECONDS", usual.lease),
            renew: reader.seconds("RENEW_SECONDS", usual.renew),
            max_attempts: reader.parsed("JOB_MAX_ATTEMPTS", usual.max_attempts),
            backoff: reader.seconds("JOB_BACKOFF_SECONDS", usual.backoff),
            ring_again: reader.seconds("RING_AGAIN_SECONDS", usual.ring_again),
        };
        if settings.renew.is_zero() || settings.renew * 2 > settings.lease {
            reader.refuse(
                "RENEW_SECONDS",
                "must be more than 0 and at most half of LEASE_SECONDS",
            );
        }
        if settings.max_attempts < 1 {
            reader.refuse("JOB_MAX_ATTEMPTS", "must be at least 1");
        }
        settings
    }
}

/// The right to work on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub job_id: JobId,
    pub task_id: TaskId,
    pub epoch: i64,
    /// From 1.
    pub attempt: i32,
    pub max_attempts: i32,
    pub owner: String,
    pub work: Work,
    /// How long the lease lasts without a renewal.
    pub lasts: Duration,
}

/// Why a write on behalf of a job was refused.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    #[error("the lease on job {job_id} is lost (epoch {epoch})")]
    LeaseLost { job_id: JobId, epoch: i64 },
    #[error("writing to the ledger")]
    Database(#[from] DbErr),
}

impl Lease {
    /// The first statement of a transaction that writes on behalf of the job: locks the job's row
    /// until the commit, and fails if the lease is no longer ours.
    ///
    /// A lease that has run out but that nobody has taken over is still ours.
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

    /// The ring under which the job, given back, can be claimed.
    fn ring(&self) -> Ring {
        Ring {
            queue: self.work.queue(),
            job_id: self.job_id,
            epoch: self.epoch,
        }
    }

    /// An update of the job's row that does nothing once the lease is lost.
    fn update(&self, connection: &impl ConnectionTrait) -> UpdateStatement {
        Query::update()
            .table(job::Entity)
            .value(job::Column::UpdatedAt, clock::now(connection))
            .cond_where(self.is_ours())
            .take()
    }

    fn is_ours(&self) -> Condition {
        Condition::all()
            .add(Expr::col(job::Column::Id).eq(self.job_id))
            .add(Expr::col(job::Column::Epoch).eq(self.epoch))
            .add(Expr::col(job::Column::State).eq(JobState::Leased))
            .add(Expr::col(job::Column::LeaseOwner).eq(self.owner.as_str()))
    }

    /// Runs an update that takes the lease away from us.
    async fn give_up(
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

/// What a renewal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Held,
    /// Held, and somebody asked for it to be cancelled.
    CancelRequested,
    Lost,
}

/// How often a job may be tried: a message to a webhook more often than other work, for its receiver
/// may be away for hours.
fn most_attempts(settings: &LedgerSettings) -> SimpleExpr {
    Expr::case(
        Expr::col(job::Column::Queue).eq(super::WEBHOOKS),
        Expr::val(super::WEBHOOK_ATTEMPTS),
    )
    .finally(settings.max_attempts)
    .into()
}

/// Claims the job of a ring. None: somebody else has it, it is not due, cancelled, or gone.
///
/// One statement, so that of many claimants one wins. A job whose lease has run out can be
/// claimed as well, as long as it has attempts left.
pub async fn claim(
    database: &DatabaseConnection,
    ring: &Ring,
    owner: &str,
    settings: &LedgerSettings,
) -> Result<Option<Lease>, DbErr> {
    let waits = Condition::all()
        .add(Expr::col(job::Column::State).eq(JobState::Queued))
        .add(Expr::col(job::Column::AvailableAt).lte(clock::now(database)));
    let update = Query::update()
        .table(job::Entity)
        .value(job::Column::State, JobState::Leased)
        .value(job::Column::Epoch, Expr::col(job::Column::Epoch).add(1))
        .value(job::Column::Attempt, Expr::col(job::Column::Attempt).add(1))
        .value(job::Column::MaxAttempts, most_attempts(settings))
        .value(job::Column::LeaseOwner, owner)
        .value(
            job::Column::LeaseUntil,
            clock::after(database, settings.lease),
        )
        .value(job::Column::UpdatedAt, clock::now(database))
        .cond_where(
            Condition::all()
                .add(Expr::col(job::Column::Id).eq(ring.job_id))
                .add(Expr::col(job::Column::Epoch).eq(ring.epoch))
                .add(Expr::col(job::Column::CancelRequested).eq(false))
                .add(
                    Condition::any()
                        .add(waits)
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
            lasts: settings.lease,
        })),
        Err(error) => {
            // The claim stands and runs out, and a newer worker gets its turn.
            tracing::error!(
                job.id = %job.id,
                error = chain(&error),
                "a job holds work that this version does not know"
            );
            Ok(None)
        }
    }
}

/// How the leases of this worker stand, in one query; extends those that are held.
pub async fn renew(
    database: &DatabaseConnection,
    leases: &[Lease],
) -> Result<Vec<(JobId, Standing)>, DbErr> {
    let mut held = HashMap::new();
    // All leases of a process last equally long, so this is one turn.
    let by_length: BTreeMap<Duration, Vec<&Lease>> =
        leases.iter().fold(BTreeMap::new(), |mut lengths, lease| {
            lengths.entry(lease.lasts).or_default().push(lease);
            lengths
        });
    for (lasts, leases) in by_length {
        let ours = leases
            .iter()
            .fold(Condition::any(), |any, lease| any.add(lease.is_ours()));
        let update = Query::update()
            .table(job::Entity)
            .value(job::Column::LeaseUntil, clock::after(database, lasts))
            .value(job::Column::UpdatedAt, clock::now(database))
            .cond_where(Expr::col(job::Column::Id).in_subquery(in_order(database, ours.clone())))
            .cond_where(ours)
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
            let standing = match held.get(&lease.job_id) {
                None => Standing::Lost,
                Some(true) => Standing::CancelRequested,
                Some(false) => Standing::Held,
            };
            (lease.job_id, standing)
        })
        .collect())
}

/// Ends a job well. In the transaction that writes its result, after [`Lease::fence`].
pub async fn finish(transaction: &impl ConnectionTrait, lease: &Lease) -> Result<(), DbErr> {
    let update = lease.update(transaction);
    lease.give_up(transaction, update, JobState::Done).await
}

/// Ends an attempt badly: back to `queued` with backoff (`Some(ring)`), or to `failed` when the
/// attempts are used up or `retry` is none. In a transaction, after [`Lease::fence`].
///
/// `retry` is the least wait before the next attempt: a provider's limit lasts longer than the
/// ledger's own backoff.
///
/// A job that somebody asked to cancel meanwhile is `cancelled` instead of tried again.
pub async fn fail(
    transaction: &impl ConnectionTrait,
    lease: &Lease,
    error: &str,
    retry: Option<Duration>,
    settings: &LedgerSettings,
) -> Result<Option<Ring>, DbErr> {
    let mut update = lease.update(transaction);
    update.value(job::Column::LastError, attempts::storable(error));
    let Some(least) = retry.filter(|_| lease.attempt < lease.max_attempts) else {
        lease.give_up(transaction, update, JobState::Failed).await?;
        return Ok(None);
    };
    if is_cancel_requested(transaction, lease).await? {
        lease
            .give_up(transaction, update, JobState::Cancelled)
            .await?;
        return Ok(None);
    }
    let delay = attempts::backoff(
        settings.backoff,
        lease.attempt,
        rand::random_range(0.8..1.2),
    )
    .max(least);
    update
        .value(job::Column::AvailableAt, clock::after(transaction, delay))
        // The sweeper rings as soon as it is due.
        .value(job::Column::RungAt, None::<DateTimeUtc>);
    lease.give_up(transaction, update, JobState::Queued).await?;
    Ok(Some(lease.ring()))
}

/// Ends a job as cancelled. In a transaction, after [`Lease::fence`].
pub async fn cancelled(transaction: &impl ConnectionTrait, lease: &Lease) -> Result<(), DbErr> {
    let update = lease.update(transaction);
    lease
        .give_up(transaction, update, JobState::Cancelled)
        .await
}

/// Gives a job back unfinished at shutdown: `queued` at once, and the attempt not counted. In a
/// transaction, after [`Lease::fence`].
pub async fn hand_back(transaction: &impl ConnectionTrait, lease: &Lease) -> Result<Ring, DbErr> {
    let mut update = lease.update(transaction);
    update
        .value(job::Column::Attempt, Expr::col(job::Column::Attempt).sub(1))
        .value(job::Column::AvailableAt, clock::now(transaction))
        .value(job::Column::RungAt, None::<DateTimeUtc>);
    lease.give_up(transaction, update, JobState::Queued).await?;
    Ok(lease.ring())
}

/// Asks for all unfinished jobs of a task to be cancelled: queued ones are `cancelled` at once,
/// leased ones are marked for their worker. Returns how many are still leased.
///
/// What follows an earlier end of the task ([`AFTERWARDS`]) goes on, and is not counted.
///
/// Before anything of the task or its runs is written in the same transaction, because rows are
/// locked in the order job, run, task.
pub async fn request_cancel(
    transaction: &impl ConnectionTrait,
    task: TaskId,
) -> Result<u64, DbErr> {
    let unfinished = || {
        Condition::all()
            .add(Expr::col(job::Column::TaskId).eq(task))
            .add(Expr::col(job::Column::State).is_in([JobState::Queued, JobState::Leased]))
            .add(Expr::col(job::Column::Kind).is_not_in(AFTERWARDS))
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
        .cond_where(Expr::col(job::Column::Id).in_subquery(in_order(transaction, unfinished())))
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
