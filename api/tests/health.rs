//! Health checks and metrics.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use chrono::Utc;
use futures::StreamExt;
use serde_json::json;
use testkit::database::on_both_engines;
use tower::ServiceExt;

use crate::support::{Breakage, TestApi, with_api};

#[tokio::test]
async fn health_answers_with_and_without_a_slash() {
    with_api(async |api| {
        for path in ["/health", "/health/"] {
            let answer = api.get(path).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.json()["status"], "healthy");
        }
    })
    .await;
}

#[tokio::test]
async fn readiness_checks_the_notifier() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        assert_eq!(api.get("/health/readiness").await.status, StatusCode::OK);
        for how in [Breakage::Fails, Breakage::NeverAnswers] {
            api.notifier.break_down(how);
            let answer = api.get("/health/readiness").await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.json()["ready"], false);
            assert_eq!(answer.json()["checks"]["database"], true);
            assert_eq!(answer.json()["checks"]["queue"], false);
        }
        assert_eq!(
            api.get("/health/detailed").await.json()["status"],
            "degraded"
        );
        assert_eq!(api.get("/health/liveness").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn readiness_asks_the_database() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        database.connection().clone().close().await.unwrap();
        let answer = api.get("/health/readiness").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json()["checks"]["database"], false);
        assert_eq!(answer.json()["checks"]["queue"], true);
        let detailed = api.get("/health/detailed").await;
        assert_eq!(detailed.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(detailed.json()["status"], "unhealthy");
        let tasks = api.get("/api/v1/tasks").await;
        assert!(tasks.status.is_server_error());
        assert_eq!(tasks.json()["path"], "/api/v1/tasks");
    })
    .await;
}

#[tokio::test]
async fn figures_come_from_rows() {
    with_api(async |api| {
        let body = json!({"pr_url": "https://github.com/acme/widgets/pull/1"});
        api.created(&body).await;
        api.created(&body).await;
        let agents = json!([
            {"name": "claude", "available": true, "version": "2.1"},
            {"name": "gemini", "available": false, "problem": "not installed"},
        ]);
        api.rows().worker("one", Utc::now(), agents).await;
        let other = json!([{"name": "gemini", "available": true, "version": "0.9"}]);
        api.rows().worker("two", Utc::now(), other).await;
        let metrics = api.get("/health/metrics").await.json();
        assert_eq!(metrics["queue_metrics"]["prepare"]["length"], 2);
        assert_eq!(metrics["worker_metrics"]["total_workers"], 2);
        assert_eq!(metrics["worker_metrics"]["busy_slots"], 2);
        assert_eq!(
            metrics["worker_metrics"]["queue_lengths"],
            json!({"prepare": 2})
        );
        assert_eq!(metrics["agent_metrics"]["available_agents"], 2);
        let gemini = &metrics["agent_metrics"]["agents"]["gemini"];
        assert_eq!(gemini["version_info"]["version"], "0.9");
        let detailed = api.get("/health/detailed").await.json();
        assert_eq!(detailed["status"], "healthy");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_connected_to_a_redis_that_is_not_there() {
    with_api(async |api| {
        let health = api.get("/health/detailed").await.json();
        let queue = &health["components"]["queue"];
        assert_eq!(queue["status"], "healthy");
        assert_eq!(queue["details"]["redis_connected"], false);
    })
    .await;
}

#[tokio::test]
async fn repeated_requests_for_figures_are_counted_once() {
    with_api(async |api| {
        let body = json!({"pr_url": "https://github.com/acme/widgets/pull/1"});
        api.created(&body).await;
        let length = async || {
            let metrics = api.get("/health/metrics").await.json();
            metrics["queue_metrics"]["prepare"]["length"].clone()
        };
        let first = std::time::Instant::now();
        assert_eq!(length().await, 1);
        api.created(&body).await;
        let later = length().await;
        if first.elapsed() < std::time::Duration::from_secs(3) {
            assert_eq!(later, 1);
        }
        let counted = async {
            while length().await != 2 {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), counted)
            .await
            .expect("they are counted again after a moment");
    })
    .await;
}

#[tokio::test]
async fn metrics_have_the_format_of_prometheus() {
    with_api(async |api| {
        let rows = api.rows();
        rows.worker("worker-1", Utc::now(), json!([])).await;
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let id = api.created(&body).await;
        api.get("/api/v1/tasks/nonsense").await;
        api.get("/nowhere/at/all").await;
        let path = format!("/api/v1/logs/{id}/stream");
        let asking = crate::support::request(Method::GET, &path, Body::empty());
        let response = api.router.clone().oneshot(asking).await.unwrap();
        let mut open = response.into_body().into_data_stream();
        open.next().await.unwrap().unwrap();
        let answer = api.get("/metrics").await;
        assert_eq!(answer.status, StatusCode::OK);
        let kind = answer.header("content-type").unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text();
        for line in [
            r#"membreak_jobs{queue="prepare",state="queued"} 1"#,
            r#"membreak_workers{state="busy"} 1"#,
            r#"membreak_worker_slots{state="free"} 3"#,
            r#"membreak_http_requests_total{method="POST",route="/api/v1/tasks",status="201"} 1"#,
            r#"membreak_http_requests_total{method="GET",route="/api/v1/tasks/{task_id}",status="422"} 1"#,
            r#"membreak_http_requests_total{method="GET",route="(no route)",status="404"} 1"#,
            "membreak_event_streams 1",
            "# TYPE membreak_jobs gauge",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        // Every line is a comment or a name, labels and a number.
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert!(name.starts_with("membreak_"), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        drop(open);
    })
    .await;
}

#[tokio::test]
async fn health_is_public_and_reveals_no_paths_of_programs() {
    with_api(async |api| {
        let problem = "/home/ada/bin/gemini: permission denied";
        let agents = json!([{"name": "gemini", "available": false, "problem": problem}]);
        api.rows().worker("one", Utc::now(), agents).await;
        for path in ["/health/metrics", "/health/detailed"] {
            let answer = api.get(path).await.text();
            assert!(answer.contains("gemini"), "{answer}");
            assert!(!answer.contains("/home/ada"), "{answer}");
        }
        let told = api.get("/api/v1/agents").await.text();
        assert!(told.contains("/home/ada"), "{told}");
    })
    .await;
}
