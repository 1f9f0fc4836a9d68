//! Notifies a webhook of the end of a task.
//!
//! [`platform::webhooks`] defines the message, its signature and the allowed addresses. Redirects
//! are not followed, and names that resolve to private addresses are not connected to.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::Utc;
use domain::vocabulary::{ActorKind, DeliveryStatus, FailureCause};
use entity::{AuditId, DeliveryId, audit_event, task, webhook, webhook_delivery};
use platform::database::clock;
use platform::queue::lease;
use platform::redaction::Redactor;
use platform::settings::SecretString;
use platform::telemetry::chain;
use platform::webhooks::{self, is_public, parse_url};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{StatusCode, redirect};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::{JobError, Retry};
use crate::lifecycle::end_job;
use crate::settings::WebhookSettings;

/// Time limit of one delivery, up to the head of the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest delay between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(12 * 3600);

pub(crate) async fn deliver_webhook(
    worker: &Worker,
    job: &ClaimedJob,
    delivery_id: DeliveryId,
) -> Result<(), JobError> {
    let database = &worker.platform.database;
    let found = webhook_delivery::Entity::find_by_id(delivery_id)
        .find_also_related(webhook::Entity)
        .one(database)
        .await?;
    let task = task::Entity::find_by_id(job.lease.task_id)
        .one(database)
        .await?;
    let (Some((delivery, Some(webhook))), Some(task)) = (found, task) else {
        warn!("delivery {delivery_id} was deleted");
        return end_job(worker, job).await;
    };
    if delivery.status != DeliveryStatus::Queued {
        return end_job(worker, job).await;
    }
    if !webhook.enabled {
        return Err(delivery_error(Retry::Never, "the webhook is disabled"));
    }
    let body = body(&task, &delivery).to_string();
    let outcome = send(&worker.settings.webhooks, &webhook, delivery.id, body).await;
    let (code, problem) = match &outcome {
        Ok(status) if status.is_success() => (Some(*status), None),
        Ok(status) => (Some(*status), Some(format!("it responded with {status}"))),
        Err(problem) => (None, Some(problem.clone())),
    };
    let transaction = worker.begin(job).await?;
    let mut change = webhook_delivery::ActiveModel {
        status_code: Set(code.map(|code| code.as_u16().into())),
        error_message: Set(problem
            .as_ref()
            .map(|problem| worker.platform.redactor.redact(problem).into_owned())),
        ..Default::default()
    };
    if problem.is_none() {
        change.status = Set(DeliveryStatus::Delivered);
        change.delivered_at = Set(Some(Utc::now()));
    }
    webhook_delivery::Entity::update_many()
        .set(change)
        .col_expr(
            webhook_delivery::Column::Attempts,
            Expr::col(webhook_delivery::Column::Attempts).add(1),
        )
        .filter(webhook_delivery::Column::Id.eq(delivery.id))
        .exec(&transaction)
        .await?;
    if code == Some(StatusCode::GONE) {
        disable_webhook(&transaction, &webhook).await?;
    }
    let Some(problem) = problem else {
        lease::finish(&transaction, &job.lease).await?;
        transaction.commit().await?;
        info!(webhook.id = %webhook.id, "delivered webhook for task {}", task.id);
        return Ok(());
    };
    transaction.commit().await?;
    let retry = if code == Some(StatusCode::GONE) {
        Retry::Never
    } else {
        Retry::After(wait(worker.settings.webhooks.wait, job.lease.attempt))
    };
    Err(delivery_error(retry, &problem))
}

/// Disables a webhook that answered 410 Gone, and records the system as the actor in the audit log.
async fn disable_webhook(
    transaction: &impl ConnectionTrait,
    webhook: &webhook::Model,
) -> Result<(), DbErr> {
    let turned = webhook::Entity::update_many()
        .set(webhook::ActiveModel {
            enabled: Set(false),
            ..Default::default()
        })
        .filter(webhook::Column::Id.eq(webhook.id))
        .filter(webhook::Column::Enabled.eq(true))
        .exec(transaction)
        .await?;
    if turned.rows_affected == 0 {
        return Ok(());
    }
    let row = audit_event::ActiveModel {
        id: Set(AuditId::new()),
        org_id: Set(webhook.org_id.clone()),
        team_id: Set(webhook.team_id.clone()),
        at: Set(clock::host_now()),
        actor_kind: Set(ActorKind::System),
        actor: Set(None),
        action: Set("webhook.disable".to_owned()),
        subject: Set(Some(webhook.id.to_string())),
        details: Set(json!({ "status_code": StatusCode::GONE.as_u16() })),
        correlation_id: Set(None),
    };
    audit_event::Entity::insert(row)
        .exec_without_returning(transaction)
        .await?;
    Ok(())
}

