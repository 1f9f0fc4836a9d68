//! The events of a task as a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::vocabulary::{Level, RunStatus, TaskStatus};
use entity::{TaskId, task_event};
use futures::StreamExt;
use platform::events::{Event, NewEvent, append};
use sea_orm::TransactionTrait;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::Value;
use testkit::database::on_both_engines;
use tower::ServiceExt;

use crate::support::{RunRow, TestApi, request, with_api};

/// One event as a client of the stream sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: Option<i64>,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// Takes a whole stream apart.
pub(crate) fn parse(text: &str) -> Vec<Seen> {
    text.split("\n\n")
        .filter_map(|block| {
            let fields: BTreeMap<&str, &str> = block
                .lines()
                .filter_map(|line| line.split_once(": "))
                .collect();
            Some(Seen {
                id: fields.get("id").map(|id| id.parse().expect("a number")),
                kind: (*fields.get("event")?).to_owned(),
                data: serde_json::from_str(fields.get("data")?).expect("JSON"),
            })
        })
        .collect()
}

fn progress(number: usize) -> Event {
    Event::Progress {
        stage: "fetch".to_owned(),
        message: format!("step {number}"),
        percent: None,
    }
}

fn stream_of(task: TaskId) -> String {
    format!("/api/v1/logs/{task}/stream")
}

#[tokio::test]
async fn a_stream_has_all_events_from_connected_to_completed() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        api.rows()
            .happened(task, None, vec![Event::TaskStarted {}, progress(1)])
            .await;
        api.rows().completed(task).await;
        let answer = api.get(&stream_of(task)).await;
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("text/event-stream; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let seen = parse(&answer.text());
        let kinds: Vec<_> = seen.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(
            kinds,
            ["connected", "task_started", "progress", "completed"]
        );
        let ids: Vec<_> = seen.iter().map(|event| event.id).collect();
        assert_eq!(ids, [Some(0), Some(1), Some(2), Some(3)]);
        for event in &seen {
            assert_eq!(event.data["type"], event.kind);
            assert_eq!(event.data["task_id"], task.to_string());
            for field in ["level", "timestamp", "message"] {
                assert!(event.data[field].is_string(), "{field} of {event:?}");
            }
        }
        assert_eq!(seen[2].data["message"], "step 1");
        assert_eq!(seen[2].data["stage"], "fetch");
        assert_eq!(seen[3].data["status"], "done");
    })
    .await;
}

#[tokio::test]
async fn a_reconnecting_client_receives_every_event_exactly_once() {
    const EVENTS: usize = 1200;
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        let rows = api.rows();
        let writing = async {
            for start in (0..EVENTS).step_by(7) {
                let end = (start + 7).min(EVENTS);
                rows.happened(task, None, (start..end).map(progress).collect())
                    .await;
            }
            rows.completed(task).await;
        };
        let reading = async {
            let mut seen: Vec<Seen> = Vec::new();
            let mut last_id: Option<i64> = None;
            loop {
                let mut asking = request(Method::GET, &stream_of(task), Body::empty());
                if let Some(id) = last_id {
                    asking
                        .headers_mut()
                        .insert("last-event-id", id.to_string().parse().unwrap());
                }
                let response = api.router.clone().oneshot(asking).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                let mut pieces = response.into_body().into_data_stream();
                // Hangs up after some pieces, wherever that is.
                let mut taken = String::new();
                for _ in 0..37 {
                    let Some(piece) = pieces.next().await else {
                        break;
                    };
                    taken.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
                }
                let whole = taken.rfind("\n\n").map_or("", |end| &taken[..end]);
                seen.extend(
                    parse(whole)
                        .into_iter()
                        .filter(|event| event.kind != "connected"),
                );
                last_id = seen.last().and_then(|event| event.id);
                if seen.last().is_some_and(|event| event.kind == "completed") {
                    return seen;
                }
            }
        };
        let ((), seen) = tokio::join!(writing, reading);
        let ids: Vec<i64> = seen.iter().filter_map(|event| event.id).collect();
        let expected: Vec<i64> = (1..=i64::try_from(EVENTS).unwrap() + 1).collect();
        assert_eq!(ids, expected);
    })
    .await;
}

