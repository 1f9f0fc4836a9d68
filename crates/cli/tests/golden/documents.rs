//! The documents that are recorded: every route that reads the database, every format of the report,
//! the plan, and a second judging.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::Documents;
use super::fixture::Fixture;
use super::parse;
use super::service::{Answer, Ended, Installation, ORGANISATION, Service};

/// Commands and requests at once.
const AT_ONCE: usize = 4;

/// Fields whose value depends on the time or on this machine, in every document.
const VOLATILE: &[&str] = &["correlation_id", "timestamp"];
/// The same, in answers about the present state of the service.
const PRESENT: &[&str] = &[
    "at",
    "busy",
    "checked_at",
    "cpu",
    "disk",
    "host",
    "latency_ms",
    "memory",
    "response_time",
    "seen_at",
    "started_at",
    "uptime_seconds",
    "version",
    "workers",
];
/// The same, in the result of an evaluation that has just been made.
const NEW: &[&str] = &[
    "agent_version",
    "duration_ms",
    "id",
    "manifest_hash",
    "orchestrator_version",
    "pr_url",
    "tried_at",
];

/// The properties of a recorded task that decide which documents it has.
struct Task {
    id: String,
    organisation: String,
    status: String,
    agents: Vec<String>,
    judgings: Vec<i64>,
}

/// Makes all documents. Writes to the database only at the end, where it judges again.
pub(crate) async fn all(
    fixture: &Fixture,
    installation: &Installation,
) -> anyhow::Result<Documents> {
    let tasks = tasks(fixture)?;
    let mut documents = Documents::new();
    let service = installation.serve().await?;
    documents.extend(answers(&service, &tasks, fixture).await?);
    drop(service);
    documents.extend(commands(installation, &tasks).await?);
    documents.extend(judged_again(installation, fixture).await?);
    Ok(documents)
}

/// Evaluates the sample pull request: a run of the whole program from its request to its result.
pub(crate) async fn sample(installation: &Installation) -> anyhow::Result<Documents> {
    let agents = "control-perfect,control-lossy:0.5,control-stale,control-guesser,control-cheater";
    let args = [
        "demo", "--json", "--quiet", "--trials", "1", "--seed", "5", "--agents", agents,
    ];
    let ended = installation.run(&args).await?;
    let mut document = command_document("json", &ended)
        .with_context(|| format!("reading the output of {args:?}: {}", ended.stderr))?;
    hide(&mut document, NEW);
    Ok(Documents::from([("demo".to_owned(), document)]))
}

fn text(row: &serde_json::Map<String, Value>, name: &str) -> anyhow::Result<String> {
    let value = row.get(name).and_then(Value::as_str);
    Ok(value
        .with_context(|| format!("a row has no {name}"))?
        .to_owned())
}

fn tasks(fixture: &Fixture) -> anyhow::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for row in fixture.rows("task") {
        let id = text(row, "id")?;
        let own = |row: &&serde_json::Map<String, Value>| row["task_id"] == id.as_str();
        let mut agents = Vec::new();
        for run in fixture.rows("agent_run").iter().filter(own) {
            agents.push(text(run, "agent")?);
        }
        agents.sort();
        agents.dedup();
        let judgings = fixture.rows("judging").iter().filter(own);
        tasks.push(Task {
            organisation: text(row, "org_id")?,
            status: text(row, "status")?,
            judgings: judgings.filter_map(|row| row["number"].as_i64()).collect(),
            agents,
            id,
        });
    }
    ensure!(!tasks.is_empty(), "the recording has no tasks");
    Ok(tasks)
}

