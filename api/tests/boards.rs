//! Ranking agents over all tasks.

use domain::vocabulary::{RunStatus, TaskStatus};
use entity::{TaskId, task};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::support::{RunRow, TestApi, with_api};

/// A task with one run of an agent.
async fn measured(api: &TestApi, org: &str, agent: &'static str, score: f64) -> TaskId {
    let task = TaskId::new();
    let rows = api.rows();
    rows.task_of(org, task, TaskStatus::Done, &[agent]).await;
    let row = RunRow {
        agent,
        score: Some(score),
        ..RunRow::default()
    };
    rows.run(task, row).await;
    task
}

fn agents(board: &Value) -> Vec<(&str, u64)> {
    let rows = board["leaderboard"].as_array().expect("rows");
    rows.iter()
        .map(|row| {
            (
                row["agent"].as_str().expect("a name"),
                row["trials"].as_u64().expect("a number"),
            )
        })
        .collect()
}

#[tokio::test]
async fn agents_are_ranked_over_all_tasks_of_the_organisation() {
    with_api(async |api| {
        for score in [0.75, 0.5, 1.0] {
            measured(&api, "local", "claude", score).await;
        }
        let task = measured(&api, "local", "gemini", 0.25).await;
        measured(&api, "elsewhere", "gemini", 1.0).await;
        let void = RunRow {
            agent: "gemini",
            trial: 2,
            void_reason: Some("compaction"),
            ..RunRow::default()
        };
        api.rows().run(task, void).await;
        let failed = RunRow {
            agent: "gemini",
            trial: 3,
            status: RunStatus::Error,
            ..RunRow::default()
        };
        api.rows().run(task, failed).await;

        let board = api.get("/api/v1/leaderboard").await.json();
        assert_eq!(agents(&board), [("claude", 3), ("gemini", 1)], "{board}");
        assert_eq!((&board["tasks"], &board["runs"]), (&json!(4), &json!(4)));
        let first = &board["leaderboard"][0];
        assert_eq!(first["overall_score"], 0.75);
        assert!(first["score"]["low"].as_f64() < Some(0.75), "{first}");
        assert_eq!(first["differs"], json!([]));
        let why = "its context was compacted while it was asked";
        assert_eq!(board["left_out"][why], 1);
        assert_eq!(board["leaderboard"][1]["void"], json!({why: 1}));
        assert_eq!(first["void"], json!({}));

        for (query, expected) in [
            ("agent=claude", vec![("claude", 3)]),
            (
                "model=m-1&repo=acme/widgets",
                vec![("claude", 3), ("gemini", 1)],
            ),
            ("model=other", vec![]),
            ("repo=acme/other", vec![]),
            ("from=2100-01-01T00:00:00Z", vec![]),
            (
                "to=2100-01-01T00:00:00Z",
                vec![("claude", 3), ("gemini", 1)],
            ),
        ] {
            let board = api.get(&format!("/api/v1/leaderboard?{query}")).await;
            assert_eq!(agents(&board.json()), expected, "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn intervals_are_over_pull_requests_and_imported_probes_stay_out() {
    with_api(async |api| {
        for (number, score) in [(1, 0.5), (2, 0.75), (3, 1.0)] {
            for agent in ["claude", "gemini"] {
                let task = measured(&api, "local", agent, score).await;
                let change = task::ActiveModel {
                    pr_url: Set(format!("https://github.com/acme/widgets/pull/{number}")),
                    ..Default::default()
                };
                api.rows().change(task, change).await;
            }
        }
        let chosen = measured(&api, "local", "claude", 1.0).await;
        let change = task::ActiveModel {
            question_bank: Set(Some("{}".to_owned())),
            ..Default::default()
        };
        api.rows().change(chosen, change).await;
        let board = api.get("/api/v1/leaderboard").await.json();
        assert_eq!(agents(&board), [("claude", 3), ("gemini", 3)], "{board}");
        let row = &board["leaderboard"][0];
        assert_eq!(
            (&row["unit"], &row["pull_requests"]),
            (&json!("pull_request"), &json!(3))
        );
        // Student's interval of 0.5, 0.75 and 1 exceeds the possible maximum.
        let low = row["score"]["low"].as_f64().expect("three");
        assert!((low - 0.128_966).abs() < 1e-5, "{low}");
        let why = "its probes are those of an imported question bank";
        assert_eq!(board["left_out"][why], 1);
        assert_eq!(board["cut_at_runs"], Value::Null);
        assert_eq!(board["differs"], json!([]));
        // Sessions of two tasks are no pairs, though of one pull request.
        assert_eq!(board["comparisons"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_period_that_is_none_is_refused() {
    with_api(async |api| {
        let answer = api
            .get("/api/v1/leaderboard?from=yesterday&pass_mark=2")
            .await;
        assert_eq!(answer.status, 422);
        let text = answer.text();
        assert!(
            text.contains("datetime_parsing") && text.contains("pass_mark"),
            "{text}"
        );
    })
    .await;
}
