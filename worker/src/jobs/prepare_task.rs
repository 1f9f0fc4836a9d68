//! Prepares a task: from its source to the probes that every agent and trial answers.

mod cost_estimate;
mod redacted_probes;

use agents::adapters;
use chrono::Utc;
use domain::pull_request::PullRequest;
use domain::vocabulary::{Dimension, Level, OpenTopic, RunStatus, TaskStatus};
use entity::{ProbeId, TaskId, agent_run, probe, task};
use evaluation::claims::{OpenFact, open_facts};
use evaluation::facts::fact_sheet;
use evaluation::probe::ProbeSet;
use evaluation::probes::{ProbePlan, generate, only_dimensions, prove, without};
use evaluation::question_bank::QuestionBank;
use platform::events::{Event, NewEvent};
use platform::queue::{self, Work, lease};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tracing::{info, warn};

use source::{DiffLimits, Resolved, resolve};

use self::cost_estimate::{CostEstimate, QuestionPlan, judging_estimate, model_of};
use self::redacted_probes::redacted_probes;

use crate::job_context::{ClaimedJob, TextArtifact, Worker};
use crate::job_error::JobError;
use crate::lifecycle::end_job;
use crate::material::{MATERIAL, Material, OPEN_FACTS, diff_text, diff_that_fits, planned_context};

/// Size limit of one file's diff, in bytes.
const FILE_BYTES: usize = 256 << 10;
/// Rows per insert: databases limit the values of one statement.
const ROWS: usize = 100;

/// Capacity of the channel of progress messages.
const PROGRESS: usize = 64;

/// A pull request, its facts and its probes.
struct Prepared {
    pull_request: PullRequest,
    sheet: evaluation::facts::FactSheet,
    probe_set: ProbeSet,
    /// Facts for open questions. Empty if the task asks none.
    open: Vec<OpenFact>,
}

pub(crate) async fn prepare_task(
    worker: &Worker,
    job: &ClaimedJob,
    task_id: TaskId,
) -> Result<(), JobError> {
    let Some(task) = task::Entity::find_by_id(task_id)
        .one(&worker.platform.database)
        .await?
    else {
        warn!("task {task_id} was deleted");
        return end_job(worker, job).await;
    };
    if task.status.is_final() {
        return end_job(worker, job).await;
    }
    start(worker, job, &task).await?;
    let resolved = resolve_with_progress(worker, job, &task).await?;
    if resolved.pull_request.files.is_empty() {
        return Err(JobError::harness(no_usable_files(&resolved.pull_request)));
    }
    let prepared = read_facts(worker, &task, resolved).await?;
    if prepared.probe_set.probes.is_empty() {
        return Err(JobError::harness(
            "the pull request offers no probes: its diff defines no symbols, constants or tests, \
             and changes too few files",
        ));
    }
    store_documents(worker, job, &task, &prepared).await?;
    publish(worker, job, &task, &prepared).await
}

fn no_usable_files(pull_request: &PullRequest) -> String {
    if pull_request.dropped.is_empty() {
        return "the pull request is empty: base and head have the same files. Choose an older base"
            .to_owned();
    }
    let reasons: Vec<String> = pull_request
        .dropped
        .iter()
        .take(5)
        .map(|dropped| format!("{} ({})", dropped.path, dropped.reason))
        .collect();
    format!(
        "none of the {} changed files can be used: {}",
        pull_request.dropped.len(),
        reasons.join(", ")
    )
}

