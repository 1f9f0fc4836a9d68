//! Holds what this worker works on: claims what it hears of, keeps the leases, cancels, settles
//! what became of it, and stops within the drain time.
//!
//! * A bell is only a hint. The worker also looks into the ledger by itself whenever a slot is
//!   free and nothing was notified, so a broken doorbell costs seconds and no job.
//! * A claimed job runs as a task of its own with a token that is cancelled when a user asked for
//!   it, the lease is lost, or the drain time is over. A stage that does not listen to its token is
//!   dropped after [`GRACE`], which kills the processes that it holds.
//! * A job that ends well has ended itself, in the last transaction of its stage. Every other end is
//!   written by [`settle`], behind the same fence.

pub(crate) mod agent_availability;
mod completion;
mod held_job;
mod maintenance;
mod supervisor;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use agents::adapter::AgentAdapter;
use agents::sandbox::SandboxReport;
use platform::connect::Platform;
use platform::notify::Subscriber;
use platform::telemetry::chain;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::error::WorkerError;
use crate::job_context::Worker;
use crate::judges::battery::BatteryCache;
use crate::runtime::agent_availability::AgentAvailability;
use crate::runtime::held_job::StopReason;
use crate::runtime::maintenance::{heartbeat, poll, renew, rescue, watch};
use crate::runtime::supervisor::Supervisor;
use crate::settings::WorkerSettings;

/// How long the last writes of stopped jobs may take.
const LAST_WRITES_TIMEOUT: Duration = Duration::from_secs(15);

/// Says what agents are confined by.
fn log_sandbox(worker: &str, report: &SandboxReport) {
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
    log_sandbox(&name, &sandbox.report());
    let slots = Arc::new(Semaphore::new(settings.slots));
    let supervisor = Arc::new_cyclic(|this| Supervisor {
        worker: Arc::new(Worker {
            settings,
            platform,
            adapters,
            availability: AgentAvailability::default(),
            judges,
            batteries: BatteryCache::default(),
            sandbox,
        }),
        queues,
        slots,
        held: Mutex::default(),
        jobs: TaskTracker::new(),
        poll_now: Notify::new(),
        notified: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        this: Weak::clone(this),
    });
    supervisor.heartbeat().await.map_err(|source| WorkerError {
        doing: "announcing the worker",
        source: source.into(),
    })?;
    info!(worker.name = %name, "worker {name} serves {}", supervisor.queues.join(", "));

    let _last = StopOnDrop(Arc::clone(&supervisor));
    let listening = stop.child_token();
    let mut tasks = JoinSet::new();
    tasks.spawn(listen(Arc::clone(&supervisor), listening.clone()));
    tasks.spawn(watch(Arc::clone(&supervisor)));
    tasks.spawn(renew(Arc::clone(&supervisor)));
    tasks.spawn(rescue(Arc::clone(&supervisor)));
    tasks.spawn(poll(Arc::clone(&supervisor)));
    tasks.spawn(heartbeat(Arc::clone(&supervisor)));

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
            held.stop(StopReason::Stopping);
        }
        if tokio::time::timeout(LAST_WRITES_TIMEOUT, supervisor.jobs.wait())
            .await
            .is_err()
        {
            warn!(worker.name = %name, "jobs that would not stop are left to their leases");
        }
    }
    tasks.shutdown().await;
    if let Err(error) = supervisor.remove_worker_row().await {
        warn!(worker.name = %name, error = chain(&error), "the worker's row stays");
    }
    Ok(())
}

/// Whoever drops a worker in the middle loses its leases, and no process may outlive that.
struct StopOnDrop(Arc<Supervisor>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        for held in self.0.held().values() {
            held.stop(StopReason::LeaseLost);
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
    let subscriber: Arc<dyn Subscriber> = Arc::<Supervisor>::clone(&supervisor);
    while !stop.is_cancelled() {
        let ended = supervisor
            .worker
            .platform
            .notifier
            .subscribe(
                &supervisor.worker.settings.name,
                &supervisor.queues,
                Arc::clone(&supervisor.slots),
                Arc::clone(&subscriber),
                stop.clone(),
            )
            .await;
        if stop.is_cancelled() {
            return;
        }
        match ended {
            Ok(()) => warn!("the doorbell fell silent; it is listened to again"),
            Err(error) => warn!(error = chain(&error), "the doorbell cannot be notified"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
