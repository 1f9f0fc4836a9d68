//! The runs of a task.

use axum::http::StatusCode;
use domain::vocabulary::TaskStatus;
use entity::TaskId;
use serde_json::{Value, json};

use crate::support::{RunRow, with_api};

#[tokio::test]
async fn runs_come_in_the_order_of_the_agents_asked_for() {
    with_api(async |api| {
        let task = TaskId::new();
        let agents = ["gemini", "claude"];
        api.rows().task(task, TaskStatus::Done, &agents).await;
        for (agent, trial) in [("claude", 1), ("gemini", 2), ("claude", 2), ("gemini", 1)] {
            let row = RunRow {
                agent,
                trial,
                ..RunRow::default()
            };
            api.rows().run(task, row).await;
        }
        let answer = api
            .get(&format!("/api/v1/tasks/{task}/agents"))
            .await
            .json();
        let order: Vec<_> = answer
            .as_array()
            .unwrap()
            .iter()
            .map(|run| {
                (
                    run["agent"].as_str().unwrap(),
                    run["trial"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            order,
            [("gemini", 1), ("gemini", 2), ("claude", 1), ("claude", 2)]
        );
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_shown_by_its_newest_trial_or_the_one_asked_for() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Done).await;
        for trial in [1, 2, 10] {
            let row = RunRow {
                trial,
                ..RunRow::default()
            };
            api.rows().run(task, row).await;
        }
        let path = format!("/api/v1/tasks/{task}/agents/claude");
        assert_eq!(api.get(&path).await.json()["trial"], 10);
        assert_eq!(api.get(&format!("{path}?trial=2")).await.json()["trial"], 2);
        let none = api.get(&format!("{path}?trial=3")).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND);
        let bad = api.get(&format!("{path}?trial=first")).await;
        assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    })
    .await;
}

#[tokio::test]
async fn a_run_shows_its_figures_and_its_files_but_not_the_workers_own() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Done).await;
        let run = api.rows().run(task, RunRow::default()).await;
        api.rows()
            .file(task, Some(run.id), "transcript", "hello")
            .await;
        api.state
            .platform
            .artifacts
            .put_private(
                &api.state.platform.database,
                task,
                Some(run.id),
                ".checkpoint",
                bytes::Bytes::from_static(b"x"),
            )
            .await
            .unwrap();
        let shown = api
            .get(&format!("/api/v1/tasks/{task}/agents/claude"))
            .await
            .json();
        let url = format!("/api/v1/artifacts/{task}/claude/transcript?trial=1");
        assert_eq!(shown["artifacts"], json!({ "transcript": url }));
        assert_eq!(shown["dimensions"]["AR"]["post"], 0.5);
        assert_eq!(shown["dimensions"]["AR"]["stale_rate"], Value::Null);
        assert_eq!(shown.get("checkpoint"), None);
        assert_eq!(api.get(&url).await.text(), "hello");
    })
    .await;
}

#[tokio::test]
async fn an_agent_with_a_parameter_can_be_shown() {
    with_api(async |api| {
        let body = json!({"pr_url": "https://github.com/acme/widgets/pull/1",
            "agents": ["control-lossy:0.3"]});
        let task = api.created(&body).await;
        for agent in ["control-lossy:0.3", "control-lossy%3A0.3"] {
            let answer = api
                .get(&format!("/api/v1/tasks/{task}/agents/{agent}"))
                .await;
            assert_eq!(answer.status, StatusCode::OK, "{agent}");
            assert_eq!(answer.json()["agent"], "control-lossy:0.3");
        }
    })
    .await;
}
