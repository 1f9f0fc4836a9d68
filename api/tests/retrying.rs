//! Making runs again that gave no measurement.

use axum::http::StatusCode;
use domain::vocabulary::{FailureCause, JobState, RunStatus, TaskStatus};
use entity::TaskId;
use entity::task;
use platform::queue::Work;
use sea_orm::{ActiveModelTrait, IntoActiveModel, Set};
use serde_json::json;

use crate::support::{RunRow, TestApi, with_api};

fn run_of(agent: &'static str) -> RunRow {
    RunRow {
        agent,
        ..RunRow::default()
    }
}

async fn prepared(api: &TestApi, status: TaskStatus) -> TaskId {
    let task = TaskId::new();
    api.rows()
        .task(task, status, &["claude", "gemini", "iflow"])
        .await;
    let change = task::ActiveModel {
        base_sha: Set(Some("a".repeat(40))),
        head_sha: Set(Some("b".repeat(40))),
        probe_set_hash: Set(Some("c".repeat(64))),
        ..Default::default()
    };
    api.rows().change(task, change).await;
    task
}

#[tokio::test]
async fn only_runs_without_a_fault_of_the_agent_are_retried() {
    with_api(async |api| {
        let rows = api.rows();
        let task = prepared(&api, TaskStatus::Done).await;
        let by_provider = rows.run(task, run_of("claude")).await;
        let by_agent = rows.run(task, run_of("gemini")).await;
        let done = rows.run(task, run_of("iflow")).await;
        rows.failed(by_provider.id, FailureCause::Provider).await;
        rows.failed(by_agent.id, FailureCause::Agent).await;
        let bill = json!({"known_usd": 0.25, "turns": 3, "lost": 0});
        let mut spent = by_provider.clone().into_active_model();
        spent.stats = Set(json!({"turns": 3, "bill": bill}));
        spent.update(&api.state.platform.database).await.unwrap();
        let work = Work::RunAgent {
            task,
            run: by_provider.id,
            agent: "claude".to_owned(),
        };
        let dead = rows.dead_job(&work).await;
        rows.dead_job(&Work::FinishTask { task }).await;
        rows.completed(task).await;

        let path = format!("/api/v1/tasks/{task}/retry");
        let answer = api.post(&path, &json!({})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        assert_eq!(answer.json()["runs"], 1);
        let runs = rows.runs_of(task).await;
        let status = |id| runs.iter().find(|run| run.id == id).unwrap().status;
        assert_eq!(status(by_provider.id), RunStatus::Queued);
        let retries = |id| runs.iter().find(|run| run.id == id).unwrap().retry_count;
        assert_eq!((retries(by_provider.id), retries(done.id)), (1, 0));
        // Only the cost of the earlier attempt is shown.
        let again = runs.iter().find(|run| run.id == by_provider.id).unwrap();
        assert_eq!(again.stats, json!({ "bill": bill }));
        assert_eq!(
            (&again.baseline, &again.agent_version, &again.model),
            (&None, &None, &None)
        );
        assert_eq!((&again.manifest, &again.checkpoint), (&None, &None));
        let stays = runs.iter().find(|run| run.id == done.id).unwrap();
        assert_eq!((&stays.stats, &stays.model), (&done.stats, &done.model));
        assert_eq!(status(by_agent.id), RunStatus::Error);
        assert_eq!(status(done.id), RunStatus::Done);
        assert_eq!(rows.find_task(task).await.status, TaskStatus::Running);
        let jobs = rows.jobs_of(task).await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        assert_ne!(jobs[0].id, dead);
        assert_eq!(jobs[0].state, JobState::Queued);
        let kinds = rows.kinds_of(task).await;
        assert_eq!(kinds, ["completed", "task_retried", "run_queued"]);
        assert_eq!(api.notifier.sent().len(), 1);
        // It runs now.
        assert_eq!(
            api.post(&path, &json!({})).await.status,
            StatusCode::CONFLICT
        );
    })
    .await;
}

#[tokio::test]
async fn failures_of_agents_are_not_retried() {
    with_api(async |api| {
        let rows = api.rows();
        let task = prepared(&api, TaskStatus::Done).await;
        let run = rows.run(task, run_of("claude")).await;
        rows.failed(run.id, FailureCause::Agent).await;
        let answer = api
            .post(&format!("/api/v1/tasks/{task}/retry"), &json!({}))
            .await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        assert!(
            answer.text().contains("1 failed by the agent"),
            "{}",
            answer.text()
        );
        assert_eq!(rows.find_task(task).await.status, TaskStatus::Done);
        assert!(rows.jobs_of(task).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_task_that_could_not_be_prepared_is_prepared_again() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Error, &["claude"]).await;
        let run = rows.run(task, run_of("claude")).await;
        rows.failed(run.id, FailureCause::Harness).await;
        rows.dead_job(&Work::PrepareTask { task }).await;
        let path = format!("/api/v1/tasks/{task}/retry");
        let answer = api.post(&path, &json!({"agents": ["claude"]})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let jobs = rows.jobs_of(task).await;
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].queue, "prepare");
        assert_eq!(rows.find_task(task).await.status, TaskStatus::Queued);
    })
    .await;
}

#[tokio::test]
async fn a_task_that_waits_is_rung_for() {
    with_api(async |api| {
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let id = api.created(&body).await;
        let answer = api
            .post(&format!("/api/v1/tasks/{id}/run"), &json!({}))
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        let sent = api.notifier.sent();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0], sent[1]);
    })
    .await;
}