/// The answers of the API, by their path.
async fn answers(
    service: &Service,
    tasks: &[Task],
    fixture: &Fixture,
) -> anyhow::Result<Documents> {
    let mut paths: Vec<(String, String)> = Vec::new();
    for organisation in [ORGANISATION, "other", "unknown"] {
        for path in [
            "/api/v1/tasks",
            "/api/v1/tasks?page_size=3&page=2",
            "/api/v1/tasks?status=done,cancelled&page_size=100",
            "/api/v1/tasks?agent=control-lossy",
            "/api/v1/tasks?q=EMPTY",
            "/api/v1/tasks?repo=membreak/sample",
            "/api/v1/leaderboard",
            "/api/v1/leaderboard?pass_mark=0.7&include_stub=true",
            "/api/v1/leaderboard?agent=control-lossy:0.5",
            "/api/v1/leaderboard?repo=membreak/sample",
            "/api/v1/leaderboard?from=2000-01-01T00:00:00Z&to=2001-01-01T00:00:00Z",
            "/api/v1/leaderboard?pass_mark=7",
            "/api/v1/agents",
            "/api/v1/queues",
            "/api/v1/queues/dead",
            "/api/v1/tokens",
            "/api/v1/webhooks",
            "/api/v1/audit?page_size=100",
        ] {
            paths.push((organisation.to_owned(), path.to_owned()));
        }
    }
    for webhook in fixture.rows("webhook") {
        let path = format!("/api/v1/webhooks/{}/deliveries", text(webhook, "id")?);
        paths.push((text(webhook, "org_id")?, path));
    }
    for path in ["/health/detailed", "/health/metrics", "/metrics"] {
        paths.push((ORGANISATION.to_owned(), path.to_owned()));
    }
    for task in tasks {
        for path in task_paths(task) {
            paths.push((task.organisation.clone(), path));
        }
        // A task of another organisation does not exist.
        paths.push(("unknown".to_owned(), format!("/api/v1/tasks/{}", task.id)));
    }
    stream::iter(paths)
        .map(|(organisation, path)| async move {
            let answer = service.get(&path, &organisation).await?;
            let document = answer_document(&path, &answer)
                .with_context(|| format!("reading the answer to {path}: {}", answer.text))?;
            Ok((format!("GET {path} ({organisation})"), document))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn task_paths(task: &Task) -> Vec<String> {
    let id = &task.id;
    let mut paths: Vec<String> = [
        "",
        "/agents",
        "/leaderboard",
        "/comparison",
        "/judgings",
        "/question-bank",
    ]
    .iter()
    .map(|rest| format!("/api/v1/tasks/{id}{rest}"))
    .collect();
    paths.push(format!("/api/v1/logs/{id}/artifacts/logs"));
    paths.push(format!("/api/v1/artifacts/{id}/list"));
    for agent in &task.agents {
        paths.push(format!("/api/v1/tasks/{id}/agents/{agent}"));
        paths.push(format!("/api/v1/tasks/{id}/agents/{agent}?trial=1"));
    }
    for number in &task.judgings {
        paths.push(format!("/api/v1/tasks/{id}/judgings/{number}"));
    }
    // The stream of a task that goes on does not end.
    if ["done", "error", "cancelled"].contains(&task.status.as_str()) {
        paths.push(format!("/api/v1/logs/{id}/stream"));
        paths.push(format!("/api/v1/logs/{id}/stream?level=WARNING"));
        if let Some(agent) = task.agents.first() {
            paths.push(format!(
                "/api/v1/logs/{id}/agent/{agent}/stream?trial=1&after=10"
            ));
        }
    }
    paths
}

fn answer_document(path: &str, answer: &Answer) -> anyhow::Result<Value> {
    let body = if answer.media_type.starts_with("text/event-stream") {
        parse::events(&answer.text)
    } else if path == "/metrics" {
        parse::metric_names(&answer.text)
    } else if path.ends_with("/question-bank") && answer.status == 200 {
        parse::json_lines(&answer.text)?
    } else if answer.text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&answer.text)?
    };
    let mut document = json!({ "status": answer.status, "body": body });
    if answer.media_type.starts_with("text/event-stream") {
        hide_made_up_events(&mut document["body"]);
    } else {
        hide(&mut document, VOLATILE);
    }
    let describes_present = ["/api/v1/agents", "/api/v1/queues", "/health"];
    if describes_present
        .iter()
        .any(|start| path.starts_with(start))
    {
        hide(&mut document, PRESENT);
    }
    Ok(document)
}

/// The output of the commands, by their arguments.
async fn commands(installation: &Installation, tasks: &[Task]) -> anyhow::Result<Documents> {
    let mut lines: Vec<String> = Vec::new();
    for format in ["json", "csv", "markdown", "html"] {
        for task in tasks {
            lines.push(format!("report {} --format {format}", task.id));
        }
        lines.push(format!("report --across --format {format}"));
        lines.push(format!(
            "report --across --repo membreak/sample --format {format}"
        ));
    }
    for rest in [
        "--pass-mark 0.7",
        "--agent control-lossy:0.5",
        "--model sample@stub",
        "--until 2001-01-01",
        "--since 2001-01-01",
    ] {
        lines.push(format!("report --across {rest} --format json"));
    }
    let mut documents: Documents = stream::iter(lines)
        .map(|line| async move {
            let args: Vec<&str> = line.split(' ').collect();
            let ended = installation.run(&args).await?;
            let format = args.last().copied().unwrap_or_default();
            let document = command_document(format, &ended)
                .with_context(|| format!("reading the output of {line}"))?;
            Ok::<_, anyhow::Error>((line.clone(), document))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let results = results(installation, tasks).await?;
    let agents = "control-perfect,control-lossy:0.5";
    let mut args = vec!["plan", "--difference", "0.2", "--agents", agents, "--json"];
    for path in &results {
        args.extend(["--from", path.to_str().context("a path that is not UTF-8")?]);
    }
    let ended = installation.run(&args).await?;
    documents.insert("plan".to_owned(), command_document("json", &ended)?);
    Ok(documents)
}

/// Files with the results of the tasks that are done.
async fn results(installation: &Installation, tasks: &[Task]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for task in tasks.iter().filter(|task| {
        task.status == "done" && task.agents.iter().any(|agent| agent == "control-lossy:0.5")
    }) {
        let path = installation.path(&format!("{}.json", task.id));
        let args = ["report", &task.id, "--format", "json", "--out"];
        let args = [
            &args[..],
            &[path.to_str().context("a path that is not UTF-8")?],
        ]
        .concat();
        installation.run(&args).await?;
        paths.push(path);
    }
    Ok(paths)
}

fn command_document(format: &str, ended: &Ended) -> anyhow::Result<Value> {
    let output = if ended.stdout.is_empty() {
        Value::Null
    } else {
        match format {
            "json" => serde_json::from_str(&ended.stdout)?,
            "csv" => parse::csv(&ended.stdout)?,
            "markdown" => parse::markdown(&ended.stdout),
            _ => parse::html(&ended.stdout),
        }
    };
    Ok(json!({ "code": ended.code, "stderr": ended.stderr, "stdout": output }))
}

/// Judges the tasks again whose files are recorded, by the deterministic judge.
async fn judged_again(installation: &Installation, fixture: &Fixture) -> anyhow::Result<Documents> {
    let mut documents = Documents::new();
    for task in fixture.tasks_with_files() {
        let ended = installation.run(&["judge", &task, "--json"]).await?;
        let mut document = command_document("json", &ended)
            .with_context(|| format!("judging {task}: {}", ended.stderr))?;
        hide(&mut document, &["tried_at"]);
        documents.insert(format!("judge {task}"), document);
    }
    Ok(documents)
}

/// Hides the time of the events that a stream makes up itself; those of stored events are recorded. How
/// an agent ended depends on how far the stream has read when it ends.
fn hide_made_up_events(events: &mut Value) {
    for event in events.as_array_mut().into_iter().flatten() {
        match event["event"].as_str() {
            Some("connected") => hide(event, &["timestamp"]),
            Some("agent_completed") => hide(event, &["timestamp", "status"]),
            Some(_) | None => {}
        }
    }
}

/// Replaces the values of fields that differ each time.
fn hide(value: &mut Value, names: &[&str]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, names)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if names.contains(&name.as_str()) && !value.is_null() {
                    *value = "volatile".into();
                } else {
                    hide(value, names);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
