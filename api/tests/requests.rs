//! Rules for all requests.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use testkit::database::{TestDatabase, on_both_engines};

use crate::support::{TestApi, request, with_api};

#[tokio::test]
async fn every_answer_carries_a_correlation_id() {
    with_api(async |api| {
        for path in ["/", "/nowhere", "/api/v1/tasks", "/health", "/openapi.json"] {
            let answer = api.get(path).await;
            let id = answer.header("x-correlation-id");
            assert!(id.is_some_and(|id| id.len() == 36), "{path}");
        }
        let mut asking = request(Method::GET, "/api/v1/nowhere", Body::empty());
        asking
            .headers_mut()
            .insert("x-correlation-id", "build-17".parse().unwrap());
        let answer = api.send(asking).await;
        assert_eq!(answer.header("x-correlation-id"), Some("build-17"));
        assert_eq!(answer.json()["correlation_id"], "build-17");
        assert_eq!(answer.json()["detail"], "Not Found");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_right_ones() {
    with_api(async |api| {
        let answer = api
            .send(request(Method::PUT, "/api/v1/tasks", Body::from("{}")))
            .await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.json()["detail"], "Method Not Allowed");
        let allowed = answer.header("allow").unwrap();
        assert!(
            allowed.contains("GET") && allowed.contains("POST"),
            "{allowed}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    with_api(async |api| {
        let body = Body::from(vec![b' '; 1024 * 1024 + 1]);
        let answer = api.send(request(Method::POST, "/api/v1/tasks", body)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.json()["status_code"], 413);
    })
    .await;
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_ask() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("ALLOWED_ORIGINS", "http://localhost:3000")]);
        for (origin, allowed) in [
            ("http://localhost:3000", true),
            ("http://localhost:3001", false),
        ] {
            let mut asking = request(Method::OPTIONS, "/api/v1/tasks", Body::empty());
            let headers = asking.headers_mut();
            headers.insert("origin", origin.parse().unwrap());
            headers.insert("access-control-request-method", "POST".parse().unwrap());
            let answer = api.send(asking).await;
            assert_eq!(answer.status, StatusCode::OK);
            let told = answer.header("access-control-allow-origin");
            assert_eq!(told.is_some(), allowed, "{origin}: {told:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_foreign_name_that_points_here_is_refused() {
    with_api(async |api| {
        for (host, status) in [
            ("evil.example", StatusCode::BAD_REQUEST),
            ("evil.example:8000", StatusCode::BAD_REQUEST),
            ("localhost:8000", StatusCode::OK),
            ("[::1]:8000", StatusCode::OK),
        ] {
            let mut asking = request(Method::GET, "/api/v1/tasks", Body::empty());
            asking.headers_mut().insert("host", host.parse().unwrap());
            assert_eq!(api.send(asking).await.status, status, "{host}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_allowed_origins_may_resume_downloads() {
    let database = TestDatabase::sqlite().await.unwrap();
    // Written as people do; browsers send it otherwise.
    let settings = [("ALLOWED_ORIGINS", "HTTPS://Board.Example.com:443/")];
    let api = TestApi::with(&database, settings);
    let origin = "https://board.example.com";
    let mut asking = request(Method::OPTIONS, "/api/v1/tasks", Body::empty());
    let headers = asking.headers_mut();
    headers.insert("origin", origin.parse().unwrap());
    headers.insert("access-control-request-method", "GET".parse().unwrap());
    let wanted = "range,if-range".parse().unwrap();
    headers.insert("access-control-request-headers", wanted);
    let answer = api.send(asking).await;
    let told = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
    assert_eq!(told("access-control-allow-origin"), origin);
    let allowed = told("access-control-allow-headers");
    for header in ["range", "if-range"] {
        assert!(
            allowed.split(',').any(|name| name.trim() == header),
            "{allowed}"
        );
    }
    let mut asking = request(Method::GET, "/api/v1/tasks", Body::empty());
    let headers = asking.headers_mut();
    headers.insert("origin", origin.parse().unwrap());
    let answer = api.send(asking).await;
    let shown = answer.header("access-control-expose-headers").unwrap();
    let shown = shown.to_ascii_lowercase();
    for header in ["etag", "content-range", "retry-after"] {
        assert!(
            shown.split(',').any(|name| name.trim() == header),
            "{shown}"
        );
    }
}