async fn start(worker: &Worker, job: &ClaimedJob, task: &task::Model) -> Result<(), JobError> {
    let transaction = worker.begin(job).await?;
    let now = Utc::now();
    task::Entity::update_many()
        .set(task::ActiveModel {
            status: Set(TaskStatus::Running),
            started_at: Set(Some(task.started_at.unwrap_or(now))),
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(task.id))
        .exec(&transaction)
        .await?;
    if task.started_at.is_none() {
        let event = task_event(Level::Info, Event::TaskStarted {});
        let redactor = &worker.platform.redactor;
        platform::events::append(&transaction, task.id, &[event], redactor).await?;
    }
    transaction.commit().await?;
    worker.notify(task.id, &[]).await;
    Ok(())
}

/// Resolves the pull request and stores its progress as events.
async fn resolve_with_progress(
    worker: &Worker,
    job: &ClaimedJob,
    task: &task::Model,
) -> Result<Resolved, JobError> {
    let source: domain::PullRequestSource = serde_json::from_value(task.source.clone())?;
    // Content beyond the context would be forgotten before the agent is asked about it.
    let most = worker.settings.max_context_tokens;
    let context = task
        .target_context_tokens
        .and_then(|target| u64::try_from(target).ok());
    let context = context.unwrap_or(most).min(most);
    let limits = DiffLimits {
        max_files: usize::try_from(task.max_files).unwrap_or(usize::MAX),
        patch_bytes: diff_that_fits(context),
        file_bytes: FILE_BYTES,
    };
    let (sender, mut receiver) = mpsc::channel::<NewEvent>(PROGRESS);
    let report = move |stage: &'static str, message: String| {
        // Progress is for people. If the database is slower than git, some messages are dropped.
        let _ = sender.try_send(progress(stage, message));
    };
    let resolving = async {
        let report = report;
        resolve(
            &worker.settings.source(),
            &source,
            limits,
            &job.cancel,
            &report,
        )
        .await
    };
    let recording = async {
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, 16).await > 0 {
            append(worker, job, task.id, &batch).await?;
            batch.clear();
        }
        Ok::<(), JobError>(())
    };
    let (resolved, recorded) = tokio::join!(resolving, recording);
    recorded?;
    Ok(resolved?)
}

fn task_event(level: Level, event: Event) -> NewEvent {
    NewEvent {
        run: None,
        level,
        event,
    }
}

fn progress(stage: &str, message: String) -> NewEvent {
    task_event(
        Level::Info,
        Event::Progress {
            stage: stage.to_owned(),
            message,
            percent: None,
        },
    )
}

async fn append(
    worker: &Worker,
    job: &ClaimedJob,
    task: TaskId,
    events: &[NewEvent],
) -> Result<(), JobError> {
    let transaction = worker.begin(job).await?;
    platform::events::append(&transaction, task, events, &worker.platform.redactor).await?;
    transaction.commit().await?;
    worker.notify(task, &[]).await;
    Ok(())
}

/// Extracts facts and generates probes on a blocking thread, because parsing takes time.
async fn read_facts(
    worker: &Worker,
    task: &task::Model,
    resolved: Resolved,
) -> Result<Prepared, JobError> {
    let dimensions: Vec<Dimension> = serde_json::from_value(task.rubric.clone())?;
    let plan = ProbePlan::standard(task.seed.cast_unsigned(), &dimensions);
    let pull_request = resolved.pull_request;
    let bank = task.question_bank.clone();
    let redactor = worker.platform.redactor.clone();
    let open_questions = task.open_questions;
    tokio::task::spawn_blocking(move || {
        let sheet = fact_sheet(&pull_request);
        let probe_set = match bank {
            Some(bank) => imported_probes(&bank, &pull_request, &plan)?,
            None => generate(&sheet, &plan),
        };
        let probe_set = prove(probe_set, &pull_request);
        let redacted = redacted_probes(&probe_set, &redactor);
        let probe_set = without(probe_set, &redacted);
        let open = if open_questions {
            open_facts(&pull_request, &sheet, plan.seed)
        } else {
            Vec::new()
        };
        Ok(Prepared {
            pull_request,
            sheet,
            probe_set,
            open,
        })
    })
    .await
    .map_err(|error| JobError::harness(format!("could not read the facts: {error}")))?
}

/// Returns the probes of a question bank, for the dimensions asked for.
fn imported_probes(
    text: &str,
    pull_request: &PullRequest,
    plan: &ProbePlan,
) -> Result<ProbeSet, JobError> {
    let bank = QuestionBank::read(text).map_err(|error| JobError::harness(error.to_string()))?;
    let header = &bank.header;
    if (&header.base, &header.head) != (&pull_request.base, &pull_request.head) {
        return Err(JobError::harness(format!(
            "the question bank asks about {} -> {}, and the pull request is {} -> {}",
            header.base, header.head, pull_request.base, pull_request.head
        )));
    }
    let asked = plan.at_most.keys().copied().collect();
    Ok(only_dimensions(bank.probes, &asked))
}

