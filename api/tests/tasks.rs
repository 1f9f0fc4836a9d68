//! Creating, listing and showing tasks.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, StatusCode};
use chrono::{TimeDelta, Utc};
use domain::vocabulary::{JobKind, RunStatus, TaskStatus};
use entity::TaskId;
use platform::notify::redis::RedisNotifier;
use platform::settings::SecretString;
use serde_json::{Value, json};
use testkit::database::on_both_engines;
use tokio::net::TcpListener;

use crate::support::{Breakage, TestApi, request, with_api};

const TASKS: &str = "/api/v1/tasks";
const PULL_REQUEST: &str = "https://github.com/acme/widgets/pull/1";

#[tokio::test]
async fn a_new_task_has_its_runs_job_events_and_notification() {
    on_both_engines(async |database| {
        // Without a limit it is written in another way, where the engine can.
        for most in ["1000", "0"] {
            let api = TestApi::with(database, [("MAX_ACTIVE_TASKS", most)]);
            let body = json!({"pr_url": PULL_REQUEST, "agents": ["claude", "gemini"], "trials": 2});
            let task: TaskId = api.created(&body).await.parse().unwrap();

            let runs = api.rows().runs_of(task).await;
            let named: Vec<_> = runs
                .iter()
                .map(|run| (run.agent.as_str(), run.trial, run.status))
                .collect();
            let queued = RunStatus::Queued;
            assert_eq!(
                named,
                [
                    ("claude", 1, queued),
                    ("claude", 2, queued),
                    ("gemini", 1, queued),
                    ("gemini", 2, queued)
                ]
            );
            let jobs = api.rows().jobs_of(task).await;
            assert_eq!(jobs.len(), 1);
            assert_eq!(
                (jobs[0].kind, jobs[0].queue.as_str()),
                (JobKind::PrepareTask, "prepare")
            );
            let sent = api.notifier.sent();
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].job_id, jobs[0].id);
            assert_eq!(
                api.rows().kinds_of(task).await,
                [
                    "task_created",
                    "run_queued",
                    "run_queued",
                    "run_queued",
                    "run_queued"
                ]
            );
        }
    })
    .await;
}

#[tokio::test]
async fn missing_options_have_defaults() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("MAX_FILES_PER_TASK", "7")]);
        let answer = api.post(TASKS, &json!({"pr_url": PULL_REQUEST})).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let task = answer.json();
        assert_eq!(task["agents"], json!(["iflow", "claude", "gemini"]));
        assert_eq!(task["rubric"], json!(["AR", "TTL", "LRU", "SF"]));
        assert_eq!(task["max_files"], 7);
        assert_eq!(task["trials"], 1);
        assert_eq!(task["seed"], 1);
        assert_eq!(task["trigger"], "auto_then_manual");
        assert_eq!(task["pass_mark"], 0.5);
        assert_eq!(task["status"], "queued");
        assert_eq!(task["started_at"], Value::Null);
        let shown = api
            .get(&format!("{TASKS}/{}", task["id"].as_str().unwrap()))
            .await;
        assert_eq!(shown.json(), task);
    })
    .await;
}

#[tokio::test]
async fn a_broken_notifier_does_not_stop_a_task_from_being_created() {
    with_api(async |api| {
        for how in [Breakage::Fails, Breakage::NeverAnswers] {
            api.notifier.break_down(how);
            let started = Instant::now();
            let task = api.created(&json!({"pr_url": PULL_REQUEST})).await;
            assert!(started.elapsed() < Duration::from_secs(10));
            let jobs = api.rows().jobs_of(task.parse().unwrap()).await;
            assert_eq!(jobs.len(), 1, "the work waits in the ledger");
        }
    })
    .await;
}

#[tokio::test]
async fn a_task_is_created_while_redis_is_down() {
    on_both_engines(async |database| {
        // No process listens on a port that was just closed.
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let url = SecretString::from(format!("redis://127.0.0.1:{port}/"));
        let notifier = RedisNotifier::connect(&url, "test").unwrap();
        let api = TestApi::on(database).with_notifier(notifier);
        let task = api.created(&json!({"pr_url": PULL_REQUEST})).await;
        let jobs = api.rows().jobs_of(task.parse().unwrap()).await;
        assert_eq!(jobs.len(), 1, "the work waits in the ledger");
        let ready = api.get("/health/readiness").await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    })
    .await;
}

