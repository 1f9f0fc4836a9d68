//! Holds what this worker works on: claims what it hears of, keeps the leases, cancels, settles
//! what became of it, and stops within the drain time.
//!
//! * A bell is only a hint. The worker also looks into the ledger by itself whenever a slot is
//!   free and nothing was heard, so a broken doorbell costs seconds and no job.
//! * A claimed job runs as a task of its own with a token that is cancelled when a user asked for
//!   it, the lease is lost, or the drain time is over. A stage that does not listen to its token is
//!   dropped after [`GRACE`], which kills the processes that it holds.
//! * A job that ends well has ended itself, in the last transaction of its stage. Every other end is
//!   written by [`settle`], behind the same fence.

mod settle;
mod rounds;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use agents::adapter::AgentAdapter;
use agents::sandbox::SandboxReport;
use async_trait::async_trait;
use entity::JobId;
use platform::connect::Platform;
use platform::notify::Subscriber;
use platform::queue::Notification;
use platform::queue::lease::{self, Lease};
use platform::telemetry::chain;
use sea_orm::DbErr;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::WorkerError;
use crate::job::{Job, StageError, Worker};
use crate::presence::Presences;
use crate::settings::WorkerSettings;
use crate::stages;

/// How long a cancelled stage may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);
/// How long the last writes of stopped jobs may take.
const LAST_WRITES: Duration = Duration::from_secs(15);

/// Why a job was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    CancelRequested,
    LeaseLost,
    Stopping,
}

/// A job that this worker works on.
struct Held {
    job: Job,
    why: Arc<OnceLock<Why>>,
    renewed: Instant,
}

impl Held {
    /// The first reason counts.
    fn stop(&self, why: Why) {
        let _ = self.why.set(why);
        self.job.cancel.cancel();
    }
}

pub(crate) struct Supervisor {
    worker: Arc<Worker>,
    queues: Vec<String>,
    slots: Arc<Semaphore>,
    held: Mutex<HashMap<JobId, Held>>,
    jobs: TaskTracker,
    /// A slot is free, or a bell was turned down: look into the ledger.
    look: Notify,
    heard: AtomicBool,
    stopping: AtomicBool,
    /// Itself, for the tasks that it starts.
    this: Weak<Supervisor>,
}

/// Says what agents are confined by.
fn tell(worker: &str, report: &SandboxReport) {
    let (kind, words) = (&report.kind, &report.words);
    if report.filesystem {
        info!(worker.name = %worker, sandbox.kind = %kind, "agents' sandbox: {words}");
    } else {
        warn!(
            worker.name = %worker, sandbox.kind = %kind,
            "agents' sandbox: {words}; their programs can read what this worker can"
        );
    }
}

/// Works until `stop`.
pub(crate) async fn supervise(
    settings: WorkerSettings,
    platform: Platform,
    adapters: Vec<Arc<dyn AgentAdapter>>,
    stop: CancellationToken,
) -> Result<(), WorkerError> {
    let sandbox = settings.agents.sandbox().map_err(|why| WorkerError {
        doing: "setting up the agents' sandbox",
        source: why.into(),
    })?;
    let judges = crate::judges::judges(&settings.judges).map_err(|source| WorkerError {
        doing: "setting up the judges",
        source: source.into(),
    })?;
    let queues = queues(&settings, &adapters);
    let drain = settings.drain;
    let name = settings.name.clone();
    tell(&name, &sandbox.report());
    let slots = Arc::new(Semaphore::new(settings.slots));
    let supervisor = Arc::new_cyclic(|this| Supervisor {
        worker: Arc::new(Worker {
            settings,
            platform,
            adapters,
            presences: Presences::default(),
            judges,
            tried_judges: crate::judges::TriedJudges::default(),
            sandbox,
        }),
        queues,
        slots,
        held: Mutex::default(),
        jobs: TaskTracker::new(),
        look: Notify::new(),
        heard: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        this: Weak::clone(this),
    });
    supervisor.beat().await.map_err(|source| WorkerError {
        doing: "announcing the worker",
        source: source.into(),
    })?;
    info!(worker.name = %name, "worker {name} serves {}", supervisor.queues.join(", "));

    let _last = LetGo(Arc::clone(&supervisor));
    let listening = stop.child_token();
    let mut rounds = JoinSet::new();
    rounds.spawn(listen(Arc::clone(&supervisor), listening.clone()));
    rounds.spawn(rounds::watch(Arc::clone(&supervisor)));
    rounds.spawn(rounds::renew(Arc::clone(&supervisor)));
    rounds.spawn(rounds::rescue(Arc::clone(&supervisor)));
    rounds.spawn(rounds::look(Arc::clone(&supervisor)));
    rounds.spawn(rounds::beat(Arc::clone(&supervisor)));

    stop.cancelled().await;
    supervisor.stopping.store(true, Ordering::SeqCst);
    supervisor.jobs.close();
    let busy = supervisor.held().len();
    info!(worker.name = %name, "worker {name} stops; {busy} jobs may still finish");
    if tokio::time::timeout(drain, supervisor.jobs.wait())
        .await
        .is_err()
    {
        for held in supervisor.held().values() {
            held.stop(Why::Stopping);
        }
        if tokio::time::timeout(LAST_WRITES, supervisor.jobs.wait())
            .await
            .is_err()
        {
            warn!(worker.name = %name, "jobs that would not stop are left to their leases");
        }
    }
    rounds.shutdown().await;
    if let Err(error) = supervisor.leave().await {
        warn!(worker.name = %name, error = chain(&error), "the worker's row stays");
    }
    Ok(())
}

