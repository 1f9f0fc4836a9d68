//! Runs one agent through one trial: loads the inputs of the phases, and runs the phases in order.
//!
//! Results are stored as they arise. There is a checkpoint after the teaching and one after the
//! break. A later attempt continues from the last checkpoint if the adapter can resume its
//! sessions, and otherwise starts over.

use std::sync::Arc;

use agents::adapter::{AgentAdapter, Presence};
use agents::adapters;
use chrono::Utc;
use domain::vocabulary::{Arm, Level, RunStatus};
use entity::{RunId, TaskId, agent_run, answer, task};
use platform::events::Event;
use platform::queue::{self, Work, lease};
use platform::telemetry::chain;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;
use tracing::{info, warn};

use results::run_stats::Bill;

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;
use crate::jobs::unfinished_run::load_unfinished_run;
use crate::lifecycle::{end_job, follow_up};
use crate::material::load_material;
use crate::run::checkpoint::{SavedRun, SavedStage};
use crate::run::context::{BrokenSessions, RunContext, Session, phase};
use crate::run::manifest::RunSetup;
use crate::run::phases::arms::{ask_baseline, ask_cold, ask_post};
use crate::run::phases::break_::DiveResult;
use crate::run::phases::deep_dive::{read_until_break, teach};
use crate::run::phases::free_recall::ask_free_recall;
use crate::run::phases::open_questions::{ask_open_questions, ask_open_questions_cold};
use crate::run::phases::study::run_study;
use crate::run_identity::RunIdentity;
use crate::task_probes::load_probes;