#[tokio::test]
async fn all_problems_of_a_request_are_reported_at_once() {
    with_api(async |api| {
        let body = json!({
            "pr_url": "ftp://github.com/a/b/pull/1",
            "agents": ["claude", "copilot", "control-lossy:2", 7],
            "rubric": [],
            "max_files": 0,
            "trials": 101,
            "seed": "one",
            "trigger": "never",
            "pass_mark": 1.5,
            "target_context_tokens": 1.5,
        });
        let answer = api.post(TASKS, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let answer = answer.json();
        let problems: Vec<(String, String)> = answer["detail"]
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| {
                let place: Vec<String> = problem["loc"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|part| {
                        part.as_str()
                            .map_or_else(|| part.to_string(), str::to_owned)
                    })
                    .collect();
                (
                    place.join("."),
                    problem["type"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        let expected = [
            ("body.pr_url", "url_scheme"),
            ("body.trials", "less_than_equal"),
            ("body.agents.3", "string_type"),
            ("body.agents.1", "enum"),
            ("body.agents.2", "enum"),
            ("body.rubric", "too_short"),
            ("body.max_files", "greater_than_equal"),
            ("body.seed", "int_parsing"),
            ("body.trigger", "enum"),
            ("body.pass_mark", "less_than_equal"),
            ("body.target_context_tokens", "int_from_float"),
        ];
        let expected = expected.map(|(place, kind)| (place.to_owned(), kind.to_owned()));
        assert_eq!(problems, expected);
        assert_eq!(answer["status"], 422);
        assert!(answer["correlation_id"].is_string());
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_only_a_living_worker_knows_may_be_asked_for() {
    with_api(async |api| {
        let agents = json!([{"name": "qwen", "available": true, "more": [1]}]);
        let long_ago = Utc::now() - TimeDelta::hours(1);
        api.rows().worker("dead", long_ago, agents.clone()).await;
        let body = json!({"pr_url": PULL_REQUEST, "agents": ["qwen"]});
        let refused = api.post(TASKS, &body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        api.rows().worker("alive", Utc::now(), agents).await;
        api.created(&body).await;
    })
    .await;
}

#[tokio::test]
async fn one_request_cannot_fill_the_ledger() {
    with_api(async |api| {
        let agents = vec!["claude"; 11];
        let body = json!({"pr_url": PULL_REQUEST, "agents": agents, "trials": 100});
        let answer = api.post(TASKS, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.json()["detail"][0]["type"], "too_long");

        let body = json!({"pr_url": PULL_REQUEST, "agents": &agents[..10], "trials": 100});
        let task = api.created(&body).await.parse().unwrap();
        assert_eq!(api.rows().runs_of(task).await.len(), 1000);
    })
    .await;
}

#[tokio::test]
async fn a_local_repository_needs_to_be_allowed() {
    on_both_engines(async |database| {
        let body = json!({"repo": "/srv/repos/widgets", "base": "main", "head": "topic",
            "agents": ["claude"]});
        let closed = TestApi::on(database);
        let answer = closed.post(TASKS, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(
            answer.text().contains("LOCAL_REPOSITORIES"),
            "{}",
            answer.text()
        );

        let open = TestApi::with(database, [("LOCAL_REPOSITORIES", "/srv/repos")]);
        let task = open.created(&body).await;
        let row = open.rows().find_task(task.parse().unwrap()).await;
        assert_eq!(row.repo, "widgets");
        assert_eq!(row.pr_url, "file:///srv/repos/widgets");
        assert_eq!(
            row.source,
            json!({"kind": "local", "path": "/srv/repos/widgets", "base": "main", "head": "topic"})
        );
        for (field, bad) in [
            ("repo", "/srv/repos/a\0b"),
            ("base", "--upload-pack=x"),
            ("head", ""),
            ("head", "a b"),
        ] {
            let mut body = body.clone();
            body[field] = json!(bad);
            let answer = open.post(TASKS, &body).await;
            assert_eq!(
                answer.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{field} {bad:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_of_a_browser_cannot_start_a_task_by_a_form() {
    with_api(async |api| {
        let mut form = request(
            Method::POST,
            TASKS,
            Body::from(json!({"pr_url": PULL_REQUEST}).to_string()),
        );
        form.headers_mut()
            .insert("content-type", "text/plain".parse().unwrap());
        let answer = api.send(form).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    })
    .await;
}

#[tokio::test]
async fn tasks_are_listed_newest_first_page_by_page() {
    with_api(async |api| {
        let mut made = Vec::new();
        for number in 1..=5 {
            let url = format!("https://github.com/acme/widgets/pull/{number}");
            made.push(
                api.created(&json!({"pr_url": url, "agents": ["claude"]}))
                    .await,
            );
        }
        made.reverse();
        let mut listed = Vec::new();
        for page in 1..=3 {
            let answer = api
                .get(&format!("{TASKS}?page={page}&page_size=2"))
                .await
                .json();
            assert_eq!(
                (&answer["total"], &answer["page"]),
                (&json!(5), &json!(page))
            );
            let tasks = answer["tasks"].as_array().unwrap().clone();
            listed.extend(
                tasks
                    .iter()
                    .map(|task| task["id"].as_str().unwrap().to_owned()),
            );
        }
        assert_eq!(listed, made);
    })
    .await;
}

#[tokio::test]
async fn a_list_can_be_narrowed_to_one_state() {
    with_api(async |api| {
        let done = TaskId::new();
        api.rows().task(done, TaskStatus::Done, &["claude"]).await;
        api.rows()
            .task(TaskId::new(), TaskStatus::Queued, &["claude"])
            .await;
        let answer = api.get(&format!("{TASKS}/?status=done")).await.json();
        assert_eq!(answer["total"], 1);
        assert_eq!(answer["tasks"][0]["id"], json!(done));
    })
    .await;
}

#[tokio::test]
async fn a_page_far_beyond_the_end_is_empty_and_a_huge_one_is_cut() {
    with_api(async |api| {
        let far = format!("{TASKS}?page={}&page_size=100000", i64::MAX);
        let answer = api.get(&far).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["tasks"], json!([]));
        assert_eq!(answer.json()["page_size"], 1000);
    })
    .await;
}

#[tokio::test]
async fn a_task_of_another_organisation_does_not_exist() {
    with_api(async |api| {
        let theirs = TaskId::new();
        api.rows()
            .task_of("others", theirs, TaskStatus::Running, &["claude"])
            .await;
        let nobodys = TaskId::new();
        for path in ["", "/agents", "/agents/claude", "/leaderboard"] {
            let theirs = api.get(&format!("{TASKS}/{theirs}{path}")).await;
            let nobodys = api.get(&format!("{TASKS}/{nobodys}{path}")).await;
            assert_eq!(theirs.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(theirs.json()["error"], nobodys.json()["error"], "{path}");
        }
        for path in [
            format!("/api/v1/logs/{theirs}/stream"),
            format!("/api/v1/logs/{theirs}/agent/claude/stream"),
            format!("/api/v1/logs/{theirs}/artifacts/logs"),
            format!("/api/v1/artifacts/{theirs}/list"),
            format!("/api/v1/artifacts/{theirs}/bundle"),
            format!("/api/v1/artifacts/{theirs}/task/report.md"),
        ] {
            assert_eq!(api.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
        let cancelled = api.delete(&format!("{TASKS}/{theirs}")).await;
        assert_eq!(cancelled.status, StatusCode::NOT_FOUND);
        assert_eq!(
            api.rows().find_task(theirs).await.status,
            TaskStatus::Running
        );
        assert_eq!(api.get(TASKS).await.json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn a_pull_request_of_a_forge_that_is_not_known_is_refused_in_words_that_help() {
    on_both_engines(async |database| {
        let api = TestApi::with(
            database,
            [(
                "FORGE_URLS",
                "https://git.example.com, https://forge.example",
            )],
        );
        let body = json!({"pr_url": PULL_REQUEST, "agents": ["claude"]});
        let answer = api.post("/api/v1/tasks", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(!told.contains("Invalid"), "{told}");
        for word in ["https://github.com ", "FORGE_URLS", "https://forge.example"] {
            assert!(told.contains(word), "{word} is missing in {told}");
        }
        // An invalid URL is answered with an example.
        let body = json!({"pr_url": "https://git.example.com/acme", "agents": ["claude"]});
        let answer = api.post("/api/v1/tasks", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            answer.json()["error"],
            "Invalid GitHub PR URL format. Expected: https://git.example.com/owner/repo/pull/number"
        );
    })
    .await;
}
