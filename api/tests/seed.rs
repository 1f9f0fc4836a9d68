//! The exchanges that clients of the first service had with it, had again.
//!
//! A success must have every field that it had, of the same type; a refusal must have them with
//! the same content. Where this service answers otherwise on purpose, [`DIFFERENCES`] says so, and
//! `docs/api.md` why.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request};
use entity::TaskId;
use entity::status::{RunStatus, TaskStatus};
use platform::events::Event;
use serde::Deserialize;
use serde_json::Value;
use testkit::database::on_both_engines;

use crate::support::{RunRow, TestApi};

#[derive(Deserialize)]
struct Exchange {
    name: String,
    request: Asked,
    status: u16,
    body: Option<Value>,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    path: String,
    body: Option<Value>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
}

/// How an answer differs on purpose.
enum Difference {
    /// Another status; the body goes with it.
    Status(u16),
    /// The same status, other words or lists in these places.
    Words(&'static [&'static str]),
}

use Difference::{Status, Words};

const DIFFERENCES: &[(&str, Difference)] = &[
    // Pages that were not there.
    ("health_noslash", Status(200)),
    ("list_trailing_slash", Status(200)),
    // Errors of the service that are errors of the request.
    ("post_huge_pr_number", Status(400)),
    ("list_page0", Status(422)),
    ("list_neg_size", Status(422)),
    ("leaderboard_baduuid", Status(422)),
    // What did not work.
    ("artifact_get", Status(200)),
    ("artifact_bundle", Status(200)),
    // Who is forwarded for is anybody's word: it got around the limit.
    ("rate_limited_xff", Status(429)),
    // Anybody could end anybody's task by it.
    ("status_post_spoof_done", Status(404)),
    // There are more agents, more states, and another JSON and UUID parser.
    ("post_unknown_agent", Words(&["msg", "ctx"])),
    ("agent_unknown", Words(&["msg", "ctx"])),
    ("list_filter_bad", Words(&["msg", "ctx"])),
    ("post_bad_json", Words(&["ctx", "loc"])),
    ("get_task_baduuid", Words(&["msg", "ctx"])),
    // Plain words there, our shape of errors here.
    ("bad_host", Words(&[""])),
    ("cors_preflight", Words(&[""])),
    // Queues, agents and their programs have other names.
    (
        "health_detailed",
        Words(&["queue_stats", "queue_lengths", "details"]),
    ),
    (
        "health_metrics",
        Words(&["queue_metrics", "queue_lengths", "agents"]),
    ),
    // No figures are made up for runs that have none.
    ("post_valid_leaderboard_after", Words(&["leaderboard"])),
];

const DONE: &str = "d60f51b8-f0dc-e877-d170-8438f166a39b";
const FIRST: &str = "548b395f-41f1-437d-8d79-e0e6a1ddae78";
const RUNNING: &str = "00000000-0000-4000-8000-0000000000aa";

#[tokio::test]
async fn every_exchange_of_the_first_service_still_works() {
    let exchanges: Vec<Exchange> = include_str!("seed/exchanges.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("ALLOWED_ORIGINS", "http://localhost:3000")]);
        prepare(&api).await;
        // The last ones were had by somebody who had asked too often.
        let limited = TestApi::with(database, [("RATE_LIMIT_PER_MINUTE", "1")]);
        limited.get("/api/v1/tasks").await;
        let mut new_task = String::new();
        let mut wrong = Vec::new();
        for exchange in &exchanges {
            let path = path_of(exchange, &new_task);
            if exchange.name == "delete_error_task" {
                // It had failed by then; here it is over for another reason.
                api.delete(&path).await;
            }
            let asked = if exchange.name.contains("limited") {
                &limited
            } else {
                &api
            };
            let answer = asked.send(replayed(&exchange.request, &path)).await;
            let answered = if answer.bytes.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&answer.bytes).unwrap_or(Value::Null)
            };
            if exchange.name == "post_valid" {
                new_task = answered["id"].as_str().unwrap().to_owned();
            }
            let difference = DIFFERENCES
                .iter()
                .find(|(name, _)| *name == exchange.name)
                .map(|(_, difference)| difference);
            let (status, words): (u16, &[&str]) = match difference {
                None => (exchange.status, &[]),
                Some(Status(status)) => (*status, &[]),
                Some(Words(words)) => (exchange.status, words),
            };
            if answer.status.as_u16() != status {
                wrong.push(format!(
                    "{}: {} instead of {status}: {}",
                    exchange.name,
                    answer.status,
                    answer.text()
                ));
            } else if exchange.request.path.contains("/stream") && exchange.status == 200 {
                let first = answer.text();
                let first = first.lines().find(|line| line.starts_with("data: "));
                let first: Value = first
                    .and_then(|line| serde_json::from_str(&line[6..]).ok())
                    .unwrap_or_default();
                if first["type"] != "connected" || first["task_id"] != DONE {
                    wrong.push(format!("{}: begins with {first}", exchange.name));
                }
            } else if let (Some(body), false) = (
                &exchange.body,
                matches!(difference, Some(Status(_))) || words == [""],
            ) {
                let check = Check {
                    exact: exchange.status >= 400,
                    words,
                };
                let body = body.to_string().replace(FIRST, &new_task);
                let body = serde_json::from_str(&body).unwrap();
                check.compare(&exchange.name, &body, &answered, &mut wrong);
            }
        }
        assert_eq!(exchanges.len(), 81);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

