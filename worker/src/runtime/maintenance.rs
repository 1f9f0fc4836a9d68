//! Periodic work: renew leases, watch for cancellations, rescue lost jobs, poll for jobs, and send
//! heartbeats.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::Utc;
use domain::vocabulary::{FailureCause, JobKind, JobState};
use entity::{JobId, agent_run, job, worker};
use platform::queue::lease::{self, Renewal};
use platform::queue::{Notification, Work, rescuer};
use platform::telemetry::chain;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, TransactionTrait,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::host::host_name;
use crate::job_error::JobError;
use crate::lifecycle::RunEnd;
use crate::runtime::completion::end_work;
use crate::runtime::held_job::StopReason;
use crate::runtime::supervisor::Supervisor;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);
const RESCUE_INTERVAL: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Number of rescues between two clean-ups of the notifier.
const RESCUES_PER_TRIM: u64 = 60;
/// Age at which the row of a dead worker is deleted.
const FORGET_AFTER: chrono::Duration = chrono::Duration::days(1);
/// Maximum number of due jobs that one poll considers.
const POLL_LIMIT: u64 = 200;

fn ticker(every: Duration) -> tokio::time::Interval {
    // An interval of zero would panic.
    let mut ticks = interval(every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Stops jobs that were cancelled or that another worker owns.
pub(super) async fn watch(supervisor: Arc<Supervisor>) {
    let mut ticks = ticker(WATCH_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = supervisor.watch().await {
            warn!(
                error = chain(&error),
                "could not check jobs for cancellation"
            );
        }
    }
}

/// Renews the leases.
pub(super) async fn renew(supervisor: Arc<Supervisor>) {
    let mut ticks = ticker(supervisor.worker.platform.queue.renew);
    loop {
        ticks.tick().await;
        supervisor.renew().await;
    }
}

/// Rescues lost work, whichever worker lost it.
pub(super) async fn rescue(supervisor: Arc<Supervisor>) {
    let mut ticks = ticker(RESCUE_INTERVAL);
    let mut rescues = 0_u64;
    loop {
        ticks.tick().await;
        if let Err(error) = supervisor.rescue(rescues).await {
            warn!(error = chain(&error), "could not rescue lost jobs");
        }
        rescues += 1;
    }
}

/// Polls for due jobs without a notification.
pub(super) async fn poll(supervisor: Arc<Supervisor>) {
    let mut ticks = ticker(POLL_INTERVAL);
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            () = supervisor.poll_now.notified() => true,
        };
        // While notifications arrive, a poll would only cost a query.
        if supervisor.notified.swap(false, Ordering::Relaxed) && !asked {
            continue;
        }
        if let Err(error) = supervisor.claim_due_jobs().await {
            warn!(error = chain(&error), "could not poll for jobs");
        }
    }
}

/// Sends heartbeats.
pub(super) async fn heartbeat(supervisor: Arc<Supervisor>) {
    let mut ticks = ticker(HEARTBEAT_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = supervisor.heartbeat().await {
            warn!(error = chain(&error), "could not send a heartbeat");
        }
    }
}

impl Supervisor {
    async fn watch(&self) -> Result<(), DbErr> {
        let ours: HashMap<JobId, i64> = self
            .held()
            .iter()
            .map(|(id, held)| (*id, held.job.lease.epoch))
            .collect();
        if ours.is_empty() {
            return Ok(());
        }
        let rows: Vec<(JobId, i64, JobState, bool)> = job::Entity::find()
            .select_only()
            .columns([
                job::Column::Id,
                job::Column::Epoch,
                job::Column::State,
                job::Column::CancelRequested,
            ])
            .filter(job::Column::Id.is_in(ours.keys().copied()))
            .into_tuple()
            .all(&self.worker.platform.database)
            .await?;
        let held = self.held();
        for id in ours.keys() {
            let Some(held) = held.get(id) else { continue };
            match rows.iter().find(|row| row.0 == *id) {
                Some((_, epoch, JobState::Leased, cancel)) if *epoch == held.job.lease.epoch => {
                    if *cancel {
                        held.stop(StopReason::CancelRequested);
                    }
                }
                Some(_) | None => held.stop(StopReason::LeaseLost),
            }
        }
        Ok(())
    }

