//! Replays all recorded exchanges of clients with the first service.
//!
//! The test compares the status, all recorded headers, and all fields of every body with their types
//! and values. Of a stream it compares every event. These values are compared loosely:
//!
//! * ids that the service generates: the first occurrence maps the recorded id to the new one
//!   ([`Ids`]);
//! * times: both must be times. `created_at` of rows that existed before must be equal;
//! * `correlation_id`, `modified`: only their types;
//! * `Retry-After`: at most the recorded number of seconds;
//! * `total`: the recording had 10,000 additional tasks;
//! * truncated bodies: they end where the recording ends ([`whole`]);
//! * the log file of the recorded stream names its task `x`.
//!
//! Every other difference must be a [`Difference`], which quotes `docs/reference/api.md`. A difference
//! that the document does not contain, or that no longer exists, fails the test.

mod compare;
mod differences;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request};
use chrono::{DateTime, Utc};
use domain::vocabulary::{Dimension, RunStatus, TaskStatus};
use entity::{RunId, ScoreId, TaskId, agent_run, score, task};
use futures::StreamExt;
use platform::events::Event;
use sea_orm::{ActiveModelTrait, IntoActiveModel, Set};
use serde::Deserialize;
use serde_json::{Value, json};
use testkit::database::on_both_engines;
use tower::ServiceExt;

use crate::support::TestApi;
use compare::{Comparison, Ids, events_of, whole};
use differences::DIFFERENCES;

#[derive(Deserialize)]
struct Exchange {
    name: String,
    request: Asked,
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    path: String,
    body: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

const RECORDING: &str = include_str!("seed/exchanges.jsonl");
const DONE: &str = "d60f51b8-f0dc-e877-d170-8438f166a39b";
const FAILED: &str = "fe5321ba-d788-e36f-f5c4-798dc0b37490";
const RUNNING: &str = "00000000-0000-4000-8000-0000000000aa";
/// The runs of the first of these tasks, and the sizes of their files.
const RUNS: [(&str, &str, usize, usize); 3] = [
    ("9586afc6-2599-9920-8736-447118bd7438", "iflow", 20, 124),
    ("2d3fb4c9-e4ba-50cf-e553-e92ade64de25", "claude", 21, 125),
    ("0f8361b8-3ff3-9f71-aa7e-98c6de12c412", "gemini", 21, 125),
];

#[tokio::test]
async fn every_exchange_of_the_first_service_still_works() {
    let exchanges: Vec<Exchange> = RECORDING
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(exchanges.len(), 81);
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("ALLOWED_ORIGINS", "http://localhost:3000")]);
        prepare(&api).await;
        // The last exchanges were recorded after the rate limit was reached.
        let limited = TestApi::with(database, [("RATE_LIMIT_PER_MINUTE", "1")]);
        limited.get("/api/v1/tasks").await;
        let mut ids = Ids::default();
        let mut found = Vec::new();
        for exchange in &exchanges {
            if exchange.name == "list_default" {
                // Until then there was a worker, which could not clone.
                fail_queued_jobs(&api).await;
            }
            let asked = if exchange.name.contains("limited") {
                // The files depend on the service that stores them.
                if exchange.name == "not_limited_artifacts" {
                    &api
                } else {
                    &limited
                }
            } else {
                &api
            };
            found.extend(had_again(asked, exchange, &mut ids).await);
        }
        let listed =
            |found: &compare::Found| DIFFERENCES.iter().any(|difference| difference.is(found));
        let unlisted: Vec<String> = found
            .iter()
            .filter(|found| !listed(found))
            .map(ToString::to_string)
            .collect();
        assert!(
            unlisted.is_empty(),
            "{} differences are not listed:\n{}",
            unlisted.len(),
            unlisted.join("\n")
        );
        for difference in DIFFERENCES {
            assert!(
                found.iter().any(|found| difference.is(found)),
                "there is no such difference: {difference:?}"
            );
        }
    })
    .await;
}

#[test]
fn every_difference_is_documented() {
    let reference = include_str!("../../docs/reference/api.md");
    let (_, documented) = reference.split_once("## Deliberate differences").unwrap();
    // The document wraps its lines.
    let documented: Vec<&str> = documented.split_whitespace().collect();
    let documented = documented.join(" ");
    for difference in DIFFERENCES {
        let words = difference.documented_as;
        assert!(
            documented.contains(words),
            "docs/reference/api.md does not contain: {words}"
        );
    }
}