#[test]
fn every_difference_belongs_to_an_exchange() {
    let known: BTreeSet<String> = include_str!("seed/exchanges.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Exchange>(line).unwrap().name)
        .collect();
    for (name, _) in DIFFERENCES {
        assert!(known.contains(*name), "{name}");
    }
}

/// Rows as they were when the exchanges were had.
async fn prepare(api: &TestApi) {
    let rows = api.rows();
    let done: TaskId = DONE.parse().expect("a UUID");
    let agents = ["iflow", "claude", "gemini"];
    rows.task(done, TaskStatus::Running, &agents).await;
    for agent in agents {
        let run = rows
            .run(
                done,
                RunRow {
                    agent,
                    ..RunRow::default()
                },
            )
            .await;
        rows.file(done, Some(run.id), "transcript", "text").await;
    }
    rows.file(done, None, "task.log", "{}\n").await;
    rows.happened(done, None, vec![Event::TaskStarted {}]).await;
    rows.completed(done).await;
    rows.task(TaskId::new(), TaskStatus::Error, &["claude"])
        .await;
    let running: TaskId = RUNNING.parse().expect("a UUID");
    rows.task(running, TaskStatus::Running, &["claude"]).await;
    let run = RunRow {
        status: RunStatus::Running,
        score: None,
        ..RunRow::default()
    };
    rows.run(running, run).await;
    let agents = agents.map(|name| serde_json::json!({"name": name, "available": true}));
    rows.worker("worker", chrono::Utc::now(), agents.to_vec().into())
        .await;
}

/// The path, with the id of the task that was made first in place of the one of then.
fn path_of(exchange: &Exchange, new_task: &str) -> String {
    match exchange.name.as_str() {
        // It goes on for as long as the task does: what there is of it is another test's.
        "logs_stream_running_nofile" => format!("/api/v1/logs/{DONE}/stream"),
        _ => exchange.request.path.replace(FIRST, new_task),
    }
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

struct Check {
    /// Whether the content must be the same, or only the fields and their types.
    exact: bool,
    /// Fields that are not looked into.
    words: &'static [&'static str],
}

impl Check {
    fn compare(&self, place: &str, then: &Value, now: &Value, wrong: &mut Vec<String>) {
        match (then, now) {
            (Value::Object(then), Value::Object(now)) => {
                for (name, then) in then {
                    if self.words.contains(&name.as_str()) {
                        continue;
                    }
                    let place = format!("{place}.{name}");
                    match now.get(name) {
                        // What a run is made of differs from run to run.
                        Some(_) if !self.exact && ["milestones", "stats"].contains(&&**name) => {}
                        Some(now) => self.compare(&place, then, now, wrong),
                        None => wrong.push(format!("{place} is missing")),
                    }
                }
            }
            (Value::Array(then), Value::Array(now)) => {
                if self.exact && then.len() != now.len() || now.len() < then.len().min(1) {
                    wrong.push(format!("{place} has {} items", now.len()));
                }
                for (position, (then, now)) in then.iter().zip(now).enumerate() {
                    self.compare(&format!("{place}.{position}"), then, now, wrong);
                }
            }
            // What was not known then may be known now, and the other way round.
            (Value::Null, _) | (_, Value::Null) if !self.exact => {}
            (then, now) if self.exact => {
                if then != now {
                    wrong.push(format!("{place} is {now}, was {then}"));
                }
            }
            (then, now) => {
                if std::mem::discriminant(then) != std::mem::discriminant(now) {
                    wrong.push(format!("{place} is {now}, was {then}"));
                }
            }
        }
    }
}
