//! A request that is sent twice makes one task.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use testkit::database::on_both_engines;

use crate::support::{TestApi, request, with_api};

fn keyed(key: &str, body: &Value) -> Request<Body> {
    let mut request = request(Method::POST, "/api/v1/tasks", Body::from(body.to_string()));
    let value = axum::http::HeaderValue::from_str(key).expect("a header");
    request.headers_mut().insert("idempotency-key", value);
    request
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_answered_with_its_task() {
    with_api(async |api| {
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let first = api.send(keyed("build-17", &body)).await;
        assert_eq!(first.status, StatusCode::CREATED);
        assert_eq!(first.header("idempotency-replayed"), None);
        // Written otherwise, asking for the same.
        let same = json!({"agents": ["claude"], "trials": 1, "pr_url": body["pr_url"]});
        let again = api.send(keyed("build-17", &same)).await;
        assert_eq!(again.status, StatusCode::CREATED);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json()["id"], first.json()["id"]);
        let other = json!({"pr_url": body["pr_url"], "agents": ["gemini"]});
        let refused = api.send(keyed("build-17", &other)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refused.json()["detail"][0]["loc"][1], "idempotency-key");
        let fresh = api.send(keyed("build-18", &body)).await;
        assert_ne!(fresh.json()["id"], first.json()["id"]);
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 2);
    })
    .await;
}

/// A value of every field that says something else than its default.
const OTHERWISE: [(&str, &str); 15] = [
    ("agents", r#"["gemini"]"#),
    ("rubric", r#"["AR"]"#),
    ("max_files", "7"),
    ("trials", "2"),
    ("seed", "2"),
    ("trigger", r#""manual""#),
    ("pass_mark", "0.25"),
    ("target_context_tokens", "5000"),
    ("seal_before_break", "true"),
    ("breaks", "2"),
    ("probes_per_prompt", "4"),
    ("open_questions", "false"),
    ("max_cost_usd", "3.5"),
    ("question_bank", r#""never looked at""#),
    ("pr_url", r#""https://github.com/acme/widgets/pull/2""#),
];

#[tokio::test]
async fn a_request_that_differs_in_any_field_is_another_request() {
    with_api(async |api| {
        let description = api.get("/openapi.json").await.json();
        let described = &description["components"]["schemas"]["CreateTask"]["properties"];
        // Where the commits come from otherwise than from `pr_url`.
        let local = ["repo", "base", "head"];
        let described: BTreeSet<&str> = described
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .filter(|name| !local.contains(name))
            .collect();
        assert_eq!(described, OTHERWISE.iter().map(|(name, _)| *name).collect());
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let first = api.send(keyed("build-17", &body)).await;
        assert_eq!(first.status, StatusCode::CREATED);
        for (name, value) in OTHERWISE {
            let mut other = body.clone();
            other[name] = serde_json::from_str(value).unwrap();
            let refused = api.send(keyed("build-17", &other)).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
            assert_eq!(
                refused.json()["detail"][0]["loc"][1],
                "idempotency-key",
                "{name}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_makes_a_task() {
    on_both_engines(async |database| {
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        // Without a limit a task is written in another way, where the engine can.
        for (key, most, tasks) in [("once", "1000", 1), ("at-once", "0", 2)] {
            let api = TestApi::with(database, [("MAX_ACTIVE_TASKS", most)]);
            let sending = (0..8).map(|_| api.send(keyed(key, &body)));
            let answers = futures::future::join_all(sending).await;
            for answer in &answers {
                assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
                assert_eq!(answer.json()["id"], answers[0].json()["id"]);
            }
            assert_eq!(api.get("/api/v1/tasks").await.json()["total"], tasks);
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    with_api(async |api| {
        let body = json!({"pr_url": "https://github.com/acme/widgets/pull/1"});
        for bad in ["", " ", "a b", &"x".repeat(256), "\u{e9}"] {
            let answer = api.send(keyed(bad, &body)).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
        }
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_before_validation() {
    on_both_engines(async |database| {
        let body = json!({"pr_url": "https://github.com/acme/widgets/pull/1",
            "agents": ["claude", "gemini"]});
        let first = TestApi::with(database, [("MAX_FILES_PER_TASK", "30")]);
        let first = first.send(keyed("build-17", &body)).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.text());
        // The same service after its settings were changed.
        let settings = [
            ("MAX_FILES_PER_TASK", "40"),
            ("MAX_RUNS_PER_TASK", "1"),
            ("MAX_ACTIVE_TASKS", "1"),
        ];
        let api = TestApi::with(database, settings);
        let again = api.send(keyed("build-17", &body)).await;
        assert_eq!(again.status, StatusCode::CREATED, "{}", again.text());
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json()["id"], first.json()["id"]);
        assert_eq!(again.json()["max_files"], 30);
        let explicit = json!({"pr_url": body["pr_url"], "agents": body["agents"], "max_files": 40});
        let refused = api.send(keyed("build-17", &explicit)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let other = api.send(keyed("build-18", &body)).await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    })
    .await;
}

#[tokio::test]
async fn of_equal_requests_for_the_last_task_that_is_allowed_all_get_it() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("MAX_ACTIVE_TASKS", "1")]);
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let sending = (0..8).map(|_| api.send(keyed("once", &body)));
        let answers = futures::future::join_all(sending).await;
        for answer in &answers {
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
            assert_eq!(answer.json()["id"], answers[0].json()["id"]);
        }
        let other = api.send(keyed("twice", &body)).await;
        assert_eq!(other.status, StatusCode::TOO_MANY_REQUESTS);
    })
    .await;
}
