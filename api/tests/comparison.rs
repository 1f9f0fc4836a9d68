//! Agents side by side.

use domain::vocabulary::{RunStatus, TaskStatus};
use entity::TaskId;
use serde_json::Value;

use crate::support::{RunRow, with_api};

#[tokio::test]
async fn the_best_score_wins_and_nothing_else() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Done, &["claude", "gemini", "iflow"])
            .await;
        for (agent, score, broke) in [
            ("claude", 0.4, true),
            ("gemini", 0.8, true),
            // A run without a break is not a measurement, regardless of its score.
            ("iflow", 0.9, false),
        ] {
            let row = RunRow {
                agent,
                score: Some(score),
                broke,
                ..RunRow::default()
            };
            rows.run(task, row).await;
        }
        let answer = api.get(&format!("/api/v1/tasks/{task}/comparison")).await;
        let comparison = answer.json();
        assert_eq!(comparison["winner"], "gemini");
        assert_eq!(comparison["best_score"], 0.8);
        assert_eq!(comparison["winner_is_clear"], Value::Null);
        assert_eq!(comparison["summary"]["total_agents"], 3);
        assert_eq!(comparison["summary"]["completed"], 3);
        assert_eq!(
            comparison["agents"]["claude"]["metrics"]["overall_score"],
            0.4
        );
    })
    .await;
}

#[tokio::test]
async fn without_measurements_there_is_no_winner() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Running, &["claude", "gemini"])
            .await;
        let running = RunRow {
            status: RunStatus::Running,
            score: None,
            ..RunRow::default()
        };
        rows.run(task, running).await;
        let comparison = api
            .get(&format!("/api/v1/tasks/{task}/comparison"))
            .await
            .json();
        assert_eq!(comparison["winner"], Value::Null);
        assert_eq!(comparison["best_score"], Value::Null);
        assert_eq!(comparison["summary"]["running"], 1);
    })
    .await;
}

#[tokio::test]
async fn equals_share_the_first_place() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Done, &["claude", "gemini"])
            .await;
        for agent in ["claude", "gemini"] {
            let row = RunRow {
                agent,
                ..RunRow::default()
            };
            rows.run(task, row).await;
        }
        let path = format!("/api/v1/tasks/{task}/comparison");
        let comparison = api.get(&path).await.json();
        assert_eq!(comparison["winner"], Value::Null);
        assert_eq!(comparison["best_score"], 0.5);
    })
    .await;
}