/// Replays an exchange and returns its differences.
async fn had_again(api: &TestApi, exchange: &Exchange, ids: &mut Ids) -> Vec<compare::Found> {
    let path = ids.in_place_of(&exchange.request.path);
    let request = replayed(&exchange.request, &path);
    let response = api
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("it is there");
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let is_stream = exchange.request.path.contains("/stream") && status == 200;
    let mut pieces = response.into_body().into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece.expect("it is there"));
        // It goes on for as long as its task does.
        if is_stream && exchange.request.path.contains(RUNNING) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut comparison = Comparison::new(&exchange.name, ids);
    if status != exchange.status {
        comparison.note("", "status", format!("{status}, was {}", exchange.status));
        return comparison.found;
    }
    for (name, then) in &exchange.headers {
        let now = headers.get(name).and_then(|value| value.to_str().ok());
        let seconds = |text: &str| text.parse::<u32>().ok();
        let is_wait = name == "retry-after" && now.and_then(seconds) <= seconds(then);
        if now != Some(then) && !(is_wait && now.and_then(seconds) > Some(0)) {
            comparison.note(name, "header", format!("{now:?}, was {then:?}"));
        }
    }
    if is_stream {
        let then = exchange.body.as_str().expect("it is there");
        let then = then.replace("\"task_id\": \"x\"", &format!("\"task_id\": \"{DONE}\""));
        comparison.events(&events_of(&then), &events_of(&text));
    } else if exchange.headers["content-type"].starts_with("application/json") {
        let now = serde_json::from_str(&text).unwrap_or(Value::Null);
        comparison.values("", &whole(&exchange.body), &now);
    } else if exchange.body.as_str() != Some(&*text) {
        comparison.note("", "text", format!("{text:?}, was {}", exchange.body));
    }
    comparison.found
}

