//! What a supervisor does again and again: renews leases, watches for cancellations, sweeps, looks
//! for work, and shows that it is alive.

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

use super::settle::end_work;
use super::{Supervisor, Why};
use crate::job::StageError;
use crate::stages::ending::RunEnd;

const WATCH: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(2);
const BEAT: Duration = Duration::from_secs(5);
/// Every so many sweeps the carrier of the doorbell is trimmed.
const SWEEPS_PER_TRIM: u64 = 60;
/// A worker that was not seen for so long is forgotten.
const FORGET: chrono::Duration = chrono::Duration::days(1);
/// How many waiting jobs are looked at in one look.
const LOOK_AT: u64 = 200;

fn ticks(every: Duration) -> tokio::time::Interval {
    // An interval of zero would panic.
    let mut ticks = interval(every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Stops jobs that are to be cancelled or are no longer ours.
pub(super) async fn watch(supervisor: Arc<Supervisor>) {
    let mut ticks = ticks(WATCH);
    loop {
        ticks.tick().await;
        if let Err(error) = supervisor.watch().await {
            warn!(
                error = chain(&error),
                "cannot see whether jobs are to be cancelled"
            );
        }
    }
}

/// Renews the leases.
pub(super) async fn renew(supervisor: Arc<Supervisor>) {
    let mut ticks = ticks(supervisor.worker.platform.queue.renew);
    loop {
        ticks.tick().await;
        supervisor.renew().await;
    }
}

/// Brings back what was lost, whoever lost it.
pub(super) async fn rescue(supervisor: Arc<Supervisor>) {
    let mut ticks = ticks(SWEEP);
    let mut sweeps = 0_u64;
    loop {
        ticks.tick().await;
        if let Err(error) = supervisor.rescue(sweeps).await {
            warn!(error = chain(&error), "the ledger cannot be swept");
        }
        sweeps += 1;
    }
}

/// Looks for work that no bell told of.
pub(super) async fn look(supervisor: Arc<Supervisor>) {
    let mut ticks = ticks(LOOK);
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            () = supervisor.look.notified() => true,
        };
        // Where bells are heard, a look of its own would only cost a query.
        if supervisor.heard.swap(false, Ordering::Relaxed) && !asked {
            continue;
        }
        if let Err(error) = supervisor.look_for_work().await {
            warn!(error = chain(&error), "cannot look for work");
        }
    }
}

/// Shows that the worker is alive.
pub(super) async fn beat(supervisor: Arc<Supervisor>) {
    let mut ticks = ticks(BEAT);
    loop {
        ticks.tick().await;
        if let Err(error) = supervisor.beat().await {
            warn!(
                error = chain(&error),
                "the worker cannot show that it is alive"
            );
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
                        held.stop(Why::CancelRequested);
                    }
                }
                Some(_) | None => held.stop(Why::LeaseLost),
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
                            held.stop(Why::CancelRequested);
                        }
                        Renewal::Lost => held.stop(Why::LeaseLost),
                    }
                }
            }
            Err(error) => {
                warn!(error = chain(&error), "leases cannot be renewed");
                // What nobody could renew is somebody else's by now.
                for held in held.values() {
                    if held.renewed.elapsed() >= held.job.lease.duration {
                        held.stop(Why::LeaseLost);
                    }
                }
            }
        }
    }

    async fn rescue(&self, sweeps: u64) -> Result<(), DbErr> {
        let platform = &self.worker.platform;
        let swept = rescuer::rescue(&platform.database, &platform.queue).await?;
        if !swept.notify.is_empty()
            && let Err(error) = platform.notifier.notify(&swept.notify).await
        {
            debug!(
                error = chain(&error),
                "the bell cannot be rung; work is looked for instead"
            );
            self.look.notify_one();
        }
        let mut ends = Vec::with_capacity(swept.failed.len() + swept.cancelled.len());
        for work in &swept.failed {
            ends.push((work, self.failure_of(work).await?));
        }
        ends.extend(swept.cancelled.iter().map(|work| (work, RunEnd::Cancelled)));
        for (work, end) in ends {
            if let Err(error) = self.end_forgotten(work, &end).await {
                warn!(
                    error = chain(&error),
                    "the end of {} cannot be written",
                    work.key()
                );
            }
        }
        if sweeps.is_multiple_of(SWEEPS_PER_TRIM)
            && let Err(error) = platform.notifier.trim().await
        {
            debug!(error = chain(&error), "the doorbell cannot be trimmed");
        }
        Ok(())
    }

    /// Ends the run or the task of a job that ended without them: its last lease ran out, or it was
    /// cancelled while nobody worked on it.
    async fn end_forgotten(&self, work: &Work, end: &RunEnd) -> Result<(), StageError> {
        let (task, run) = match work {
            Work::PrepareTask { task }
            | Work::FinishTask { task }
            | Work::JudgeTask { task, .. }
            | Work::DeliverWebhook { task, .. } => (*task, None),
            Work::RunAgent { task, run, .. } | Work::JudgeRun { task, run } => (*task, Some(*run)),
        };
        let transaction = self.worker.platform.database.begin().await?;
        // Begins with a write, as every writing transaction does.
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
        let rings = end_work(&self.worker, &transaction, work, end).await?;
        transaction.commit().await?;
        self.worker.tell(task, &rings).await;
        Ok(())
    }

    /// What a failed job died of.
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
            message: format!("given up after {attempts} attempts: {last}"),
        })
    }

    /// Claims what is due in our queues, as far as there are slots. What ends tasks goes first: it
    /// is short, and others wait for it.
    async fn look_for_work(&self) -> Result<(), DbErr> {
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
            .limit(LOOK_AT)
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
            let ring = Notification {
                queue,
                job_id,
                epoch,
            };
            self.try_claim(&ring).await?;
        }
        Ok(())
    }

    /// Writes the worker's row.
    pub(super) async fn beat(&self) -> Result<(), StageError> {
        let settings = &self.worker.settings;
        let agents = self.worker.presences.seen(&self.worker.adapters).await;
        let now = Utc::now();
        let busy = self.held().len();
        let row = worker::ActiveModel {
            name: Set(settings.name.clone()),
            host: Set(crate::host()),
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

    /// Takes the worker's row away, and those of workers that died long ago.
    pub(super) async fn leave(&self) -> Result<(), DbErr> {
        worker::Entity::delete_many()
            .filter(
                Condition::any()
                    .add(worker::Column::Name.eq(self.worker.settings.name.as_str()))
                    .add(worker::Column::SeenAt.lt(Utc::now() - FORGET)),
            )
            .exec(&self.worker.platform.database)
            .await?;
        Ok(())
    }
}
