//! Finishes a task: its documents, its status, and its last event.

use domain::vocabulary::{FailureCause, RunStatus, TaskStatus, Verdict};
use entity::{RunId, TaskId, answer, artifact, judging, probe, task};
use platform::artifacts;
use platform::events::{self, Event};
use platform::queue::lease;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait,
};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use tracing::{info, warn};

use results::document::{DistancePart, ResultDocument};
use results::load::result_document;
use results::report;

use crate::job_context::{ClaimedJob, TextArtifact, Worker};
use crate::job_error::JobError;
use crate::lifecycle::{TaskProblem, completed_event, end_job, end_task};
use crate::scoring::judges::summarize_judging;

/// Number of events that are read at once.
const EVENTS: u64 = 1_000;

pub(crate) async fn finish_task(
    worker: &Worker,
    job: &ClaimedJob,
    task_id: TaskId,
) -> Result<(), JobError> {
    let database = &worker.platform.database;
    let redactor = &worker.platform.redactor;
    let Some(task) = task::Entity::find_by_id(task_id).one(database).await? else {
        warn!("task {task_id} was deleted");
        return end_job(worker, job).await;
    };
    if task.status.is_final() {
        return end_job(worker, job).await;
    }
    if let Some(summary) = summarize_judging(worker, &task, task.judging).await? {
        let transaction = worker.begin(job).await?;
        judging::Entity::update_many()
            .set(summary.columns()?)
            .filter(judging::Column::TaskId.eq(task_id))
            .filter(judging::Column::Number.eq(task.judging))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
    }
    let Some(mut document) = result_document(database, task_id).await? else {
        return end_job(worker, job).await;
    };
    let problem = task_problem(&document);
    let status = match problem {
        None => TaskStatus::Done,
        Some(_) => TaskStatus::Error,
    };
    document.task.status = status;
    document.task.error = problem
        .as_ref()
        .map(|problem| redactor.redact(&problem.message).into_owned());

    let mut texts = documents(worker, task_id, &document).await?;
    texts.push(Document {
        name: "task.log".to_owned(),
        media_type: "application/x-ndjson",
        text: log(worker, &task, &completed_event(status, problem.as_ref())).await?,
    });
    store_documents(worker, job, &texts).await?;

    let transaction = worker.begin(job).await?;
    let notifications = end_task(&transaction, task_id, status, problem.as_ref(), redactor).await?;
    lease::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    worker.notify(task_id, &notifications).await;
    info!(task.id = %task_id, "task {task_id} is {status}");
    Ok(())
}

/// One document of a task.
struct Document {
    name: String,
    media_type: &'static str,
    text: String,
}

/// Returns the documents of a judging.
async fn documents(
    worker: &Worker,
    task: TaskId,
    document: &ResultDocument,
) -> Result<Vec<Document>, JobError> {
    let one = |name: &str, media_type, text| Document {
        name: name.to_owned(),
        media_type,
        text,
    };
    let contents = report::task_report(document);
    let mut documents = vec![
        one(
            "result.json",
            "application/json",
            serde_json::to_string_pretty(document)?,
        ),
        one(
            "report.md",
            "text/markdown",
            report::markdown(&contents).map_err(report_error)?,
        ),
        one(
            "report.html",
            "text/html",
            report::html(&contents).map_err(report_error)?,
        ),
        one(
            "report.csv",
            "text/csv",
            report::task_csv(document).map_err(report_error)?,
        ),
        one(
            "answers.jsonl",
            "application/x-ndjson",
            answers(worker, task, document).await?,
        ),
    ];
    for plot in report::task_plots(document) {
        documents.push(one(&plot.file(), "image/svg+xml", plot.svg));
    }
    Ok(documents)
}

fn report_error(error: impl std::fmt::Display) -> JobError {
    JobError::harness(format!("could not write a report: {error}"))
}

async fn store_documents(
    worker: &Worker,
    job: &ClaimedJob,
    documents: &[Document],
) -> Result<(), JobError> {
    let texts: Vec<TextArtifact<'_>> = documents
        .iter()
        .map(|document| TextArtifact {
            name: &document.name,
            media_type: document.media_type,
            text: &document.text,
        })
        .collect();
    worker.store_texts(job, None, &texts).await
}

/// Writes the documents of a task again. The documents of the judging `before` are renamed to
/// contain its number.
pub(super) async fn replace_documents(
    worker: &Worker,
    job: &ClaimedJob,
    task: TaskId,
    before: Option<i32>,
) -> Result<(), JobError> {
    let Some(document) = result_document(&worker.platform.database, task).await? else {
        return Ok(());
    };
    let documents = documents(worker, task, &document).await?;
    if let Some(before) = before {
        let transaction = worker.begin(job).await?;
        for document in &documents {
            // A second attempt finds the old documents renamed and leaves the new ones alone.
            let old = format!("judging-{before}-{}", document.name);
            let there = artifacts::find(&transaction, task, None, &old).await?;
            if there.is_some() {
                continue;
            }
            artifact::Entity::update_many()
                .set(artifact::ActiveModel {
                    name: Set(old),
                    ..Default::default()
                })
                .filter(artifact::Column::TaskId.eq(task))
                .filter(artifact::Column::RunId.is_null())
                .filter(artifact::Column::Name.eq(document.name.as_str()))
                .exec(&transaction)
                .await?;
        }
        transaction.commit().await?;
    }
    store_documents(worker, job, &documents).await
}