fn replayed(asked: &Asked, path: &str) -> Request<Body> {
    let method: Method = asked.method.parse().expect("a method");
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in &asked.headers {
        request = request.header(name, value);
    }
    let body = match &asked.body {
        None => Body::empty(),
        Some(Value::String(text)) => Body::from(text.clone()),
        Some(other) => Body::from(other.to_string()),
    };
    request
        .header("content-type", "application/json")
        .body(body)
        .expect("a request")
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// Rows as they were when the exchanges were had.
async fn prepare(api: &TestApi) {
    let rows = api.rows();
    let done: TaskId = DONE.parse().expect("a UUID");
    let agents = ["iflow", "claude", "gemini"];
    rows.task(done, TaskStatus::Running, &agents).await;
    let files = |module: u32| -> Value {
        let file = |number| format!("src/module_{module}/file_{number}.py");
        (1..=10).map(file).collect()
    };
    let (begun, over) = (time("2026-01-07T22:39:00Z"), time("2026-01-07T22:57:00Z"));
    let change = task::ActiveModel {
        changed_files: Set(files(8)),
        created_at: Set(begun),
        ..Default::default()
    };
    rows.change(done, change).await;
    rows.happened(done, None, vec![Event::TaskStarted {}]).await;
    let progress = Event::Progress {
        stage: "pr_clone".to_owned(),
        message: "Cloning repository".to_owned(),
        percent: Some(20),
    };
    rows.happened(done, None, vec![progress]).await;
    for (id, agent, transcript, log) in RUNS {
        let run = run(done, id, agent, begun, over);
        run.insert(&api.state.platform.database)
            .await
            .expect("it is there");
        let id: RunId = id.parse().expect("it is there");
        measure(api, id).await;
        let started = Event::RunStarted {
            agent: agent.to_owned(),
            trial: 1,
            attempt: 1,
        };
        rows.happened(done, Some(id), vec![started]).await;
        rows.file(done, Some(id), "transcript", &"t".repeat(transcript))
            .await;
        rows.file(done, Some(id), "session.log", &"l".repeat(log))
            .await;
    }
    rows.file(done, None, "task.log", &"l".repeat(436)).await;
    rows.completed(done).await;

    let failed: TaskId = FAILED.parse().expect("a UUID");
    rows.task(failed, TaskStatus::Error, &agents).await;
    let change = task::ActiveModel {
        pr_url: Set("https://github.com/acme/widgets/pull/10000".to_owned()),
        pr_number: Set(Some(10000)),
        changed_files: Set(files(9)),
        error_message: Set(Some("PR processing failed: example".to_owned())),
        created_at: Set(time("2026-01-07T22:40:00Z")),
        ..Default::default()
    };
    rows.change(failed, change).await;

    let running: TaskId = RUNNING.parse().expect("a UUID");
    rows.task(running, TaskStatus::Running, &["claude"]).await;
    let begun = time("2025-12-01T00:00:00Z");
    let change = task::ActiveModel {
        created_at: Set(begun),
        ..Default::default()
    };
    rows.change(running, change).await;
    let mut run = run(
        running,
        "00000000-0000-4000-8000-0000000000ab",
        "claude",
        begun,
        begun,
    );
    run.status = Set(RunStatus::Running);
    run.milestones = Set(json!({}));
    run.stats = Set(json!({}));
    run.started_at = Set(None);
    run.completed_at = Set(None);
    run.insert(&api.state.platform.database)
        .await
        .expect("it is there");
    let told = agents.map(|name| json!({"name": name, "available": true, "version": "1"}));
    rows.worker("worker", Utc::now(), told.to_vec().into())
        .await;
}

/// A run as it was recorded.
fn run(
    task: TaskId,
    id: &str,
    agent: &str,
    begun: DateTime<Utc>,
    over: DateTime<Utc>,
) -> agent_run::ActiveModel {
    agent_run::Model {
        id: id.parse().expect("a UUID"),
        task_id: task,
        agent: agent.to_owned(),
        trial: 1,
        status: RunStatus::Done,
        phase: None,
        milestones: json!({
            "milestone_0": "repo_loaded", "milestone_1": "pre_compression",
            "milestone_2": "deep_dive_complete", "milestone_3": "memory_only",
            "milestone_4": "evaluation_complete", "milestone_5": "session_complete",
        }),
        stats: json!({
            "initial_tokens": 41000, "pre_compression_tokens": 83000, "deep_dive_iterations": 4,
            "total_tokens": "159999", "hit_limit": "True", "max_tokens_configured": "200000",
            "detection_method": "api_token_tracking",
        }),
        breaks: json!([{"trigger": "auto"}]),
        compression_detected: true,
        seal_broken: false,
        baseline: None,
        checkpoint: None,
        agent_version: None,
        model: None,
        manifest: None,
        retry_count: 0,
        failure_cause: None,
        error_message: None,
        overall_score: Some(0.99),
        passed: Some(false),
        created_at: begun,
        updated_at: over,
        started_at: Some(begun),
        completed_at: Some(over),
    }
    .into_active_model()
    .reset_all()
}

async fn measure(api: &TestApi, run: RunId) {
    let scores = [
        (Dimension::Ar, 0.99),
        (Dimension::Ttl, 0.09),
        (Dimension::Lru, 0.79),
        (Dimension::Sf, 0.59),
    ];
    for (dimension, post) in scores {
        score::Model {
            id: ScoreId::new(),
            run_id: run,
            judging: 1,
            dimension,
            break_index: 1,
            n: 6,
            cold: Some(0.0),
            baseline: Some(1.0),
            post: Some(post),
            retention: Some(post),
            known: None,
            kept: None,
            item_retention: None,
            stale_rate: None,
            abstained_rate: None,
            wrong_rate: None,
            partial_rate: None,
            unreadable_rate: None,
            created_at: Utc::now(),
        }
        .into_active_model()
        .reset_all()
        .insert(&api.state.platform.database)
        .await
        .expect("it is there");
    }
}

/// Ends the tasks that were made, as a worker that finds no repository does.
async fn fail_queued_jobs(api: &TestApi) {
    let listed = api.get("/api/v1/tasks?status=queued").await.json();
    for task in listed["tasks"].as_array().expect("it is there") {
        let change = task::ActiveModel {
            status: Set(TaskStatus::Error),
            error_message: Set(Some("the pull request cannot be fetched".to_owned())),
            ..Default::default()
        };
        let id = task["id"]
            .as_str()
            .expect("it is there")
            .parse()
            .expect("it is there");
        api.rows().change(id, change).await;
    }
}
