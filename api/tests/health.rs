//! How the service tells that it is well.

use axum::http::StatusCode;
use chrono::Utc;
use serde_json::json;
use testkit::database::on_both_engines;

use crate::support::{Breakage, TestApi};

#[tokio::test]
async fn health_answers_with_and_without_a_slash() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        for path in ["/health", "/health/"] {
            let answer = api.get(path).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.json()["status"], "healthy");
        }
    })
    .await;
}

#[tokio::test]
async fn readiness_asks_the_doorbell() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        assert_eq!(api.get("/health/readiness").await.status, StatusCode::OK);
        for how in [Breakage::Fails, Breakage::NeverAnswers] {
            api.doorbell.break_down(how);
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
    on_both_engines(async |database| {
        let api = TestApi::on(database);
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
async fn whoever_asks_for_figures_again_and_again_has_them_counted_once() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
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
async fn anybody_may_ask_and_nobody_is_told_where_programs_are() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
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