#[tokio::test]
async fn events_arrive_while_the_stream_is_open_and_sooner_than_by_looking() {
    const EVENTS: usize = 20;
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        let asking = request(Method::GET, &stream_of(task), Body::empty());
        let response = api.router.clone().oneshot(asking).await.unwrap();
        let mut pieces = response.into_body().into_data_stream();
        let first = pieces.next().await.unwrap().unwrap();
        assert!(std::str::from_utf8(&first).unwrap().contains("connected"));
        let one_by_one = async {
            for number in 0..EVENTS {
                api.rows()
                    .happened(task, None, vec![progress(number)])
                    .await;
                let piece = pieces.next().await.unwrap().unwrap();
                let expected = format!("step {number}");
                assert!(std::str::from_utf8(&piece).unwrap().contains(&expected));
            }
        };
        // By looking once a second alone, it would take twice as long.
        let limit = Duration::from_secs(10);
        assert!(tokio::time::timeout(limit, one_by_one).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_received_the_end_is_told_to_stop() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        api.rows().completed(task).await;
        let answer = api.get(&format!("{}?after=1", stream_of(task))).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let answer = api.get(&format!("{}?after=0", stream_of(task))).await;
        assert_eq!(parse(&answer.text()).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        let answer = api.get(&format!("{}?after=latest", stream_of(task))).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        for bad in ["-3", "", " ", "9223372036854775808"] {
            let mut asking = request(Method::GET, &stream_of(task), Body::empty());
            asking
                .headers_mut()
                .insert("last-event-id", bad.parse().unwrap());
            let answer = api.send(asking).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
        }
        let both = format!("{}?after=0", stream_of(task));
        let mut asking = request(Method::GET, &both, Body::empty());
        asking
            .headers_mut()
            .insert("last-event-id", "]>'".parse().unwrap());
        let answer = api.send(asking).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text().contains("last-event-id"));
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_one_agent_has_its_events_and_ends_with_its_runs() {
    with_api(async |api| {
        let task = TaskId::new();
        let agents = ["claude", "gemini"];
        api.rows().task(task, TaskStatus::Running, &agents).await;
        let running = RunRow {
            status: RunStatus::Running,
            score: None,
            ..RunRow::default()
        };
        let claude = api.rows().run(task, running).await;
        let other = RunRow {
            agent: "gemini",
            status: RunStatus::Running,
            score: None,
            ..RunRow::default()
        };
        let gemini = api.rows().run(task, other).await;
        let started = |agent: &str| Event::RunStarted {
            agent: agent.to_owned(),
            trial: 1,
            attempt: 1,
        };
        let rows = api.rows();
        rows.happened(task, Some(claude.id), vec![started("claude")])
            .await;
        rows.happened(task, Some(gemini.id), vec![started("gemini")])
            .await;
        let mut ended: entity::agent_run::ActiveModel = claude.clone().into();
        ended.status = Set(RunStatus::Done);
        ended.update(&api.state.platform.database).await.unwrap();

        let path = format!("/api/v1/logs/{task}/agent/claude/stream");
        let seen = parse(&api.get(&path).await.text());
        let kinds: Vec<_> = seen.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["connected", "run_started", "agent_completed"]);
        assert_eq!(seen[1].data["agent"], "claude");
        assert_eq!(seen[2].data["status"], "done");
        let ids: Vec<_> = seen.iter().map(|event| event.id).collect();
        assert_eq!(ids, [Some(0), Some(1), Some(3)]);
        // A client that received the last event of the run, but not the end, receives the end.
        let rest = parse(&api.get(&format!("{path}?after=1")).await.text());
        assert_eq!(
            rest.last().map(|end| end.kind.as_str()),
            Some("agent_completed")
        );
        for stream in ["agent", "container"] {
            let path = format!("/api/v1/logs/{task}/{stream}/claude/stream");
            let mut asking = request(Method::GET, &path, Body::empty());
            let seen = "3".parse().unwrap();
            asking.headers_mut().insert("last-event-id", seen);
            assert_eq!(api.send(asking).await.status, StatusCode::NO_CONTENT);
        }
        let nobody = api
            .get(&format!("/api/v1/logs/{task}/agent/nobody/stream"))
            .await;
        assert_eq!(nobody.status, StatusCode::NOT_FOUND);
        assert_eq!(nobody.json()["error"], "Agent not found in task");
    })
    .await;
}

#[tokio::test]
async fn the_stream_of_an_agent_whose_run_failed_ends_with_its_error() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        let failed = RunRow {
            status: RunStatus::Error,
            score: None,
            ..RunRow::default()
        };
        let run = api.rows().run(task, failed).await;
        api.rows()
            .happened(task, Some(run.id), vec![progress(1)])
            .await;
        // A client of the whole task makes the events known to the process, but not the statuses of
        // runs.
        let mut whole = api
            .router
            .clone()
            .oneshot(request(Method::GET, &stream_of(task), Body::empty()))
            .await
            .expect("an answer")
            .into_body()
            .into_data_stream();
        let mut text = String::new();
        while !text.contains("step 1") {
            let piece = whole.next().await.expect("a piece").expect("bytes");
            text.push_str(&String::from_utf8_lossy(&piece));
        }
        api.rows().completed(task).await;
        while !text.contains("event: completed") {
            let piece = whole.next().await.expect("a piece").expect("bytes");
            text.push_str(&String::from_utf8_lossy(&piece));
        }
        let path = format!("/api/v1/logs/{task}/agent/claude/stream");
        let seen = parse(&api.get(&path).await.text());
        let last = seen.last().expect("an end");
        assert_eq!(last.kind, "agent_completed");
        assert_eq!(last.data["status"], "error");
    })
    .await;
}

