//! Ranking the agents of a task.

use domain::vocabulary::{FailureCause, RunStatus, TaskStatus};
use entity::TaskId;
use serde_json::{Value, json};

use crate::support::{RunRow, with_api};

#[tokio::test]
async fn only_measurements_are_ranked_and_the_others_say_why_not() {
    with_api(async |api| {
        let task = TaskId::new();
        let agents = ["claude", "gemini", "iflow"];
        api.rows().task(task, TaskStatus::Done, &agents).await;
        let claude = |trial, score| RunRow {
            trial,
            score: Some(score),
            ..RunRow::default()
        };
        api.rows().run(task, claude(1, 0.25)).await;
        api.rows().run(task, claude(2, 0.75)).await;
        let good = RunRow {
            agent: "gemini",
            score: Some(1.0),
            ..RunRow::default()
        };
        api.rows().run(task, good).await;
        for (trial, status, broke, void_reason) in [
            (1, RunStatus::Done, true, Some("tool_call")),
            (2, RunStatus::Done, false, None),
            (3, RunStatus::Error, false, None),
            (4, RunStatus::Queued, false, None),
        ] {
            let row = RunRow {
                agent: "iflow",
                trial,
                status,
                broke,
                void_reason,
                score: None,
                cause: None,
            };
            api.rows().run(task, row).await;
        }
        let answer = api
            .get(&format!("/api/v1/tasks/{task}/leaderboard"))
            .await
            .json();
        let rows = answer["leaderboard"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{answer}");
        assert_eq!(
            (&rows[0]["rank"], &rows[0]["agent"]),
            (&json!(1), &json!("gemini"))
        );
        assert_eq!(
            rows[0]["scores"],
            json!({"AR": 1.0, "TTL": 1.0, "LRU": 1.0, "SF": 1.0})
        );
        assert_eq!(rows[0]["execution_time"], 60.0);
        assert_eq!(rows[0]["passed"], true);
        assert_eq!(
            (&rows[1]["rank"], &rows[1]["agent"]),
            (&json!(2), &json!("claude"))
        );
        assert_eq!(rows[1]["trials"], 2);
        assert_eq!(rows[1]["overall_score"], 0.5);
        assert_eq!(rows[1]["retention"]["mean"], 0.5);
        let agents = answer["unranked_agents"].as_array().unwrap();
        assert_eq!(agents.len(), 1, "{answer}");
        assert_eq!(
            (&agents[0]["agent"], &agents[0]["rank"]),
            (&json!("iflow"), &Value::Null)
        );
        assert_eq!(answer["comparisons"][0]["tie"], true);
        let unranked: Vec<_> = answer["unranked"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| {
                (
                    run["trial"].as_i64().unwrap(),
                    run["reason"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            unranked,
            [
                (1, "a tool was used where only memory was allowed"),
                (2, "there was no break of its context"),
                (3, "it failed"),
                (4, "it waits"),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_mostly_fails_is_shown_and_not_ranked() {
    with_api(async |api| {
        let task = TaskId::new();
        let agents = ["claude", "gemini"];
        api.rows().task(task, TaskStatus::Done, &agents).await;
        let lucky = RunRow {
            score: Some(1.0),
            ..RunRow::default()
        };
        api.rows().run(task, lucky).await;
        for (agent, trial, cause) in [
            ("claude", 2, FailureCause::Agent),
            ("claude", 3, FailureCause::Agent),
            ("gemini", 2, FailureCause::Agent),
            ("gemini", 3, FailureCause::Provider),
        ] {
            let row = RunRow {
                agent,
                trial,
                status: RunStatus::Error,
                broke: false,
                score: None,
                cause: Some(cause),
                ..RunRow::default()
            };
            api.rows().run(task, row).await;
        }
        let steady = RunRow {
            agent: "gemini",
            score: Some(0.25),
            ..RunRow::default()
        };
        api.rows().run(task, steady).await;
        for path in [
            format!("tasks/{task}/leaderboard"),
            "leaderboard".to_owned(),
        ] {
            let answer = api.get(&format!("/api/v1/{path}")).await.json();
            let rows = answer["leaderboard"].as_array().unwrap();
            assert_eq!(rows.len(), 1, "{answer}");
            let first = &rows[0];
            assert_eq!(
                (&first["agent"], &first["rank"]),
                (&json!("gemini"), &json!(1))
            );
            assert_eq!(first["attempts"], 2, "the provider's failure is none of it");
            assert_eq!(first["failure_rate"]["mean"], 0.5);
            assert_eq!(first["failures"], json!({"agent": 1, "provider": 1}));
            assert_eq!(first["overall_score"], 0.25, "a failure is no score of 0");
            let row = &answer["unranked_agents"][0];
            assert_eq!(
                (&row["agent"], &row["rank"]),
                (&json!("claude"), &Value::Null)
            );
            assert_eq!(
                row["why_unranked"],
                "fails too often to be ranked: 2 of 3 attempts failed"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_figure_that_is_not_known_is_null_and_never_zero() {
    with_api(async |api| {
        let body = json!({"pr_url": "https://github.com/acme/widgets/pull/1",
            "agents": ["claude"]});
        let task = api.created(&body).await;
        let board = api
            .get(&format!("/api/v1/tasks/{task}/leaderboard"))
            .await
            .json();
        assert_eq!(board["leaderboard"], json!([]));
        assert_eq!(board["unranked"][0]["status"], "queued");
        let run = api
            .get(&format!("/api/v1/tasks/{task}/agents/claude"))
            .await
            .json();
        assert_eq!(run["overall_score"], Value::Null);
        assert_eq!(run["passed"], Value::Null);
    })
    .await;
}