/// Whoever drops a worker in the middle loses its leases, and no process may outlive that.
struct LetGo(Arc<Supervisor>);

impl Drop for LetGo {
    fn drop(&mut self) {
        for held in self.0.held().values() {
            held.stop(Why::LeaseLost);
        }
    }
}

/// The queues that a worker serves: those it was told, or all that it can.
fn queues(settings: &WorkerSettings, adapters: &[Arc<dyn AgentAdapter>]) -> Vec<String> {
    if !settings.queues.is_empty() {
        return settings.queues.clone();
    }
    let stages = ["prepare", "judge", "finish", "webhook"].map(str::to_owned);
    let runs = adapters
        .iter()
        .map(|adapter| format!("run:{}", adapter.profile().name));
    stages.into_iter().chain(runs).collect()
}

/// Hears bells, and goes on hearing when the doorbell breaks.
async fn listen(supervisor: Arc<Supervisor>, stop: CancellationToken) {
    const PAUSE: Duration = Duration::from_secs(2);
    let hear: Arc<dyn Subscriber> = Arc::<Supervisor>::clone(&supervisor);
    while !stop.is_cancelled() {
        let ended = supervisor
            .worker
            .platform
            .notifier
            .subscribe(
                &supervisor.worker.settings.name,
                &supervisor.queues,
                Arc::clone(&supervisor.slots),
                Arc::clone(&hear),
                stop.clone(),
            )
            .await;
        if stop.is_cancelled() {
            return;
        }
        match ended {
            Ok(()) => warn!("the doorbell fell silent; it is listened to again"),
            Err(error) => warn!(error = chain(&error), "the doorbell cannot be heard"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

#[async_trait]
impl Subscriber for Supervisor {
    async fn notified(&self, ring: Notification) -> Result<(), DbErr> {
        self.heard.store(true, Ordering::Relaxed);
        self.try_claim(&ring).await.map(|_| ())
    }
}

impl Supervisor {
    fn held(&self) -> MutexGuard<'_, HashMap<JobId, Held>> {
        // Nothing that can panic runs under this lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a job and starts it, if there is a slot and nobody was faster.
    async fn try_claim(&self, ring: &Notification) -> Result<bool, DbErr> {
        if self.stopping.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return Ok(false);
        };
        let platform = &self.worker.platform;
        let owner = &self.worker.settings.name;
        match lease::claim(&platform.database, ring, owner, &platform.queue).await? {
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
        let job = Job {
            lease,
            cancel: CancellationToken::new(),
        };
        let why = Arc::new(OnceLock::new());
        let held = Held {
            job: job.clone(),
            why: Arc::clone(&why),
            renewed: Instant::now(),
        };
        let Some(supervisor) = self.this.upgrade() else {
            return;
        };
        self.held().insert(job_id, held);
        self.jobs.spawn(
            async move {
                let result = perform(Arc::clone(&supervisor.worker), &job).await;
                let why = why.get().copied();
                settle::settle(&supervisor.worker, &job, why, result).await;
                supervisor.held().remove(&job_id);
                drop(slot);
                supervisor.look.notify_one();
            }
            .instrument(span),
        );
    }
}

/// Runs the stage of a job in a task of its own, so that a panic ends this job and no other.
async fn perform(worker: Arc<Worker>, job: &Job) -> Result<(), StageError> {
    let stage_job = job.clone();
    let mut stage = tokio::spawn(
        async move { stages::perform(&worker, &stage_job).await }
            .instrument(tracing::Span::current()),
    );
    let over = async {
        job.cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let ended = tokio::select! {
        ended = &mut stage => ended,
        () = over => {
            debug!("the stage does not stop by itself");
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
            Err(StageError::passing(
                "the stage panicked",
                std::io::Error::other(message.to_owned()),
            ))
        }
        Err(_) => Err(StageError::Cancelled),
    }
}