fn delivery_error(retry: Retry, problem: &str) -> JobError {
    JobError::Failed {
        cause: FailureCause::Harness,
        retry,
        message: format!("the webhook was not delivered: {problem}"),
        source: None,
    }
}

/// Returns the delay after an attempt: four times as long after each.
fn wait(first: Duration, attempt: i32) -> Duration {
    let times = u32::try_from(Ord::clamp(attempt, 1, 13) - 1).unwrap_or_default();
    first.saturating_mul(4_u32.pow(times)).min(MAX_WAIT)
}

/// Records that a message will not be sent any more.
pub(crate) async fn record_delivery_failure(
    connection: &impl ConnectionTrait,
    delivery: DeliveryId,
    message: &str,
    redactor: &Redactor,
) -> Result<(), DbErr> {
    webhook_delivery::Entity::update_many()
        .set(webhook_delivery::ActiveModel {
            status: Set(DeliveryStatus::Failed),
            error_message: Set(Some(redactor.redact(message).into_owned())),
            ..Default::default()
        })
        .filter(webhook_delivery::Column::Id.eq(delivery))
        .filter(webhook_delivery::Column::Status.eq(DeliveryStatus::Queued))
        .exec(connection)
        .await?;
    Ok(())
}

/// Returns the message. It contains no scores: the receiver requests them with its own permissions.
fn body(task: &task::Model, delivery: &webhook_delivery::Model) -> Value {
    let ending = delivery.ending.clone();
    let ending = ending.unwrap_or_else(|| webhooks::ending(task));
    json!({
        "type": "task.completed",
        "timestamp": Utc::now(),
        "data": {
            "task_id": task.id,
            "status": ending["status"],
            "repo": task.repo,
            "pr_url": task.pr_url,
            "pr_number": task.pr_number,
            "agents": task.agents,
            "trials": task.trials,
            "failure_cause": ending["failure_cause"],
            "error_message": ending["error_message"],
            "created_at": task.created_at,
            "completed_at": ending["completed_at"],
            "event_id": delivery.event_seq,
            "leaderboard_url": format!("/api/v1/tasks/{}/leaderboard", task.id),
        },
    })
}

/// Resolves names to public addresses only.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err("the host name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

async fn send(
    settings: &WebhookSettings,
    webhook: &webhook::Model,
    id: DeliveryId,
    body: String,
) -> Result<StatusCode, String> {
    let url =
        parse_url(&webhook.url, settings.private_addresses).map_err(|error| error.to_string())?;
    let mut client = platform::http_client::builder()
        .timeout(REQUEST_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("membreak/", env!("CARGO_PKG_VERSION")));
    if !settings.private_addresses {
        client = client.dns_resolver(PublicOnly);
    }
    let client = client.build().map_err(|error| chain(&error))?;
    let timestamp = Utc::now().timestamp();
    let signature = webhooks::signature(
        &SecretString::from(webhook.secret.as_str()),
        id,
        timestamp,
        &body,
    );
    let answer = client
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", id.to_string())
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await
        // The URL belongs to the organisation, which knows it.
        .map_err(|error| chain(&error.without_url()))?;
    Ok(answer.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_fourfold_and_end_at_half_a_day() {
        let first = Duration::from_secs(10);
        let waits: Vec<u64> = (1..=8).map(|n| wait(first, n).as_secs()).collect();
        assert_eq!(waits, [10, 40, 160, 640, 2560, 10240, 40960, 43200]);
        assert_eq!(wait(first, i32::MAX), MAX_WAIT);
    }

    #[tokio::test]
    async fn a_name_with_a_private_address_is_not_connected_to() {
        let name: Name = "localhost".parse().unwrap();
        assert!(PublicOnly.resolve(name).await.is_err());
    }
}