pub(crate) async fn run_agent(
    worker: &Arc<Worker>,
    job: &ClaimedJob,
    task_id: TaskId,
    run_id: RunId,
) -> Result<(), JobError> {
    let Some((task, run)) = load_unfinished_run(worker, task_id, run_id).await? else {
        return end_job(worker, job).await;
    };
    let adapter = adapters::adapter_for(&worker.adapters, &run.agent)?;
    let (version, program) = match worker.availability.check(&adapter).await {
        Presence::Installed { version, program } => (version, program),
        Presence::Missing { why, fix } => {
            return Err(JobError::harness(format!(
                "{} is not available: {why} ({fix})",
                adapter.profile().display_name
            )));
        }
    };
    let model = worker.settings.agents.model(adapter.profile());
    let set_up = RunSetup {
        worker,
        task: &task,
        profile: adapter.profile(),
        version: &version,
        model: model.as_deref(),
    };
    let saved = load_checkpoint(worker, &run, adapter.as_ref(), &set_up).await?;
    start_attempt(worker, job, &task, &run, &version, model, saved.as_ref()).await?;
    let material = load_material(worker, task_id).await?;
    let probes = load_probes(worker, task_id).await?;
    let mut context = RunContext::start(
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
    context.store_manifest(&program).await?;

    let limit = worker.settings.run_timeout;
    let result = tokio::select! {
        result = run_phases(&mut context, saved) => result,
        () = tokio::time::sleep(limit) => Err(JobError::budget(format!(
            "the run took longer than {} s (TASK_TIMEOUT_SECONDS)",
            limit.as_secs()
        ))),
    };
    let result = match result {
        Ok(()) => hand_over_to_judging(&mut context).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result
        && !matches!(error, JobError::LeaseLost)
    {
        if let Err(error) = context.mark_bill_lost().await {
            warn!(run.id = %run_id, error = chain(&error), "could not record the cost of a failed run");
        }
        if let Err(error) = context.store_streams().await {
            warn!(run.id = %run_id, error = chain(&error), "could not store the streams of a failed run");
        }
    }
    context.clean_up().await;
    result
}

/// Next step of a run.
enum NextStep {
    /// Read until the next break.
    Read(Session),
    /// Ask the probes after a break.
    Ask(BrokenSessions),
}

/// Runs the phases in order, from the deep dive to the post arm once per break.
async fn run_phases(context: &mut RunContext, saved: Option<SavedRun>) -> Result<(), JobError> {
    let mut next = first_step(context, saved).await?;
    loop {
        let mut broken = match next {
            NextStep::Ask(broken) => broken,
            NextStep::Read(main) => match read_until_break(context, main).await? {
                DiveResult::Break(broken) => broken,
                // The earlier breaks are measured.
                DiveResult::NoBreak if context.breaks.is_empty() => return Ok(()),
                DiveResult::NoBreak => {
                    context.seal().await?;
                    break;
                }
            },
        };
        context.seal().await?;
        if let Some(mut snapshot) = broken.snapshot.take() {
            ask_baseline(context, &mut snapshot).await?;
            ask_free_recall(context, &mut snapshot, Arm::Baseline).await?;
            ask_open_questions(context, &mut snapshot, Arm::Baseline).await?;
            snapshot.close().await;
        }
        if context.can_fork() {
            ask_free_recall(context, &mut broken.main, Arm::Post).await?;
            ask_open_questions(context, &mut broken.main, Arm::Post).await?;
            ask_post(context, &mut broken.main).await?;
        } else {
            // Free recall comes last, because it must not help with the probes.
            ask_post(context, &mut broken.main).await?;
            ask_free_recall(context, &mut broken.main, Arm::Post).await?;
            ask_open_questions(context, &mut broken.main, Arm::Post).await?;
        }
        if context.break_index >= context.breaks_planned() {
            broken.main.close().await;
            break;
        }
        context.break_index += 1;
        context.unseal().await?;
        next = NextStep::Read(broken.main);
    }
    let source = ask_cold(context).await?;
    ask_open_questions_cold(context, source).await
}

/// Starts from the beginning, or continues from a checkpoint.
async fn first_step(
    context: &mut RunContext,
    saved: Option<SavedRun>,
) -> Result<NextStep, JobError> {
    match saved {
        Some(saved) if saved.stage == SavedStage::Broken => {
            let broken = context.resume_broken(&saved).await?;
            context.restore(saved);
            Ok(NextStep::Ask(broken))
        }
        Some(saved) => {
            context.fill_workspace().await?;
            let main = context.resume_taught(&saved).await?;
            context.restore(saved);
            Ok(NextStep::Read(main))
        }
        None => {
            context.fill_workspace().await?;
            let main = run_study(context).await?;
            Ok(NextStep::Read(teach(context, main).await?))
        }
    }
}

/// Writes the last transaction of a run: everything is answered, and judging is next.
async fn hand_over_to_judging(context: &mut RunContext) -> Result<(), JobError> {
    context.store_streams().await?;
    context.reach_milestone(4);
    context.reach_milestone(5);
    context.leave_phase().await?;
    let worker = Arc::clone(&context.worker);
    let transaction = worker.begin(&context.job).await?;
    agent_run::Entity::update_many()
        .set(agent_run::ActiveModel {
            status: Set(RunStatus::Judging),
            phase: Set(Some(phase::JUDGING.to_owned())),
            ..context.progress_row()
        })
        .filter(agent_run::Column::Id.eq(context.identity.run))
        .exec(&transaction)
        .await?;
    let work = Work::JudgeRun {
        task: context.identity.task,
        run: context.identity.run,
    };
    let notification = queue::enqueue(&transaction, &work).await?;
    let started = context.identity.event(
        Level::Info,
        Event::PhaseStarted {
            agent: context.identity.agent.clone(),
            trial: context.identity.trial,
            phase: phase::JUDGING.to_owned(),
        },
    );
    let redactor = &worker.platform.redactor;
    platform::events::append(&transaction, context.identity.task, &[started], redactor).await?;
    let more = follow_up(&transaction, context.identity.task, redactor).await?;
    lease::finish(&transaction, &context.job.lease).await?;
    transaction.commit().await?;
    let notifications: Vec<_> = std::iter::once(notification).chain(more).collect();
    worker.notify(context.identity.task, &notifications).await;
    info!(run.id = %context.identity.run, "asked {} of run {}", context.identity.agent, context.identity.run);
    Ok(())
}

/// Loads the checkpoint of an earlier attempt, if the adapter can resume and nothing has changed
/// since. A baseline of one version is not comparable with answers of another.
async fn load_checkpoint(
    worker: &Worker,
    run: &agent_run::Model,
    adapter: &dyn AgentAdapter,
    set_up: &RunSetup<'_>,
) -> Result<Option<SavedRun>, JobError> {
    let Some(pointer) = &run.checkpoint else {
        return Ok(None);
    };
    if run.manifest.as_ref() != Some(&set_up.comparable()) {
        warn!(
            run.id = %run.id,
            "run {} starts over: its program, prompts or settings have changed", run.id
        );
        return Ok(None);
    }
    if !adapter.profile().capabilities.resume {
        return Ok(None);
    }
    let Some(name) = pointer.get("artifact").and_then(|name| name.as_str()) else {
        return Ok(None);
    };
    let bytes = worker
        .load_artifact(run.task_id, Some(run.id), name)
        .await?;
    let Some(bytes) = bytes else {
        warn!(run.id = %run.id, "run {} starts over: its checkpoint is missing", run.id);
        return Ok(None);
    };
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Returns the number of retries. Failures and manual retries are counted already; a lost worker
/// could not count.
fn retry_count(so_far: i32, attempt: i32) -> i32 {
    so_far.max(attempt.saturating_sub(1))
}

/// Marks the run as running. A run that starts over drops the measurements of an earlier attempt,
/// but not its cost.
async fn start_attempt(
    worker: &Worker,
    job: &ClaimedJob,
    task: &task::Model,
    run: &agent_run::Model,
    version: &str,
    model: Option<String>,
    saved: Option<&SavedRun>,
) -> Result<(), JobError> {
    let identity = RunIdentity::from(run);
    let attempt = u32::try_from(job.lease.attempt).unwrap_or_default();
    let now = Utc::now();
    let broken = saved.is_some_and(|saved| saved.stage == SavedStage::Broken);
    let mut change = agent_run::ActiveModel {
        status: Set(RunStatus::Running),
        agent_version: Set(Some(version.to_owned())),
        model: Set(model),
        retry_count: Set(retry_count(run.retry_count, job.lease.attempt)),
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
        // The cost of earlier attempts remains.
        change.stats = Set(json!({"bill": Bill::after(&run.stats)}));
        change.checkpoint = Set(None);
    }
    let event = match saved {
        None => Event::RunStarted {
            agent: identity.agent.clone(),
            trial: identity.trial,
            attempt,
        },
        Some(saved) => Event::RunResumed {
            agent: identity.agent.clone(),
            trial: identity.trial,
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
    let event = identity.event(Level::Info, event);
    platform::events::append(&transaction, task.id, &[event], redactor).await?;
    transaction.commit().await?;
    worker.notify(task.id, &[]).await;
    Ok(())
}