/// Stores the documents, before the transaction that publishes them: that one holds a lock, and an
/// upload may take long.
async fn store_documents(
    worker: &Worker,
    job: &ClaimedJob,
    task: &task::Model,
    prepared: &Prepared,
) -> Result<(), JobError> {
    let PullRequest { base, head, .. } = &prepared.pull_request;
    let bank = QuestionBank::new(&task.repo, base, head, prepared.probe_set.clone());
    let texts = [
        (
            "fact_sheet.json",
            "application/json",
            serde_json::to_string_pretty(&prepared.sheet)?,
        ),
        (
            OPEN_FACTS,
            "application/json",
            serde_json::to_string_pretty(&prepared.open)?,
        ),
        (
            "probes.json",
            "application/json",
            serde_json::to_string_pretty(&prepared.probe_set)?,
        ),
        ("question_bank.jsonl", "application/x-ndjson", bank.write()?),
        (
            "pull_request.json",
            "application/json",
            serde_json::to_string_pretty(&prepared.pull_request)?,
        ),
        (
            "pull_request.diff",
            "text/x-diff",
            diff_text(&prepared.pull_request),
        ),
    ];
    let texts = texts
        .each_ref()
        .map(|(name, media_type, text)| TextArtifact {
            name,
            media_type,
            text,
        });
    worker.store_texts(job, None, &texts).await?;
    let mut pull_request = prepared.pull_request.clone();
    for file in &mut pull_request.files {
        file.head_text = None;
        file.hunks.clear();
    }
    let material = Material {
        pull_request,
        probe_set: prepared.probe_set.clone(),
        open: prepared.open.clone(),
    };
    let bytes = serde_json::to_vec(&material)?.into();
    worker.store_private(job, None, MATERIAL, bytes).await
}

/// Estimates the cost of the real agents.
fn cost_estimate(
    worker: &Worker,
    task: &task::Model,
    prepared: &Prepared,
    runs: &[agent_run::Model],
) -> CostEstimate {
    let mut agents: BTreeMap<String, (u64, Option<String>)> = BTreeMap::new();
    for run in runs {
        let Ok(adapter) = adapters::adapter_for(&worker.adapters, &run.agent) else {
            continue;
        };
        if adapter.profile().control {
            continue;
        }
        let own = agents
            .entry(run.agent.clone())
            .or_insert_with(|| (0, model_of(adapter.as_ref())));
        own.0 += 1;
    }
    let context = planned_context(
        worker.settings.max_context_tokens,
        task.target_context_tokens,
        &prepared.pull_request,
        &prepared.probe_set,
        false,
    );
    let breaks = u64::from(task.breaks.unsigned_abs());
    let asks = question_plan(task, prepared);
    CostEstimate::new(agents, &prepared.probe_set, asks, context, breaks)
}

/// Returns the number of open questions, and of closed probes per prompt.
fn question_plan(task: &task::Model, prepared: &Prepared) -> QuestionPlan {
    QuestionPlan {
        per_prompt: u64::from(task.probes_per_prompt.unsigned_abs()),
        topics: OpenTopic::ALL
            .iter()
            .filter(|&&topic| prepared.open.iter().any(|one| one.topic == topic))
            .count() as u64,
    }
}

/// Returns the events with the estimate, for the time before the runs begin.
fn estimate_events(expected: &CostEstimate, most: Option<f64>) -> Vec<NewEvent> {
    let lines = expected.lines().into_iter();
    let mut events: Vec<NewEvent> = lines.map(|line| progress("estimate", line)).collect();
    if let Some(warning) = most.and_then(|most| expected.warning_over(most)) {
        let event = Event::Progress {
            stage: "estimate".to_owned(),
            message: warning,
            percent: None,
        };
        events.push(task_event(Level::Warning, event));
    }
    events
}

