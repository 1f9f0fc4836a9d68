//! Webhooks are notified of the end of a task, signed, and retried until they are delivered.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on is a failed test"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use domain::vocabulary::{ActorKind, DeliveryStatus, FailureCause, TaskStatus};
use entity::{TaskId, WebhookId, audit_event, task, webhook, webhook_delivery};
use platform::settings::{ExposeSecret, SecretString};
use platform::webhooks::{enqueue_deliveries, new_secret, signature};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, Set, TransactionTrait};
use serde_json::Value;
use testkit::builders;
use tokio::net::TcpListener;

use support::Installation;

type Heard = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// Starts a receiver that responds with these codes in order, and with the last one forever.
async fn receiver(codes: &'static [u16]) -> (String, Heard) {
    let heard = Heard::default();
    let noted = Arc::clone(&heard);
    let app = Router::new().route(
        "/hook",
        post(async move |headers: HeaderMap, body: String| {
            let mut noted = noted.lock().unwrap();
            noted.push((headers, body));
            let code = codes[(noted.len() - 1).min(codes.len() - 1)];
            (
                StatusCode::from_u16(code).unwrap(),
                // Following the redirect would never end.
                [("location", "/hook")],
            )
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, heard)
}

/// Creates a finished task and a webhook that is notified of it.
async fn ended(installation: &Installation, url: &str) -> (TaskId, SecretString) {
    let database = &installation.platform.database;
    let mut task = builders::task();
    task.status = TaskStatus::Done;
    // Fields that a message contains about the end of a task.
    task.failure_cause = Some(FailureCause::Budget);
    task.error_message = Some("it was dear".to_owned());
    task.completed_at = Some(builders::some_time());
    let task = task.into_active_model().reset_all();
    let task = task.insert(database).await.unwrap();
    let secret = new_secret();
    webhook::ActiveModel {
        id: Set(WebhookId::new()),
        org_id: Set(task.org_id.clone()),
        team_id: Set(None),
        url: Set(url.to_owned()),
        secret: Set(secret.expose_secret().to_owned()),
        enabled: Set(true),
        created_by: Set(None),
        created_at: Set(chrono::Utc::now()),
    }
    .insert(database)
    .await
    .unwrap();
    let transaction = database.begin().await.unwrap();
    let rings = enqueue_deliveries(&transaction, task.id).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(rings.len(), 1);
    (task.id, secret)
}

async fn delivery(installation: &Installation) -> webhook_delivery::Model {
    let found = webhook_delivery::Entity::find()
        .one(&installation.platform.database)
        .await;
    found.unwrap().unwrap()
}

async fn settled(installation: &Installation) -> webhook_delivery::Model {
    for _ in 0..600 {
        let found = delivery(installation).await;
        if found.status != DeliveryStatus::Queued {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "the message waits for ever: {:?}",
        delivery(installation).await
    );
}

#[tokio::test]
async fn an_unreachable_receiver_is_retried_with_the_same_id_and_a_valid_signature() {
    let (url, heard) = receiver(&[500, 302, 204]).await;
    let installation = Installation::new().await;
    let (task, secret) = ended(&installation, &url).await;
    let worker = installation.start("w", Vec::new());
    let told = settled(&installation).await;
    worker.stop().await;
    assert_eq!(told.status, DeliveryStatus::Delivered);
    assert_eq!((told.attempts, told.status_code), (3, Some(204)));
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3, "a redirect is not followed");
    for (headers, body) in heard.iter() {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("webhook-id"), told.id.to_string());
        let timestamp = header("webhook-timestamp").parse().unwrap();
        let expected = signature(&secret, told.id, timestamp, body);
        assert_eq!(header("webhook-signature"), expected);
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["type"], "task.completed");
        assert_eq!(body["data"]["task_id"], task.to_string());
        assert_eq!(body["data"]["status"], "done");
    }
}

#[tokio::test]
async fn a_receiver_that_answers_gone_is_disabled() {
    let (url, heard) = receiver(&[410]).await;
    let installation = Installation::new().await;
    ended(&installation, &url).await;
    let worker = installation.start("w", Vec::new());
    let told = settled(&installation).await;
    worker.stop().await;
    assert_eq!(told.status, DeliveryStatus::Failed);
    assert_eq!(heard.lock().unwrap().len(), 1);
    let webhook = webhook::Entity::find()
        .one(&installation.platform.database)
        .await;
    let webhook = webhook.unwrap().unwrap();
    assert!(!webhook.enabled);
    // No user requested it, so the audit log must contain the reason.
    let written = audit_event::Entity::of_org(&webhook.org_id)
        .all(&installation.platform.database)
        .await
        .unwrap();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].action, "webhook.disable");
    assert_eq!(written[0].subject, Some(webhook.id.to_string()));
    assert_eq!(written[0].actor_kind, ActorKind::System);
    assert_eq!(written[0].actor, None);
}

#[tokio::test]
async fn a_receiver_with_a_private_address_is_notified_only_if_allowed() {
    let (url, heard) = receiver(&[200]).await;
    let installation = Installation::new().await;
    // The delivery was created while the webhook was enabled.
    ended(&installation, &url).await;
    let mut settings = installation.settings("w");
    settings.webhooks.private_addresses = false;
    let worker = installation.start_with(settings, Vec::new());
    for _ in 0..100 {
        if delivery(&installation).await.attempts > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = delivery(&installation).await;
    worker.stop().await;
    assert!(told.attempts > 0);
    assert_ne!(told.status, DeliveryStatus::Delivered);
    assert!(heard.lock().unwrap().is_empty());
}

/// A receiver that was unreachable gets the message late, and the task may have been retried
/// meanwhile.
#[tokio::test]
async fn a_message_describes_the_end_of_the_task_even_after_a_retry() {
    let (url, heard) = receiver(&[204]).await;
    let installation = Installation::new().await;
    let database = &installation.platform.database;
    let (task, _) = ended(&installation, &url).await;
    task::ActiveModel {
        id: Set(task),
        status: Set(TaskStatus::Running),
        failure_cause: Set(None),
        error_message: Set(None),
        completed_at: Set(None),
        ..Default::default()
    }
    .update(database)
    .await
    .unwrap();
    let worker = installation.start("w", Vec::new());
    let told = settled(&installation).await;
    worker.stop().await;
    assert_eq!(told.status, DeliveryStatus::Delivered);
    let heard = heard.lock().unwrap();
    let body: Value = serde_json::from_str(&heard[0].1).unwrap();
    assert_eq!(body["data"]["status"], "done");
    assert_eq!(body["data"]["failure_cause"], "budget");
    assert_eq!(body["data"]["error_message"], "it was dear");
    let completed = body["data"]["completed_at"].as_str().unwrap();
    let completed: chrono::DateTime<chrono::Utc> = completed.parse().unwrap();
    assert_eq!(completed, builders::some_time());
}
