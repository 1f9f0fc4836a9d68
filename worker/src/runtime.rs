//! The runtime of a worker: claims jobs, renews leases, cancels, completes, and stops within the
//! drain time.
//!
//! * A notification is only a hint. The worker also polls the queue whenever a slot is free and no
//!   notification arrived, so a broken notifier costs seconds and no job.
//! * A claimed job runs as a task of its own. Its token is cancelled if a user cancels the job, the
//!   lease is lost, or the drain time is over. A job that ignores its token is dropped after a
//!   grace period, which kills the processes that it holds.
//! * A job that succeeds completes itself in its last transaction. Every other end is written by
//!   [`completion`], behind the same fence.

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

/// Time limit of the last writes of stopped jobs.
const LAST_WRITES_TIMEOUT: Duration = Duration::from_secs(15);

/// Logs the confinement of agents.
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

/// Runs a worker until `stop` is cancelled.
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
    info!(worker.name = %name, "worker {name} is stopping; {busy} jobs may still finish");
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
            warn!(worker.name = %name, "jobs did not stop in time; their leases will expire");
        }
    }
    tasks.shutdown().await;
    if let Err(error) = supervisor.remove_worker_row().await {
        warn!(worker.name = %name, error = chain(&error), "could not delete the worker's row");
    }
    Ok(())
}

/// Stops all jobs when a worker is dropped: it loses its leases, and no process may outlive them.
struct StopOnDrop(Arc<Supervisor>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        for held in self.0.held().values() {
            held.stop(StopReason::LeaseLost);
        }
    }
}

/// Returns the queues that a worker serves: the configured ones, or all that it can.
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

/// Subscribes to notifications, and subscribes again when the subscription breaks.
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
            Ok(()) => warn!("the subscription to notifications ended; subscribing again"),
            Err(error) => warn!(
                error = chain(&error),
                "could not subscribe to notifications"
            ),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