/// Returns the reason why a task failed: none of its runs finished.
fn task_problem(document: &ResultDocument) -> Option<TaskProblem> {
    if document
        .runs
        .iter()
        .any(|run| run.status == RunStatus::Done)
    {
        return None;
    }
    // A failed run explains more than a run that was cancelled before it started.
    let first_with = |status| {
        let mut runs = document.runs.iter().filter(move |run| run.status == status);
        runs.find_map(|run| Some((run, run.error.as_ref()?)))
    };
    let first = first_with(RunStatus::Error).or_else(|| first_with(RunStatus::Cancelled));
    Some(match first {
        Some((run, message)) => TaskProblem {
            cause: run.failure_cause.unwrap_or(FailureCause::Harness),
            message: format!("no run finished; {}: {message}", run.agent),
        },
        None => TaskProblem {
            cause: FailureCause::Harness,
            message: "no run finished".to_owned(),
        },
    })
}

/// One line of `answers.jsonl`.
#[derive(Serialize)]
struct AnswerLine<'a> {
    run: RunId,
    agent: &'a str,
    trial: i32,
    probe: &'a str,
    dimension: &'a str,
    arm: &'a str,
    #[serde(rename = "break")]
    break_index: i32,
    question: &'a str,
    answer: &'a str,
    grade: Option<f64>,
    verdict: Option<&'a str>,
    /// Whether the answer claims to know; whether its value is right; whether it says "I don't
    /// recall".
    claimed: Option<bool>,
    value_right: Option<bool>,
    abstained: Option<bool>,
    /// Stated confidence, in `[0, 1]`.
    confidence: Option<f64>,
    /// Source of a right answer after the break.
    attribution: Option<&'a str>,
    /// Whether the compaction summary carries the answer.
    in_summary: Option<bool>,
    /// Distance between the teaching of the answer and the break.
    distance: Option<DistancePart>,
    grader: Option<&'a str>,
    copied_from: Option<RunId>,
    duration_ms: i64,
}

async fn answers(
    worker: &Worker,
    task: TaskId,
    document: &ResultDocument,
) -> Result<String, JobError> {
    let database = &worker.platform.database;
    let probes: HashMap<_, _> = probe::Entity::find()
        .filter(probe::Column::TaskId.eq(task))
        .all(database)
        .await?
        .into_iter()
        .map(|probe| (probe.id, probe))
        .collect();
    let runs: HashMap<RunId, _> = document.runs.iter().map(|run| (run.id, run)).collect();
    let answers = answer::Entity::find()
        .join(JoinType::InnerJoin, answer::Relation::Probe.def())
        .filter(answer::Column::RunId.is_in(runs.keys().copied()))
        .order_by_asc(answer::Column::RunId)
        .order_by_asc(answer::Column::Arm)
        .order_by_asc(probe::Column::Position)
        .all(database)
        .await?;
    let mut lines = String::new();
    for answer in &answers {
        let (Some(run), Some(probe)) = (runs.get(&answer.run_id), probes.get(&answer.probe_id))
        else {
            continue;
        };
        let line = AnswerLine {
            run: answer.run_id,
            agent: &run.agent,
            trial: run.trial,
            probe: &probe.label,
            dimension: probe.dimension.as_str(),
            arm: answer.arm.as_str(),
            break_index: answer.break_index,
            question: &probe.question,
            answer: &answer.text,
            grade: answer.grade,
            verdict: answer.verdict.map(|verdict| verdict.as_str()),
            claimed: answer.verdict.map(Verdict::claims),
            value_right: answer.verdict.map(|verdict| verdict == Verdict::Right),
            abstained: answer.verdict.map(|verdict| verdict == Verdict::Abstained),
            confidence: answer.confidence,
            attribution: answer.attribution.map(|attribution| attribution.as_str()),
            in_summary: answer.in_summary,
            distance: run.distance(&probe.label, answer.break_index.unsigned_abs()),
            grader: answer.grader.as_deref(),
            copied_from: answer.copied_from,
            duration_ms: answer.duration_ms,
        };
        lines.push_str(&serde_json::to_string(&line)?);
        lines.push('\n');
    }
    Ok(lines)
}

/// Returns the events of a task as JSON lines, including the last event, which is appended after
/// everything is stored.
async fn log(worker: &Worker, task: &task::Model, last: &Event) -> Result<String, JobError> {
    let mut lines = String::new();
    let mut after = 0;
    loop {
        let events = events::read_after(&worker.platform.database, task.id, after, EVENTS).await?;
        let Some(newest) = events.last() else { break };
        after = newest.seq;
        for event in &events {
            let line = json!({
                "seq": event.seq,
                "at": event.at,
                "level": event.level,
                "run": event.run_id,
                "event": event.payload,
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
    }
    let line = json!({
        "seq": after + 1,
        "at": chrono::Utc::now(),
        "level": domain::vocabulary::Level::Info,
        "run": null,
        "event": last,
    });
    lines.push_str(&line.to_string());
    lines.push('\n');
    Ok(lines)
}
