//! Limits and rate limits per caller.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, StatusCode};
use domain::vocabulary::{FailureCause, TaskStatus};
use entity::{TaskId, TokenId, api_token};
use futures::StreamExt;
use platform::queue::Work;
use platform::rate_limit::SharedRateLimit;
use platform::settings::SecretString;
use sea_orm::{ActiveModelTrait, Set};
use serde_json::json;
use testkit::database::{TestDatabase, on_both_engines};
use testkit::services::Redis;
use tower::ServiceExt;

use crate::support::{GATEWAY, RunRow, TestApi, from_gateway};

#[tokio::test]
async fn a_caller_over_the_rate_limit_learns_when_to_retry() {
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
        // The same user id in another organisation is another caller.
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
        let url = SecretString::from(redis.url());
        api.state.platform.rate_limit = Some(SharedRateLimit::connect(&url, "test").unwrap());
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
    let nobody = SecretString::from("redis://127.0.0.1:1/");
    api.state.platform.rate_limit = Some(SharedRateLimit::connect(&nobody, "test").unwrap());
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
async fn every_response_has_security_headers_and_large_ones_are_compressed() {
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

#[tokio::test]
async fn of_many_tasks_at_once_no_more_are_opened_than_there_is_room_for() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("MAX_ACTIVE_TASKS", "3")]);
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let sending = (0..16).map(|_| api.post("/api/v1/tasks", &body));
        let answers = futures::future::join_all(sending).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers
            .iter()
            .map(|answer| answer.status)
            .partition(|status| *status == StatusCode::CREATED);
        assert_eq!(made.len(), 3);
        for status in refused {
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        }
        // A refused request stored nothing.
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 3);
        let queues = api.get("/api/v1/queues").await.json();
        assert_eq!(queues["queues"][0]["depth"], 3, "{queues}");
    })
    .await;
}

#[tokio::test]
async fn a_retry_counts_against_the_quota() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("MAX_ACTIVE_TASKS", "1")]);
        let rows = api.rows();
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let first = api.created(&body).await;
        api.delete(&format!("/api/v1/tasks/{first}")).await;
        let ended = TaskId::new();
        rows.task(ended, TaskStatus::Error, &["claude"]).await;
        let run = rows.run(ended, RunRow::default()).await;
        rows.failed(run.id, FailureCause::Harness).await;
        let dead = rows.dead_job(&Work::PrepareTask { task: ended }).await;
        let second = api.created(&body).await;
        for path in [
            format!("/api/v1/tasks/{first}/retry"),
            format!("/api/v1/queues/dead/{dead}/retry"),
        ] {
            let refused = api.post(&path, &json!({})).await;
            assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
            assert!(refused.header("retry-after").is_some());
        }
        let status = async |task: &str| {
            let task = api.get(&format!("/api/v1/tasks/{task}")).await;
            task.json()["status"].as_str().unwrap().to_owned()
        };
        assert_eq!(status(&first).await, "cancelled");
        assert_eq!(status(&ended.to_string()).await, "error");
        api.delete(&format!("/api/v1/tasks/{second}")).await;
        let retry = format!("/api/v1/tasks/{first}/retry");
        let again = api.post(&retry, &json!({})).await;
        assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text());
    })
    .await;
}

#[tokio::test]
async fn guessing_tokens_is_limited_and_a_valid_token_is_not() {
    on_both_engines(async |database| {
        let settings = [GATEWAY[0], GATEWAY[1], ("RATE_LIMIT_PER_MINUTE", "5")];
        let api = TestApi::with(database, settings);
        let body = Body::from(json!({"name": "robot"}).to_string());
        let who = ("acme", None, "admin");
        let made = from_gateway(Method::POST, "/api/v1/tokens", body, who);
        let token = api.send(made).await.json()["token"].clone();
        let good = token.as_str().unwrap().to_owned();
        let ask = async |token: &str, peer: &str| {
            let mut asking = crate::support::request(Method::GET, "/api/v1/tasks", Body::empty());
            let value = format!("Bearer {token}").parse().unwrap();
            asking.headers_mut().insert("authorization", value);
            let peer: SocketAddr = peer.parse().unwrap();
            asking.extensions_mut().insert(ConnectInfo(peer));
            api.send(asking).await
        };
        let (here, there) = ("192.0.2.1:1", "192.0.2.2:1");
        assert_eq!(ask(&good, here).await.status, StatusCode::OK);
        let mut seen = Vec::new();
        for _ in 0..7 {
            let guess = format!("mbk_{}_x", TokenId::new().0.simple());
            seen.push(ask(&guess, here).await.status.as_u16());
        }
        assert_eq!(seen, [401, 401, 401, 401, 401, 429, 429]);
        let refused = ask("mbk_x", here).await;
        assert!(refused.header("retry-after").is_some());
        assert_eq!(ask("mbk_x", there).await.status, StatusCode::UNAUTHORIZED);
        // The same address may be a gateway's, and others are behind it.
        assert_eq!(ask(&good, here).await.status, StatusCode::OK);
        let who = ("umbrella", None, "viewer");
        let mut proven = from_gateway(Method::GET, "/api/v1/tasks", Body::empty(), who);
        let peer: SocketAddr = here.parse().unwrap();
        proven.extensions_mut().insert(ConnectInfo(peer));
        assert_eq!(api.send(proven).await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn bundles_are_counted_although_files_are_not() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("RATE_LIMIT_PER_MINUTE", "2")]);
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        rows.file(task, None, "task.log", "text").await;
        let ask = async |what: &str| {
            let path = format!("/api/v1/artifacts/{task}/{what}");
            api.get(&path).await.status.as_u16()
        };
        let mut seen = Vec::new();
        for what in ["task/task.log", "bundle", "bundle", "bundle", "list"] {
            seen.push(ask(what).await);
        }
        for _ in 0..5 {
            seen.push(ask("task/task.log").await);
        }
        assert_eq!(seen, [200, 200, 200, 429, 200, 200, 200, 200, 200, 200]);
    })
    .await;
}

