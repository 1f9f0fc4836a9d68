//! Runs one agent through one trial: what every phase is given, and the order of the phases.
//!
//! What a run leaves behind is stored as it happens; what it can go on from is a checkpoint after
//! the teaching and one after the break. A later attempt goes on from the last checkpoint where the
//! adapter can resume its sessions, else it starts over.

use std::sync::Arc;

use agents::adapter::{AgentAdapter, Presence};
use agents::adapters;
use chrono::Utc;
use domain::vocabulary::{Arm, Level, RunStatus, TaskStatus};
use entity::{ProbeId, RunId, TaskId, agent_run, answer, probe, task};
use evaluation::probe::Probe;
use platform::artifacts;
use platform::events::Event;
use platform::queue::{self, Work, lease};
use platform::telemetry::chain;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::json;
use tracing::{info, warn};

use super::prepare::end_job;
use crate::job::{Job, StageError, Who, Worker};
use crate::material::{MATERIAL, Material};
use crate::phases::checkpoint::{Saved, Stage};
use crate::phases::manifest::SetUp;
use crate::phases::running::{Broken, Running, Session, phase};
use crate::phases::{arms, breaking, deep_dive, open, recall, study};
use results::run_stats::Bill;

pub(crate) async fn run_agent(
    worker: &Arc<Worker>,
    job: &Job,
    task_id: TaskId,
    run_id: RunId,
) -> Result<(), StageError> {
    let database = &worker.platform.database;
    let task = task::Entity::find_by_id(task_id).one(database).await?;
    let run = agent_run::Entity::find_by_id(run_id).one(database).await?;
    let (Some(task), Some(run)) = (task, run) else {
        warn!("there is no run {run_id} any more");
        return end_job(worker, job).await;
    };
    if run.status.is_final() {
        return end_job(worker, job).await;
    }
    if task.status == TaskStatus::Cancelled {
        return Err(StageError::Cancelled);
    }
    let adapter = adapters::adapter_for(&worker.adapters, &run.agent)?;
    let (version, program) = match worker.presences.of(&adapter).await {
        Presence::Installed { version, program } => (version, program),
        Presence::Missing { why, fix } => {
            return Err(StageError::harness(format!(
                "{} cannot be run: {why} ({fix})",
                adapter.profile().display_name
            )));
        }
    };
    let model = worker.settings.agents.model(adapter.profile());
    let set_up = SetUp {
        worker,
        task: &task,
        profile: adapter.profile(),
        version: &version,
        model: model.as_deref(),
    };
    let saved = saved(worker, &run, adapter.as_ref(), &set_up).await?;
    begin_attempt(worker, job, &task, &run, &version, model, saved.as_ref()).await?;
    let material = material(worker, task_id).await?;
    let probes = probes(worker, task_id).await?;
    let mut running = Running::begin(
        Arc::clone(worker),
        job.clone(),
        task,
        run,
        adapter,
        version,
        material,
        probes,
    )
    .await?;
    running.keep_manifest(&program).await?;

    let limit = worker.settings.run_timeout;
    let result = tokio::select! {
        result = phases(&mut running, saved) => result,
        () = tokio::time::sleep(limit) => Err(StageError::budget(format!(
            "the run took longer than {} s (TASK_TIMEOUT_SECONDS)",
            limit.as_secs()
        ))),
    };
    let result = match result {
        Ok(()) => end_well(&mut running).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result
        && !matches!(error, StageError::LeaseLost)
    {
        if let Err(error) = running.lose_bill().await {
            warn!(run.id = %run_id, error = chain(&error), "the bill of a failed run stays partial");
        }
        if let Err(error) = running.keep_streams().await {
            warn!(run.id = %run_id, error = chain(&error), "the streams of a failed run are lost");
        }
    }
    running.end().await;
    result
}

/// Where a run goes on.
enum Next {
    /// To its next break.
    Dive(Session),
    /// After a break: with the questions.
    Ask(Broken),
}

/// The phases in their order; from the deep dive to the post arm once per break.
async fn phases(running: &mut Running, saved: Option<Saved>) -> Result<(), StageError> {
    let mut next = begin(running, saved).await?;
    loop {
        let mut broken = match next {
            Next::Ask(broken) => broken,
            Next::Dive(main) => match deep_dive::dive(running, main).await? {
                breaking::Dive::Broke(broken) => broken,
                // The breaks that there were are measured.
                breaking::Dive::NoBreak if running.breaks.is_empty() => return Ok(()),
                breaking::Dive::NoBreak => {
                    running.seal().await?;
                    break;
                }
            },
        };
        running.seal().await?;
        if let Some(mut snapshot) = broken.snapshot.take() {
            arms::baseline(running, &mut snapshot).await?;
            recall::recall(running, &mut snapshot, Arm::Baseline).await?;
            open::ask(running, &mut snapshot, Arm::Baseline).await?;
            snapshot.close().await;
        }
        if running.forks() {
            recall::recall(running, &mut broken.main, Arm::Post).await?;
            open::ask(running, &mut broken.main, Arm::Post).await?;
            arms::post(running, &mut broken.main).await?;
        } else {
            // What it says of its own accord must not help it with the questions.
            arms::post(running, &mut broken.main).await?;
            recall::recall(running, &mut broken.main, Arm::Post).await?;
            open::ask(running, &mut broken.main, Arm::Post).await?;
        }
        if running.break_index >= running.breaks_planned() {
            broken.main.close().await;
            break;
        }
        running.break_index += 1;
        running.unseal().await?;
        next = Next::Dive(broken.main);
    }
    let source = arms::cold(running).await?;
    open::cold(running, source).await
}

/// From the beginning, or from what an earlier attempt left.
async fn begin(running: &mut Running, saved: Option<Saved>) -> Result<Next, StageError> {
    match saved {
        Some(saved) if saved.stage == Stage::Broken => {
            let broken = running.resume_broken(&saved).await?;
            running.restore(saved);
            Ok(Next::Ask(broken))
        }
        Some(saved) => {
            running.fill_workspace().await?;
            let main = running.resume_taught(&saved).await?;
            running.restore(saved);
            Ok(Next::Dive(main))
        }
        None => {
            running.fill_workspace().await?;
            let main = study::study(running).await?;
            Ok(Next::Dive(deep_dive::teach(running, main).await?))
        }
    }
}

/// The last transaction of a run: everything is answered, the judge is next.
async fn end_well(running: &mut Running) -> Result<(), StageError> {
    running.keep_streams().await?;
    running.reach(4);
    running.reach(5);
    running.leave_phase().await?;
    let worker = Arc::clone(&running.worker);
    let transaction = worker.begin(&running.job).await?;
    agent_run::Entity::update_many()
        .set(agent_run::ActiveModel {
            status: Set(RunStatus::Judging),
            phase: Set(Some(phase::JUDGING.to_owned())),
            ..running.progress_row()
        })
        .filter(agent_run::Column::Id.eq(running.who.run))
        .exec(&transaction)
        .await?;
    let work = Work::JudgeRun {
        task: running.who.task,
        run: running.who.run,
    };
    let ring = queue::enqueue(&transaction, &work).await?;
    let started = running.who.event(
        Level::Info,
        Event::PhaseStarted {
            agent: running.who.agent.clone(),
            trial: running.who.trial,
            phase: phase::JUDGING.to_owned(),
        },
    );
    let redactor = &worker.platform.redactor;
    platform::events::append(&transaction, running.who.task, &[started], redactor).await?;
    let more = super::ending::follow_up(&transaction, running.who.task, redactor).await?;
    lease::finish(&transaction, &running.job.lease).await?;
    transaction.commit().await?;
    let rings: Vec<_> = std::iter::once(ring).chain(more).collect();
    worker.tell(running.who.task, &rings).await;
    info!(run.id = %running.who.run, "asked {} of run {}", running.who.agent, running.who.run);
    Ok(())
}

/// What an earlier attempt left to go on from, where the adapter can and nothing has changed since:
/// what one version was asked before the break is no baseline for another one after it.
async fn saved(
    worker: &Worker,
    run: &agent_run::Model,
    adapter: &dyn AgentAdapter,
    set_up: &SetUp<'_>,
) -> Result<Option<Saved>, StageError> {
    let Some(pointer) = &run.checkpoint else {
        return Ok(None);
    };
    if run.manifest.as_ref() != Some(&set_up.comparable()) {
        warn!(
            run.id = %run.id,
            "run {} was begun with another program, prompts or settings; it starts over", run.id
        );
        return Ok(None);
    }
    if !adapter.profile().capabilities.resume {
        return Ok(None);
    }
    let Some(name) = pointer.get("artifact").and_then(|name| name.as_str()) else {
        return Ok(None);
    };
    let database = &worker.platform.database;
    let found = artifacts::find(database, run.task_id, Some(run.id), name).await?;
    let Some(found) = found else {
        warn!(run.id = %run.id, "the checkpoint of run {} is gone; it starts over", run.id);
        return Ok(None);
    };
    let bytes = worker.platform.artifacts.get(&found).await?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// How often a run has been tried again. What failed, and what people had made again, is counted
/// already; a worker that was lost has counted nothing.
fn retries(so_far: i32, attempt: i32) -> i32 {
    so_far.max(attempt.saturating_sub(1))
}

/// Marks the run as running. A run that starts over forgets what an earlier attempt measured, but not
/// what it cost.
async fn begin_attempt(
    worker: &Worker,
    job: &Job,
    task: &task::Model,
    run: &agent_run::Model,
    version: &str,
    model: Option<String>,
    saved: Option<&Saved>,
) -> Result<(), StageError> {
    let who = Who::of(run);
    let attempt = u32::try_from(job.lease.attempt).unwrap_or_default();
    let now = Utc::now();
    let broken = saved.is_some_and(|saved| saved.stage == Stage::Broken);
    let mut change = agent_run::ActiveModel {
        status: Set(RunStatus::Running),
        agent_version: Set(Some(version.to_owned())),
        model: Set(model),
        retry_count: Set(retries(run.retry_count, job.lease.attempt)),
        started_at: Set(Some(run.started_at.unwrap_or(now))),
        updated_at: Set(now),
        failure_cause: Set(None),
        error_message: Set(None),
        ..Default::default()
    };
    if !broken {
        change.breaks = Set(json!([]));
        change.compression_detected = Set(false);
        change.seal_broken = Set(false);
    }
    if saved.is_none() {
        change.milestones = Set(json!({}));
        // What was spent stays spent.
        change.stats = Set(json!({"bill": Bill::after(&run.stats)}));
        change.checkpoint = Set(None);
    }
    let event = match saved {
        None => Event::RunStarted {
            agent: who.agent.clone(),
            trial: who.trial,
            attempt,
        },
        Some(saved) => Event::RunResumed {
            agent: who.agent.clone(),
            trial: who.trial,
            attempt,
            from: saved.stage.as_str().to_owned(),
        },
    };
    let transaction = worker.begin(job).await?;
    agent_run::Entity::update_many()
        .set(change)
        .filter(agent_run::Column::Id.eq(run.id))
        .exec(&transaction)
        .await?;
    if !broken {
        answer::Entity::delete_many()
            .filter(answer::Column::RunId.eq(run.id))
            .exec(&transaction)
            .await?;
    }
    let redactor = &worker.platform.redactor;
    let event = who.event(Level::Info, event);
    platform::events::append(&transaction, task.id, &[event], redactor).await?;
    transaction.commit().await?;
    worker.tell(task.id, &[]).await;
    Ok(())
}

pub(crate) async fn material(worker: &Worker, task: TaskId) -> Result<Material, StageError> {
    let found = artifacts::find(&worker.platform.database, task, None, MATERIAL)
        .await?
        .ok_or_else(|| StageError::harness("what was prepared for the task is gone"))?;
    let bytes = worker.platform.artifacts.get(&found).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

async fn probes(worker: &Worker, task: TaskId) -> Result<Vec<(ProbeId, Probe)>, StageError> {
    let rows = probe::Entity::find()
        .filter(probe::Column::TaskId.eq(task))
        .order_by_asc(probe::Column::Position)
        .all(&worker.platform.database)
        .await?;
    rows.into_iter()
        .map(|row| Ok((row.id, serde_json::from_value(row.spec)?)))
        .collect()
}