async fn publish(
    worker: &Worker,
    job: &ClaimedJob,
    task: &task::Model,
    prepared: &Prepared,
) -> Result<(), JobError> {
    let pull_request = &prepared.pull_request;
    let probe_set = &prepared.probe_set;
    let redactor = &worker.platform.redactor;
    let runs = agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task.id))
        .filter(agent_run::Column::Status.eq(RunStatus::Queued))
        .order_by_asc(agent_run::Column::Id)
        .all(&worker.platform.database)
        .await?;
    let expected = cost_estimate(worker, task, prepared, &runs);
    let now = Utc::now();
    let transaction = worker.begin(job).await?;
    // No earlier attempt got here, because this transaction also completes the job.
    let mut rows = Vec::with_capacity(probe_set.probes.len());
    for (position, made) in probe_set.probes.iter().enumerate() {
        rows.push(probe::ActiveModel {
            id: Set(ProbeId::new()),
            task_id: Set(task.id),
            position: Set(i32::try_from(position).unwrap_or(i32::MAX)),
            label: Set(made.label.clone()),
            dimension: Set(made.dimension),
            kind: Set(stored_name(&made.kind)?),
            question: Set(made.question.clone()),
            spec: Set(serde_json::to_value(made)?),
            created_at: Set(now),
        });
    }
    for chunk in rows.chunks(ROWS) {
        probe::Entity::insert_many(chunk.to_vec())
            .exec_without_returning(&transaction)
            .await?;
    }
    let hash = probe_set.hash();
    let changed: Vec<&str> = pull_request
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    task::Entity::update_many()
        .set(task::ActiveModel {
            base_sha: Set(Some(pull_request.base.clone())),
            head_sha: Set(Some(pull_request.head.clone())),
            changed_files: Set(serde_json::to_value(changed)?),
            dropped_files: Set(serde_json::to_value(&pull_request.dropped)?),
            probe_set_hash: Set(Some(hash.clone())),
            generator_report: Set(Some(serde_json::to_value(&probe_set.report)?)),
            prompt_hash: Set(Some(prompts::version())),
            estimate: Set(Some(serde_json::to_value(&expected)?)),
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(task.id))
        .exec(&transaction)
        .await?;
    let works: Vec<Work> = runs
        .iter()
        .map(|run| Work::RunAgent {
            task: task.id,
            run: run.id,
            agent: run.agent.clone(),
        })
        .collect();
    let notifications = queue::enqueue_all(&transaction, &works).await?;
    let mut events = preparation_events(pull_request, probe_set, hash);
    events.extend(estimate_events(&expected, task.max_cost_usd));
    let judges = worker.judges.iter().filter(|judge| judge.juror().is_some());
    let breaks = u64::from(task.breaks.unsigned_abs());
    let judging = judging_estimate(
        judges.count(),
        runs.len(),
        question_plan(task, prepared),
        breaks,
    );
    events.extend(judging.map(|line| progress("estimate", line)));
    platform::events::append(&transaction, task.id, &events, redactor).await?;
    lease::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    worker.notify(task.id, &notifications).await;
    info!(
        "prepared task {}: {} files, {} probes",
        task.id,
        pull_request.files.len(),
        probe_set.probes.len()
    );
    Ok(())
}

fn preparation_events(
    pull_request: &PullRequest,
    probe_set: &ProbeSet,
    hash: String,
) -> Vec<NewEvent> {
    let mut events = Vec::new();
    if !pull_request.dropped.is_empty() {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for dropped in &pull_request.dropped {
            *reasons.entry(&dropped.reason).or_default() += 1;
        }
        let event = Event::FilesDropped {
            count: pull_request.dropped.len(),
            reasons: reasons
                .into_iter()
                .map(|(reason, count)| format!("{reason}: {count}"))
                .collect(),
        };
        events.push(task_event(Level::Warning, event));
    }
    let mut counts = BTreeMap::new();
    for probe in &probe_set.probes {
        *counts
            .entry(probe.dimension.as_str().to_owned())
            .or_default() += 1;
    }
    events.push(task_event(Level::Info, Event::ProbesMade { counts, hash }));
    events
}

/// Returns the stored name of a unit variant.
fn stored_name(value: &impl Serialize) -> Result<String, JobError> {
    let value = serde_json::to_value(value)?;
    match value.as_str() {
        Some(word) => Ok(word.to_owned()),
        None => Err(JobError::harness(format!("{value} is not a text"))),
    }
}
