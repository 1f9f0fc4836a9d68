//! Claiming, renewing and ending work: the only writer of `job` rows.
//!
//! A claim is a compare-and-set that bumps the epoch. Whoever wants to write on behalf of a job
//! does it in a transaction that begins with [`Lease::fence`]: a worker that has lost its lease
//! cannot change anything any more.

use std::time::Duration;

use entity::{JobId, TaskId};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};

use super::{Ring, Work};

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
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            renew: Duration::from_secs(10),
            max_attempts: 3,
            backoff: Duration::from_secs(2),
        }
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
    pub async fn fence(&self, _transaction: &impl ConnectionTrait) -> Result<(), FenceError> {
        Err(FenceError::LeaseLost {
            job_id: self.job_id,
            epoch: self.epoch,
        })
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

/// Claims the job of a ring. None: somebody else has it, it is not due, cancelled, or gone.
pub async fn claim(
    _database: &DatabaseConnection,
    _ring: &Ring,
    _owner: &str,
    _settings: &LedgerSettings,
) -> Result<Option<Lease>, DbErr> {
    Ok(None)
}

/// How the leases of this worker stand, in one query; extends those that are held.
pub async fn renew(
    _database: &DatabaseConnection,
    _leases: &[Lease],
) -> Result<Vec<(JobId, Standing)>, DbErr> {
    Ok(Vec::new())
}

/// Ends a job well. In the transaction that writes its result, after [`Lease::fence`].
pub async fn finish(_transaction: &impl ConnectionTrait, _lease: &Lease) -> Result<(), DbErr> {
    Ok(())
}

/// Ends an attempt badly: back to `queued` with backoff (`Some(ring)`), or to `failed` when the
/// attempts are used up or `retry` is false. In a transaction, after [`Lease::fence`].
pub async fn fail(
    _transaction: &impl ConnectionTrait,
    _lease: &Lease,
    _error: &str,
    _retry: bool,
    _settings: &LedgerSettings,
) -> Result<Option<Ring>, DbErr> {
    Ok(None)
}

/// Ends a job as cancelled. In a transaction, after [`Lease::fence`].
pub async fn cancelled(_transaction: &impl ConnectionTrait, _lease: &Lease) -> Result<(), DbErr> {
    Ok(())
}

/// Gives a job back unfinished at shutdown: `queued` at once, and the attempt not counted. In a
/// transaction, after [`Lease::fence`].
pub async fn hand_back(_transaction: &impl ConnectionTrait, _lease: &Lease) -> Result<Ring, DbErr> {
    Err(DbErr::Custom("not yet".to_owned()))
}

/// Asks for all unfinished jobs of a task to be cancelled: queued ones are `cancelled` at once,
/// leased ones are marked for their worker. Returns how many are still leased.
pub async fn request_cancel(
    _transaction: &impl ConnectionTrait,
    _task: TaskId,
) -> Result<u64, DbErr> {
    Ok(0)
}