#[tokio::test]
async fn a_caller_follows_only_so_many_streams_at_once() {
    let database = TestDatabase::sqlite().await.unwrap();
    let settings = [GATEWAY[0], GATEWAY[1], ("MAX_STREAMS_PER_CALLER", "2")];
    let api = TestApi::with(&database, settings);
    let rows = api.rows();
    let mut paths = Vec::new();
    for org in ["acme", "umbrella"] {
        let task = TaskId::new();
        rows.task_of(org, task, TaskStatus::Running, &["claude"])
            .await;
        paths.push(format!("/api/v1/logs/{task}/stream"));
    }
    let follow = async |org, path: &str| {
        let who = (org, None, "viewer");
        let asking = from_gateway(Method::GET, path, Body::empty(), who);
        api.router.clone().oneshot(asking).await.unwrap()
    };
    let first = follow("acme", &paths[0]).await;
    let _second = follow("acme", &paths[0]).await;
    assert_eq!(first.status(), StatusCode::OK);
    let refused = follow("acme", &paths[0]).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(follow("umbrella", &paths[1]).await.status(), StatusCode::OK);
    drop(first);
    assert_eq!(follow("acme", &paths[0]).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_local_user_has_no_stream_limit_unless_it_is_set() {
    let database = TestDatabase::sqlite().await.unwrap();
    let task = TaskId::new();
    let path = format!("/api/v1/logs/{task}/stream");
    let open = TestApi::on(&database);
    open.rows()
        .task(task, TaskStatus::Running, &["claude"])
        .await;
    let limited = TestApi::with(&database, [("MAX_STREAMS_PER_CALLER", "3")]);
    for (api, expected) in [(&open, 150), (&limited, 3)] {
        let mut following = Vec::new();
        for _ in 0..150 {
            let asking = crate::support::request(Method::GET, &path, Body::empty());
            let answer = api.router.clone().oneshot(asking).await.unwrap();
            if answer.status() == StatusCode::OK {
                following.push(answer);
            }
        }
        assert_eq!(following.len(), expected);
    }
}

#[tokio::test]
async fn the_streams_of_a_token_end_when_it_does() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::with(&database, GATEWAY);
    let task = TaskId::new();
    let rows = api.rows();
    rows.task_of("acme", task, TaskStatus::Running, &["claude"])
        .await;
    let path = format!("/api/v1/logs/{task}/stream");
    let mut streams = Vec::new();
    let mut ids = Vec::new();
    for name in ["revoked", "expired", "good"] {
        let body = Body::from(json!({ "name": name }).to_string());
        let who = ("acme", None, "admin");
        let made = from_gateway(Method::POST, "/api/v1/tokens", body, who);
        let made = api.send(made).await.json();
        ids.push(made["id"].as_str().unwrap().to_owned());
        let mut asking = crate::support::request(Method::GET, &path, Body::empty());
        let value = format!("Bearer {}", made["token"].as_str().unwrap());
        let headers = asking.headers_mut();
        headers.insert("authorization", value.parse().unwrap());
        let answer = api.router.clone().oneshot(asking).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        streams.push(answer.into_body().into_data_stream());
    }
    let revoke = format!("/api/v1/tokens/{}", ids[0]);
    let who = ("acme", None, "admin");
    let revoke = from_gateway(Method::DELETE, &revoke, Body::empty(), who);
    assert_eq!(api.send(revoke).await.status, StatusCode::NO_CONTENT);
    let expired = api_token::ActiveModel {
        id: Set(ids[1].parse().unwrap()),
        expires_at: Set(chrono::Utc::now()),
        ..Default::default()
    };
    expired.update(database.connection()).await.unwrap();
    let good = streams.pop().unwrap();
    let ended = streams
        .into_iter()
        .map(|stream| stream.map(|piece| piece.unwrap()).collect::<Vec<_>>());
    let told = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(ended))
        .await
        .expect("both end at the next heartbeat");
    for told in told {
        let told = told.concat();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("event: connected"));
        // Nothing says that the task is over, because it is not.
        assert!(!told.contains("completed"), "{told}");
    }
    // The third token still works and receives new events.
    rows.completed(task).await;
    let told = tokio::time::timeout(
        Duration::from_secs(60),
        good.map(|piece| piece.unwrap()).collect::<Vec<_>>(),
    )
    .await
    .expect("the stream ends with the task");
    assert!(String::from_utf8_lossy(&told.concat()).contains("event: completed"));
}
