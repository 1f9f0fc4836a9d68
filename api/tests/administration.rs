//! API tokens, webhooks and the audit log.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chrono::{TimeDelta, Utc};
use domain::vocabulary::TaskStatus;
use entity::{TaskId, TokenId, api_token};
use sea_orm::{ActiveModelTrait, Set};
use serde_json::{Value, json};
use testkit::database::on_both_engines;

use crate::support::{GATEWAY, TestApi, from_gateway, request, with_api};

fn with_token(method: Method, path: &str, body: &Value, token: &str) -> Request<Body> {
    let mut request = request(method, path, Body::from(body.to_string()));
    let value = format!("Bearer {token}").parse().expect("a header");
    request.headers_mut().insert("authorization", value);
    request
}

async fn new_token(api: &TestApi, body: &Value) -> (String, String) {
    let body = Body::from(body.to_string());
    let who = ("acme", None, "admin");
    let answer = api
        .send(from_gateway(Method::POST, "/api/v1/tokens", body, who))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let answer = answer.json();
    let text = |name: &str| answer[name].as_str().expect("text").to_owned();
    (text("id"), text("token"))
}

#[tokio::test]
async fn a_token_has_the_rights_of_its_role_until_it_is_revoked() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let (id, viewer) = new_token(&api, &json!({"name": "board", "role": "viewer"})).await;
        let (_, member) = new_token(&api, &json!({"name": "nightly"})).await;
        let task =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let list = |token: &str| with_token(Method::GET, "/api/v1/tasks", &json!({}), token);
        let create = |token: &str| with_token(Method::POST, "/api/v1/tasks", &task, token);
        assert_eq!(api.send(list(&viewer)).await.status, StatusCode::OK);
        assert_eq!(
            api.send(create(&viewer)).await.status,
            StatusCode::FORBIDDEN
        );
        assert_eq!(api.send(create(&member)).await.status, StatusCode::CREATED);
        let tokens = with_token(Method::GET, "/api/v1/tokens", &json!({}), &member);
        assert_eq!(api.send(tokens).await.status, StatusCode::FORBIDDEN);

        let revoke = from_gateway(
            Method::DELETE,
            &format!("/api/v1/tokens/{id}"),
            Body::empty(),
            ("acme", None, "admin"),
        );
        assert_eq!(api.send(revoke).await.status, StatusCode::NO_CONTENT);
        assert_eq!(
            api.send(list(&viewer)).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(api.send(list(&member)).await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_token_is_shown_once_and_no_other_is_as_good() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let (id, token) = new_token(&api, &json!({"name": "nightly"})).await;
        let who = ("acme", None, "admin");
        let list = from_gateway(Method::GET, "/api/v1/tokens", Body::empty(), who);
        let list = api.send(list).await;
        let (_, secret) = token[4..].split_once('_').unwrap();
        assert!(!list.text().contains(secret));
        assert_eq!(list.json()["tokens"][0]["id"], id);
        let mut forged = token.clone();
        let last = forged.pop().unwrap();
        forged.push(if last == 'A' { 'B' } else { 'A' });
        let unknown = format!("mbk_{}_{secret}", TokenId::new().0.simple());
        for bad in [forged.as_str(), &unknown, "mbk_", "mbk_x_y", "mbk__"] {
            let asking = with_token(Method::GET, "/api/v1/tasks", &json!({}), bad);
            let answer = api.send(asking).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{bad}");
            assert_eq!(answer.json()["error"], "Invalid token");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        let expired = api_token::ActiveModel {
            id: Set(id.parse().unwrap()),
            expires_at: Set(Utc::now() - TimeDelta::seconds(1)),
            ..Default::default()
        };
        expired.update(database.connection()).await.unwrap();
        let asking = with_token(Method::GET, "/api/v1/tasks", &json!({}), &token);
        assert_eq!(api.send(asking).await.status, StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn a_team_makes_nothing_that_sees_more_than_the_team() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let who = ("acme", Some("red"), "admin");
        for (path, body) in [
            ("/api/v1/tokens", json!({"name": "x", "team_id": "blue"})),
            (
                "/api/v1/webhooks",
                json!({"url": "https://hooks.example.com/", "team_id": "blue"}),
            ),
        ] {
            let asking = from_gateway(Method::POST, path, Body::from(body.to_string()), who);
            assert_eq!(
                api.send(asking).await.status,
                StatusCode::FORBIDDEN,
                "{path}"
            );
        }
        let body = Body::from(json!({"name": "x"}).to_string());
        let made = api
            .send(from_gateway(Method::POST, "/api/v1/tokens", body, who))
            .await;
        assert_eq!(made.json()["team_id"], "red");
    })
    .await;
}

#[tokio::test]
async fn webhooks_are_made_listed_and_removed_and_lead_outside_only() {
    with_api(async |api| {
        for inside in [
            "http://hooks.example.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://localhost/",
            "https://169.254.169.254/latest/meta-data",
            "https://user:password@hooks.example.com/",
            "file:///etc/passwd",
            "",
        ] {
            let answer = api.post("/api/v1/webhooks", &json!({"url": inside})).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{inside}");
        }
        let body = json!({"url": "https://hooks.example.com/membreak"});
        let made = api.post("/api/v1/webhooks", &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        let secret = made.json()["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("whsec_"));
        let list = api.get("/api/v1/webhooks").await;
        assert!(!list.text().contains(&secret));
        let id = list.json()["webhooks"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let messages = api.get(&format!("/api/v1/webhooks/{id}/deliveries")).await;
        assert_eq!(messages.json()["deliveries"], json!([]));
        // Every end of a task queues a message.
        let task =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let task = api.created(&task).await;
        api.delete(&format!("/api/v1/tasks/{task}")).await;
        let messages = api
            .get(&format!("/api/v1/webhooks/{id}/deliveries"))
            .await
            .json();
        assert_eq!(messages["deliveries"][0]["task_id"], task);
        assert_eq!(messages["deliveries"][0]["status"], "queued");
        let gone = api.delete(&format!("/api/v1/webhooks/{id}")).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert_eq!(
            api.get("/api/v1/webhooks").await.json()["webhooks"],
            json!([])
        );
    })
    .await;
}

#[tokio::test]
async fn a_token_cannot_create_tokens_with_any_role() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let (id, admin) = new_token(&api, &json!({"name": "robot", "role": "admin"})).await;
        for body in [
            json!({"name": "heir", "role": "admin", "expires_in_days": 366}),
            json!({"name": "heir", "role": "viewer"}),
        ] {
            let asking = with_token(Method::POST, "/api/v1/tokens", &body, &admin);
            assert_eq!(api.send(asking).await.status, StatusCode::FORBIDDEN);
        }
        // It may still look, and revoke.
        let list = with_token(Method::GET, "/api/v1/tokens", &json!({}), &admin);
        let list = api.send(list).await.json();
        assert_eq!(list["tokens"].as_array().map(Vec::len), Some(1));
        let path = format!("/api/v1/tokens/{id}");
        let revoke = with_token(Method::DELETE, &path, &json!({}), &admin);
        assert_eq!(api.send(revoke).await.status, StatusCode::NO_CONTENT);
    })
    .await;
}

#[tokio::test]
async fn an_invalid_id_is_reported_with_the_name_of_its_parameter() {
    with_api(async |api| {
        for (method, path, name) in [
            (Method::GET, "/api/v1/tasks/x", "task_id"),
            (Method::DELETE, "/api/v1/tokens/x", "token_id"),
            (Method::DELETE, "/api/v1/webhooks/x", "webhook_id"),
            (Method::DELETE, "/api/v1/queues/dead/x", "job_id"),
        ] {
            let answer = api.send(request(method, path, Body::empty())).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
            assert_eq!(answer.json()["detail"][0]["loc"], json!(["path", name]));
        }
    })
    .await;
}

#[tokio::test]
async fn changes_of_administrators_are_recorded() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let who = ("acme", None, "admin");
        let send = async |method, path: String, body: Value| {
            let body = Body::from(body.to_string());
            let answer = api.send(from_gateway(method, &path, body, who)).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text());
            answer
        };
        let (token, _) = new_token(&api, &json!({"name": "nightly"})).await;
        send(Method::DELETE, format!("/api/v1/tokens/{token}"), json!({})).await;
        let hook = json!({"url": "https://hooks.example.com/x"});
        let hook = send(Method::POST, "/api/v1/webhooks".to_owned(), hook).await;
        let hook = hook.json()["id"].as_str().unwrap().to_owned();
        send(
            Method::DELETE,
            format!("/api/v1/webhooks/{hook}"),
            json!({}),
        )
        .await;
        let task = TaskId::new();
        api.rows()
            .task_of("acme", task, TaskStatus::Done, &["claude"])
            .await;
        let judge = format!("/api/v1/tasks/{task}/judge");
        send(Method::POST, judge, json!({})).await;
        let events = send(Method::GET, "/api/v1/audit".to_owned(), json!({})).await;
        let events = events.json()["events"].as_array().unwrap().clone();
        let told: Vec<(&str, &str)> = events
            .iter()
            .map(|event| {
                assert_eq!(event["actor"], "ada");
                let text = |name: &str| event[name].as_str().unwrap();
                (text("action"), text("subject"))
            })
            .collect();
        let task = task.to_string();
        let expected = [
            ("task.judge", task.as_str()),
            ("webhook.delete", &hook),
            ("webhook.create", &hook),
            ("token.revoke", &token),
            ("token.create", &token),
        ];
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test]
async fn every_change_is_recorded_with_its_actor() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let who = ("acme", None, "admin");
        let task =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let mut create = from_gateway(
            Method::POST,
            "/api/v1/tasks",
            Body::from(task.to_string()),
            who,
        );
        let id = "request-17".parse().unwrap();
        create.headers_mut().insert("x-correlation-id", id);
        let task = api.send(create).await.json()["id"].clone();
        let path = format!("/api/v1/tasks/{}", task.as_str().unwrap());
        let cancel = from_gateway(Method::DELETE, &path, Body::empty(), who);
        assert_eq!(api.send(cancel).await.status, StatusCode::OK);
        let audit = from_gateway(Method::GET, "/api/v1/audit", Body::empty(), who);
        let events = api.send(audit).await.json()["events"].clone();
        let actions: Vec<&str> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["action"].as_str().unwrap())
            .collect();
        assert_eq!(actions, ["task.cancel", "task.create"]);
        assert_eq!(events[1]["actor"], "ada");
        assert_eq!(events[1]["actor_kind"], "user");
        assert_eq!(events[1]["subject"], task);
        assert_eq!(events[1]["correlation_id"], "request-17");
        let audit = from_gateway(
            Method::GET,
            "/api/v1/audit",
            Body::empty(),
            ("acme", None, "member"),
        );
        assert_eq!(api.send(audit).await.status, StatusCode::FORBIDDEN);
    })
    .await;
}
