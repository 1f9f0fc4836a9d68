//! What one caller may ask for, and how often.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use platform::rates::SharedRates;
use platform::settings::Secret;
use serde_json::json;
use testkit::database::{TestDatabase, on_both_engines};
use testkit::services::Redis;

use crate::support::{GATEWAY, TestApi, from_gateway};

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    on_both_engines(async |database| {
        let settings = [GATEWAY[0], GATEWAY[1], ("RATE_LIMIT_PER_MINUTE", "3")];
        let api = TestApi::with(database, settings);
        let ask = async |org| {
            let who = (org, None, "viewer");
            api.send(from_gateway(
                Method::GET,
                "/api/v1/tasks",
                Body::empty(),
                who,
            ))
            .await
        };
        for _ in 0..3 {
            assert_eq!(ask("acme").await.status, StatusCode::OK);
        }
        let refused = ask("acme").await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.json()["error"], "Too many requests");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&wait), "{wait}");
        // Somebody of the same name elsewhere is somebody else.
        assert_eq!(ask("umbrella").await.status, StatusCode::OK);
        assert_eq!(api.get("/health").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn replicas_count_together_where_there_is_a_redis() {
    let database = TestDatabase::sqlite().await.unwrap();
    let redis = Redis::start().await.unwrap();
    let settings = [GATEWAY[0], GATEWAY[1], ("RATE_LIMIT_PER_MINUTE", "4")];
    let replica = || {
        let mut api = TestApi::with(&database, settings);
        let url = Secret::new(redis.url());
        api.state.platform.rates = Some(SharedRates::connect(&url, "test").unwrap());
        api.rebuilt()
    };
    let replicas = [replica(), replica()];
    let mut seen = Vec::new();
    for number in 0..6 {
        let who = ("acme", None, "viewer");
        let asking = from_gateway(Method::GET, "/api/v1/tasks", Body::empty(), who);
        seen.push(replicas[number % 2].send(asking).await.status.as_u16());
    }
    assert_eq!(seen, [200, 200, 200, 200, 429, 429]);
}

#[tokio::test]
async fn without_its_redis_it_counts_by_itself() {
    let database = TestDatabase::sqlite().await.unwrap();
    let settings = [GATEWAY[0], GATEWAY[1], ("RATE_LIMIT_PER_MINUTE", "2")];
    let mut api = TestApi::with(&database, settings);
    let nobody = Secret::new("redis://127.0.0.1:1/");
    api.state.platform.rates = Some(SharedRates::connect(&nobody, "test").unwrap());
    let api = api.rebuilt();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let who = ("acme", None, "viewer");
        let asking = from_gateway(Method::GET, "/api/v1/tasks", Body::empty(), who);
        seen.push(api.send(asking).await.status.as_u16());
    }
    assert_eq!(seen, [200, 200, 429]);
}

#[tokio::test]
async fn an_organisation_has_only_so_many_tasks_at_once() {
    on_both_engines(async |database| {
        let api = TestApi::with(
            database,
            [("MAX_ACTIVE_TASKS", "2"), ("MAX_RUNS_PER_TASK", "3")],
        );
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let first = api.created(&body).await;
        api.created(&body).await;
        let refused = api.post("/api/v1/tasks", &body).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.header("retry-after").is_some());
        assert!(refused.text().contains("has 2 tasks"), "{}", refused.text());
        api.delete(&format!("/api/v1/tasks/{first}")).await;
        api.created(&body).await;
        let many = json!({"pr_url": body["pr_url"], "agents": ["claude", "gemini"], "trials": 2});
        let refused = api.post("/api/v1/tasks", &many).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            refused.text().contains("at most 3 runs"),
            "{}",
            refused.text()
        );
    })
    .await;
}

#[tokio::test]
async fn every_answer_tells_browsers_to_take_care_and_large_ones_are_compressed() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::on(&database);
    for path in ["/", "/health", "/api/v1/tasks", "/api/v1/nowhere"] {
        let answer = api.get(path).await;
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert!(answer.header("content-security-policy").is_some(), "{path}");
    }
    let mut asking = crate::support::request(Method::GET, "/openapi.json", Body::empty());
    asking
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().unwrap());
    let answer = api.send(asking).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.bytes.starts_with(&[0x1f, 0x8b]));
}