#[tokio::test]
async fn a_finished_task_without_a_worker_ends_its_stream_without_a_last_event() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Cancelled).await;
        let seen = parse(&api.get(&stream_of(task)).await.text());
        let kinds: Vec<_> = seen.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["connected", "completed"]);
        assert_eq!(seen[1].data["status"], "cancelled");
        // No event has this number. A client that sends it has received the end.
        assert_eq!(seen[1].id, Some(1));
        let path = format!("{}?after=1", stream_of(task));
        assert_eq!(api.get(&path).await.status, StatusCode::NO_CONTENT);
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        // A worker still has something to do, so the task is not over.
        let stream = stream_of(task);
        let asking = api.get(&stream);
        let stopping = async {
            tokio::task::yield_now().await;
            api.stopping.cancel();
        };
        let (answer, ()) = tokio::join!(asking, stopping);
        let kinds: Vec<_> = parse(&answer.text())
            .into_iter()
            .map(|event| event.kind)
            .collect();
        assert_eq!(kinds, ["connected"]);
    })
    .await;
}

#[tokio::test]
async fn a_client_receives_only_requested_events_and_always_the_end() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Running, &["claude"]).await;
        rows.happened(task, None, vec![Event::TaskStarted {}, progress(1)])
            .await;
        let transaction = database.connection().begin().await.unwrap();
        let loud = NewEvent {
            run: None,
            level: Level::Warning,
            event: progress(2),
        };
        let redactor = &api.state.platform.redactor;
        append(&transaction, task, &[loud], redactor).await.unwrap();
        transaction.commit().await.unwrap();
        rows.completed(task).await;
        for (query, expected) in [
            ("level=WARNING", vec!["connected", "progress", "completed"]),
            (
                "kind=task_started",
                vec!["connected", "task_started", "completed"],
            ),
            (
                "kind=task_started,progress&level=WARNING",
                vec!["connected", "progress", "completed"],
            ),
            ("kind=nothing_like_it", vec!["connected", "completed"]),
            ("after=3", vec!["connected", "completed"]),
        ] {
            let answer = api.get(&format!("{}?{query}", stream_of(task))).await;
            let kinds: Vec<String> = parse(&answer.text())
                .into_iter()
                .map(|event| event.kind)
                .collect();
            assert_eq!(kinds, expected, "{query}");
        }
        let bad = api.get(&format!("{}?level=LOUD", stream_of(task))).await;
        assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    })
    .await;
}