    async fn renew(&self) {
        let leases: Vec<_> = self
            .held()
            .values()
            .map(|held| held.job.lease.clone())
            .collect();
        if leases.is_empty() {
            return;
        }
        let asked = Instant::now();
        let standings = lease::renew(&self.worker.platform.database, &leases).await;
        let mut held = self.held();
        match standings {
            Ok(standings) => {
                for (id, standing) in standings {
                    let Some(held) = held.get_mut(&id) else {
                        continue;
                    };
                    match standing {
                        Renewal::Held => held.renewed = asked,
                        Renewal::CancelRequested => {
                            held.renewed = asked;
                            held.stop(StopReason::CancelRequested);
                        }
                        Renewal::Lost => held.stop(StopReason::LeaseLost),
                    }
                }
            }
            Err(error) => {
                warn!(error = chain(&error), "could not renew leases");
                // A lease that could not be renewed in time belongs to another worker by now.
                for held in held.values() {
                    if held.renewed.elapsed() >= held.job.lease.duration {
                        held.stop(StopReason::LeaseLost);
                    }
                }
            }
        }
    }

    async fn rescue(&self, rescues: u64) -> Result<(), DbErr> {
        let platform = &self.worker.platform;
        let rescued = rescuer::rescue(&platform.database, &platform.queue).await?;
        if !rescued.notify.is_empty()
            && let Err(error) = platform.notifier.notify(&rescued.notify).await
        {
            debug!(
                error = chain(&error),
                "could not notify workers; polling instead"
            );
            self.poll_now.notify_one();
        }
        let mut ends = Vec::with_capacity(rescued.failed.len() + rescued.cancelled.len());
        for work in &rescued.failed {
            ends.push((work, self.failure_of(work).await?));
        }
        ends.extend(
            rescued
                .cancelled
                .iter()
                .map(|work| (work, RunEnd::Cancelled)),
        );
        for (work, end) in ends {
            if let Err(error) = self.end_lost_work(work, &end).await {
                warn!(
                    error = chain(&error),
                    "could not write the end of {}",
                    work.key()
                );
            }
        }
        if rescues.is_multiple_of(RESCUES_PER_TRIM)
            && let Err(error) = platform.notifier.trim().await
        {
            debug!(error = chain(&error), "could not clean up the notifier");
        }
        Ok(())
    }

    /// Ends the run or the task of a job that ended without a worker: its last lease expired, or it
    /// was cancelled while it was queued.
    async fn end_lost_work(&self, work: &Work, end: &RunEnd) -> Result<(), JobError> {
        let (task, run) = match work {
            Work::PrepareTask { task }
            | Work::FinishTask { task }
            | Work::JudgeTask { task, .. }
            | Work::DeliverWebhook { task, .. } => (*task, None),
            Work::RunAgent { task, run, .. } | Work::JudgeRun { task, run } => (*task, Some(*run)),
        };
        let transaction = self.worker.platform.database.begin().await?;
        // Every writing transaction begins with a write.
        let mut touch = agent_run::Entity::update_many()
            .set(agent_run::ActiveModel {
                updated_at: Set(Utc::now()),
                ..Default::default()
            })
            .filter(agent_run::Column::TaskId.eq(task));
        if let Some(run) = run {
            touch = touch.filter(agent_run::Column::Id.eq(run));
        }
        touch.exec(&transaction).await?;
        let notifications = end_work(&self.worker, &transaction, work, end).await?;
        transaction.commit().await?;
        self.worker.notify(task, &notifications).await;
        Ok(())
    }

