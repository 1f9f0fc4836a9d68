//! Fills a database with sample data for `scripts/check-api.sh`: tasks in every state, runs,
//! scores, files, events, judgings, dead jobs and a worker.
//!
//! Prints the ids as JSON: `{"tasks": […], "jobs": […]}`.

#![expect(
    clippy::print_stdout,
    reason = "what is printed is what the program is for"
)]

#[path = "../tests/support/rows.rs"]
#[expect(
    dead_code,
    clippy::disallowed_methods,
    reason = "tests need more of it, and look at rows whoever they belong to"
)]
mod rows;

use anyhow::Context;
use chrono::{TimeDelta, Utc};
use clap::Parser;
use domain::vocabulary::{FailureCause, JudgingStatus, RunStatus, TaskStatus};
use entity::{JudgingId, TaskId, judging, task};
use evaluation::probe::{GeneratorReport, ProbeSet};
use platform::connect::{Platform, PlatformSettings};
use platform::events::Event;
use platform::queue::{self, Work};
use platform::settings::{Environment, Reader};
use sea_orm::{ActiveModelTrait, IntoActiveModel, Set};
use serde_json::json;

use rows::{Rows, RunRow};

/// Where to write is said by `DATABASE_URL` and `STORAGE_DIR`.
#[derive(Parser)]
struct Arguments {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments {} = Arguments::parse();
    let environment = Environment;
    let mut reader = Reader::new(&environment);
    let settings = PlatformSettings::read(&mut reader);
    let settings = reader.finish(settings).context("reading the settings")?;
    let platform = Platform::connect(&settings).await?;
    let rows = Rows(&platform);
    let mut tasks = Vec::new();
    let mut dead = Vec::new();
    for number in 0..4 {
        let task = finished(&rows, number).await?;
        dead.push(rows.dead_job(&Work::JudgeTask { task, judging: 7 }).await);
        tasks.push(task);
    }
    for _ in 0..3 {
        let (task, work) = failed(&rows).await;
        tasks.push(task);
        dead.push(rows.dead_job(&work).await);
    }
    tasks.push(running(&rows).await?);
    let agents = json!([
        {"name": "claude", "display_name": "Claude Code", "available": true, "version": "2.1.197"},
        {"name": "control-lossy", "control": true, "available": true, "version": "1"},
        {"name": "gemini", "available": false, "problem": "gemini is not installed",
         "fix": "scripts/install-agents.sh"}]);
    // A worker that does not exist. Its heartbeat lasts for the duration of the check.
    let seen = Utc::now() + TimeDelta::hours(2);
    rows.worker("host-5f2c", seen, agents).await;
    println!("{}", json!({"tasks": tasks, "jobs": dead}));
    Ok(())
}

/// A task that is done, with everything that such a one leaves behind.
async fn finished(rows: &Rows<'_>, number: i32) -> anyhow::Result<TaskId> {
    let task = TaskId::new();
    let agents = ["claude", "control-lossy:0.5"];
    rows.task(task, TaskStatus::Running, &agents).await;
    rows.happened(task, None, vec![Event::TaskStarted {}]).await;
    let change = task::ActiveModel {
        base_sha: Set(Some("a".repeat(40))),
        head_sha: Set(Some("b".repeat(40))),
        probe_set_hash: Set(Some("c".repeat(64))),
        trials: Set(2),
        ..Default::default()
    };
    rows.change(task, change).await;
    for agent in agents {
        for trial in 1..=2 {
            let run = RunRow {
                agent,
                trial,
                score: Some(0.2 * f64::from(number) + 0.1 * f64::from(trial)),
                ..RunRow::default()
            };
            let run = rows.run(task, run).await;
            let started = Event::RunStarted {
                agent: agent.to_owned(),
                trial: trial.unsigned_abs(),
                attempt: 1,
            };
            rows.happened(task, Some(run.id), vec![started]).await;
            rows.file(task, Some(run.id), "transcript", &"words ".repeat(500))
                .await;
            rows.file(task, Some(run.id), "session.log", "one line\n")
                .await;
        }
    }
    rows.file(task, None, "task.log", "{}\n").await;
    rows.file(task, None, "manifest.json", "{}").await;
    rows.file(task, None, "empty.txt", "").await;
    let probes = serde_json::to_string(&ProbeSet {
        seed: 1,
        probes: Vec::new(),
        teaching: Vec::new(),
        report: GeneratorReport::default(),
    })?;
    rows.file(task, None, "probes.json", &probes).await;
    judging::Model {
        id: JudgingId::new(),
        task_id: task,
        number: 1,
        status: JudgingStatus::Done,
        judges: json!([]),
        agreement: None,
        error_message: None,
        created_by: None,
        created_at: Utc::now(),
        completed_at: Some(Utc::now()),
    }
    .into_active_model()
    .reset_all()
    .insert(&rows.0.database)
    .await?;
    rows.completed(task).await;
    Ok(task)
}

/// A task with a run that failed because of the harness, and its dead job.
async fn failed(rows: &Rows<'_>) -> (TaskId, Work) {
    let task = TaskId::new();
    rows.task(task, TaskStatus::Error, &["claude"]).await;
    let change = task::ActiveModel {
        base_sha: Set(Some("a".repeat(40))),
        probe_set_hash: Set(Some("c".repeat(64))),
        error_message: Set(Some("the provider was away".to_owned())),
        failure_cause: Set(Some(FailureCause::Provider)),
        ..Default::default()
    };
    rows.change(task, change).await;
    let run = RunRow {
        score: None,
        ..RunRow::default()
    };
    let run = rows.run(task, run).await;
    rows.failed(run.id, FailureCause::Provider).await;
    let agent = "claude".to_owned();
    let work = Work::RunAgent {
        task,
        run: run.id,
        agent,
    };
    (task, work)
}

/// A task that goes on, with something that waits.
async fn running(rows: &Rows<'_>) -> anyhow::Result<TaskId> {
    let task = TaskId::new();
    rows.task(task, TaskStatus::Running, &["claude"]).await;
    rows.happened(task, None, vec![Event::TaskStarted {}]).await;
    let run = RunRow {
        status: RunStatus::Running,
        score: None,
        ..RunRow::default()
    };
    let run = rows.run(task, run).await;
    let agent = "claude".to_owned();
    let work = Work::RunAgent {
        task,
        run: run.id,
        agent,
    };
    queue::enqueue(&rows.0.database, &work).await?;
    Ok(task)
}