#[tokio::test]
async fn a_task_that_was_tried_again_is_followed_to_its_second_end() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Running, &["claude"]).await;
        rows.completed(task).await;
        rows.happened(task, None, vec![Event::TaskRetried { by: None, runs: 1 }])
            .await;
        rows.completed(task).await;
        let answer = api.get(&stream_of(task)).await;
        let kinds: Vec<String> = parse(&answer.text())
            .into_iter()
            .map(|event| event.kind)
            .collect();
        assert_eq!(
            kinds,
            ["connected", "completed", "task_retried", "completed"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_number_that_no_event_has_yet_leads_to_the_next_event_and_the_end() {
    on_both_engines(async |database| {
        for after in [1000, i64::MAX] {
            let api = TestApi::on(database);
            let rows = api.rows();
            let task = TaskId::new();
            rows.task(task, TaskStatus::Running, &["claude"]).await;
            rows.happened(task, None, vec![Event::TaskStarted {}]).await;
            let path = format!("{}?after={after}", stream_of(task));
            let asking = request(Method::GET, &path, Body::empty());
            let response = api.router.clone().oneshot(asking).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let mut pieces = response.into_body().into_data_stream();
            let first = pieces.next().await.unwrap().unwrap();
            let first = parse(std::str::from_utf8(&first).unwrap());
            assert_eq!(first[0].id, Some(1));
            rows.happened(task, None, vec![progress(1)]).await;
            rows.completed(task).await;
            let rest = async {
                let mut text = String::new();
                while let Some(piece) = pieces.next().await {
                    text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
                }
                text
            };
            let rest = tokio::time::timeout(Duration::from_secs(20), rest).await;
            let kinds: Vec<String> = parse(&rest.expect("the stream ends"))
                .into_iter()
                .map(|event| event.kind)
                .collect();
            assert_eq!(kinds, ["progress", "completed"], "{after}");
        }
    })
    .await;
}

#[tokio::test]
async fn late_clients_share_pages_of_older_events() {
    const EVENTS: usize = 1200;
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Running, &["claude"]).await;
        rows.happened(task, None, (0..EVENTS).map(progress).collect())
            .await;
        let follow = async || {
            let asking = request(Method::GET, &stream_of(task), Body::empty());
            let response = api.router.clone().oneshot(asking).await.unwrap();
            let mut pieces = response.into_body().into_data_stream();
            let mut ids = Vec::new();
            while ids.len() < EVENTS {
                let piece = pieces.next().await.expect("it goes on").unwrap();
                let seen = parse(std::str::from_utf8(&piece).unwrap());
                let events = seen.into_iter().filter(|event| event.kind == "progress");
                ids.extend(events.filter_map(|event| event.id));
            }
            (ids, pieces)
        };
        let (first, open) = follow().await;
        // The second client cannot receive these events from the database.
        task_event::Entity::delete_many()
            .filter(task_event::Column::TaskId.eq(task))
            .filter(task_event::Column::Seq.lte(500))
            .exec(database.connection())
            .await
            .unwrap();
        let second = tokio::time::timeout(Duration::from_secs(20), follow()).await;
        let (second, _) = second.expect("nothing is missing");
        assert_eq!(first, second);
        drop(open);
    })
    .await;
}