    /// Returns the failure of a job that has no attempts left.
    async fn failure_of(&self, work: &Work) -> Result<RunEnd, DbErr> {
        let found: Option<(i32, Option<String>)> = job::Entity::find()
            .select_only()
            .columns([job::Column::Attempt, job::Column::LastError])
            .filter(job::Column::WorkKey.eq(work.key()))
            .into_tuple()
            .one(&self.worker.platform.database)
            .await?;
        let (attempts, last) = found.unwrap_or_default();
        let last = last.unwrap_or_else(|| "its worker was lost".to_owned());
        Ok(RunEnd::Failed {
            cause: FailureCause::Harness,
            message: format!("gave up after {attempts} attempts: {last}"),
        })
    }

    /// Claims due jobs of our queues while slots are free. Jobs that end tasks go first: they are
    /// short, and others wait for them.
    async fn claim_due_jobs(&self) -> Result<(), DbErr> {
        if self.slots.available_permits() == 0 || self.stopping.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut jobs: Vec<(JobId, String, i64, JobKind)> = job::Entity::find()
            .select_only()
            .columns([
                job::Column::Id,
                job::Column::Queue,
                job::Column::Epoch,
                job::Column::Kind,
            ])
            .filter(job::Column::State.eq(JobState::Queued))
            .filter(job::Column::Queue.is_in(self.queues.iter().map(String::as_str)))
            .filter(job::Column::AvailableAt.lte(Utc::now()))
            .order_by_asc(job::Column::AvailableAt)
            .limit(POLL_LIMIT)
            .into_tuple()
            .all(&self.worker.platform.database)
            .await?;
        jobs.sort_by_key(|(_, _, _, kind)| match kind {
            JobKind::FinishTask => 0,
            JobKind::JudgeRun | JobKind::JudgeTask | JobKind::DeliverWebhook => 1,
            JobKind::PrepareTask => 2,
            JobKind::RunAgent => 3,
        });
        for (job_id, queue, epoch, _) in jobs {
            if self.slots.available_permits() == 0 {
                break;
            }
            let notification = Notification {
                queue,
                job_id,
                epoch,
            };
            self.try_claim(&notification).await?;
        }
        Ok(())
    }

    /// Writes the worker's row.
    pub(super) async fn heartbeat(&self) -> Result<(), JobError> {
        let settings = &self.worker.settings;
        let agents = self
            .worker
            .availability
            .check_all(&self.worker.adapters)
            .await;
        let now = Utc::now();
        let busy = self.held().len();
        let row = worker::ActiveModel {
            name: Set(settings.name.clone()),
            host: Set(host_name()),
            started_at: Set(now),
            seen_at: Set(now),
            queues: Set(serde_json::to_value(&self.queues)?),
            slots: Set(i32::try_from(settings.slots).unwrap_or(i32::MAX)),
            busy: Set(i32::try_from(busy).unwrap_or(i32::MAX)),
            agents: Set(serde_json::to_value(agents)?),
        };
        let database = &self.worker.platform.database;
        worker::Entity::insert(row)
            .on_conflict(
                OnConflict::column(worker::Column::Name)
                    .update_columns([
                        worker::Column::SeenAt,
                        worker::Column::Queues,
                        worker::Column::Slots,
                        worker::Column::Busy,
                        worker::Column::Agents,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(database)
            .await?;
        Ok(())
    }

    /// Deletes the worker's row, and the rows of workers that died long ago.
    pub(super) async fn remove_worker_row(&self) -> Result<(), DbErr> {
        worker::Entity::delete_many()
            .filter(
                Condition::any()
                    .add(worker::Column::Name.eq(self.worker.settings.name.as_str()))
                    .add(worker::Column::SeenAt.lt(Utc::now() - FORGET_AFTER)),
            )
            .exec(&self.worker.platform.database)
            .await?;
        Ok(())
    }
}
