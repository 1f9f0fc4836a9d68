//! The jobs that a worker holds: claims them, starts them, and records how they end.

use async_trait::async_trait;
use entity::JobId;
use platform::notify::Subscriber;
use platform::queue::Notification;
use platform::queue::lease::{self, Lease};
use sea_orm::DbErr;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span};

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;
use crate::runtime::completion::complete;
use crate::runtime::held_job::HeldJob;

/// Time that a cancelled job gets to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(3);

pub(crate) struct Supervisor {
    pub(super) worker: Arc<Worker>,
    pub(super) queues: Vec<String>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) held: Mutex<HashMap<JobId, HeldJob>>,
    pub(super) jobs: TaskTracker,
    /// Wakes the polling: a slot became free, or a notification failed.
    pub(super) poll_now: Notify,
    pub(super) notified: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// Reference to itself, for the tasks that it starts.
    pub(super) this: Weak<Supervisor>,
}

#[async_trait]
impl Subscriber for Supervisor {
    async fn notified(&self, notification: Notification) -> Result<(), DbErr> {
        self.notified.store(true, Ordering::Relaxed);
        self.try_claim(&notification).await.map(|_| ())
    }
}

impl Supervisor {
    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<JobId, HeldJob>> {
        // No code that can panic runs under this lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims and starts a job, if a slot is free and no other worker was faster.
    pub(super) async fn try_claim(&self, notification: &Notification) -> Result<bool, DbErr> {
        if self.stopping.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return Ok(false);
        };
        let platform = &self.worker.platform;
        let owner = &self.worker.settings.name;
        match lease::claim(&platform.database, notification, owner, &platform.queue).await? {
            Some(lease) => {
                self.start(lease, slot);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn start(&self, lease: Lease, slot: OwnedSemaphorePermit) {
        let job_id = lease.job_id;
        let span = info_span!(
            "job",
            job.id = %job_id,
            task.id = %lease.task_id,
            job.queue = lease.work.queue(),
            job.attempt = lease.attempt,
        );
        let job = ClaimedJob {
            lease,
            cancel: CancellationToken::new(),
        };
        let reason = Arc::new(OnceLock::new());
        let held = HeldJob {
            job: job.clone(),
            reason: Arc::clone(&reason),
            renewed: Instant::now(),
        };
        let Some(supervisor) = self.this.upgrade() else {
            return;
        };
        self.held().insert(job_id, held);
        self.jobs.spawn(
            async move {
                let result = perform(Arc::clone(&supervisor.worker), &job).await;
                let reason = reason.get().copied();
                complete(&supervisor.worker, &job, reason, result).await;
                supervisor.held().remove(&job_id);
                drop(slot);
                supervisor.poll_now.notify_one();
            }
            .instrument(span),
        );
    }
}

/// Performs a job in a task of its own, so that a panic ends only this job.
async fn perform(worker: Arc<Worker>, job: &ClaimedJob) -> Result<(), JobError> {
    let stage_job = job.clone();
    let mut stage = tokio::spawn(
        async move { crate::jobs::perform(&worker, &stage_job).await }
            .instrument(tracing::Span::current()),
    );
    let over = async {
        job.cancel.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    let ended = tokio::select! {
        ended = &mut stage => ended,
        () = over => {
            debug!("the job did not stop by itself");
            stage.abort();
            stage.await
        }
    };
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            let payload = error.into_panic();
            let message = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(JobError::transient(
                "the job panicked",
                std::io::Error::other(message.to_owned()),
            ))
        }
        Err(_) => Err(JobError::Cancelled),
    }
}
