//! Listing tasks: filters, and pages while other tasks are added.

use axum::http::StatusCode;
use chrono::{SubsecRound, TimeDelta, Utc};
use domain::vocabulary::TaskStatus;
use entity::TaskId;
use entity::task;
use sea_orm::Set;
use serde_json::Value;

use crate::support::{RunRow, with_api};

fn ids(answer: &Value) -> Vec<String> {
    let tasks = answer["tasks"].as_array().expect("tasks");
    let id = |task: &Value| task["id"].as_str().expect("an id").to_owned();
    tasks.iter().map(id).collect()
}

#[tokio::test]
async fn tasks_are_found_by_their_fields() {
    with_api(async |api| {
        let rows = api.rows();
        let (done, failed, other) = (TaskId::new(), TaskId::new(), TaskId::new());
        rows.task(done, TaskStatus::Done, &["claude:opus"]).await;
        rows.run(
            done,
            RunRow {
                agent: "claude:opus",
                ..RunRow::default()
            },
        )
        .await;
        rows.task(failed, TaskStatus::Error, &["gemini"]).await;
        rows.run(
            failed,
            RunRow {
                agent: "gemini",
                ..RunRow::default()
            },
        )
        .await;
        rows.task(other, TaskStatus::Cancelled, &["iflow"]).await;
        let change = task::ActiveModel {
            error_message: Set(Some("Could not clone 100% of it".to_owned())),
            created_at: Set(Utc::now() - TimeDelta::days(7)),
            ..Default::default()
        };
        rows.change(failed, change).await;
        let change = task::ActiveModel {
            repo: Set("acme/gadgets".to_owned()),
            ..Default::default()
        };
        rows.change(other, change).await;
        let yesterday = (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ");
        for (query, wanted) in [
            ("status=done".to_owned(), vec![done]),
            ("status=error,cancelled".to_owned(), vec![other, failed]),
            ("repo=acme/gadgets".to_owned(), vec![other]),
            ("agent=claude".to_owned(), vec![done]),
            ("agent=claude:opus".to_owned(), vec![done]),
            ("agent=claud_".to_owned(), vec![]),
            ("q=CLONE%20100%25".to_owned(), vec![failed]),
            ("q=100%25%25".to_owned(), vec![]),
            ("q=gadgets".to_owned(), vec![other]),
            (format!("from={yesterday}"), vec![other, done]),
            (format!("to={yesterday}"), vec![failed]),
            ("agent=gemini&status=done".to_owned(), vec![]),
        ] {
            let answer = api.get(&format!("/api/v1/tasks?{query}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text());
            let mut found = ids(&answer.json());
            let mut wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            assert_eq!(answer.json()["total"], wanted.len(), "{query}");
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{query}");
        }
        for bad in ["status=done,nope", "from=yesterday", "cursor=abc"] {
            let answer = api.get(&format!("/api/v1/tasks?{bad}")).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_by_cursor_have_every_task_once_while_tasks_are_added() {
    with_api(async |api| {
        let rows = api.rows();
        let mut there = Vec::new();
        let at = Utc::now().trunc_subsecs(6) - TimeDelta::hours(1);
        for number in 0..11 {
            let id = TaskId::new();
            rows.task(id, TaskStatus::Done, &["claude"]).await;
            // Some of them at the same moment.
            let change = task::ActiveModel {
                created_at: Set(at + TimeDelta::seconds(number / 3)),
                ..Default::default()
            };
            rows.change(id, change).await;
            there.push(id.to_string());
        }
        let mut seen = Vec::new();
        let mut path = "/api/v1/tasks?page_size=4".to_owned();
        loop {
            let answer = api.get(&path).await.json();
            seen.extend(ids(&answer));
            // A task is created between any two pages.
            rows.task(TaskId::new(), TaskStatus::Queued, &["claude"])
                .await;
            match answer["next_cursor"].as_str() {
                Some(cursor) => path = format!("/api/v1/tasks?page_size=4&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), there.len());
        seen.sort();
        there.sort();
        assert_eq!(seen, there);
    })
    .await;
}

#[tokio::test]
async fn a_text_is_found_with_any_letters() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Error).await;
        let change = task::ActiveModel {
            error_message: Set(Some("\u{c4}RGER 100% of_it!".to_owned())),
            ..Default::default()
        };
        api.rows().change(task, change).await;
        // As it stands there, and in any case where letters are those of English.
        for text in ["%C3%84RGER", "%C3%84rger", "100%25", "OF_IT", "it!"] {
            let found = api.get(&format!("/api/v1/tasks?q={text}")).await.json();
            assert_eq!(found["total"], 1, "{text}");
        }
        for text in ["OF.IT", "100_"] {
            let found = api.get(&format!("/api/v1/tasks?q={text}")).await.json();
            assert_eq!(found["total"], 0, "{text}");
        }
    })
    .await;
}
