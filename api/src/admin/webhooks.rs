//! `/api/v1/webhooks`: webhooks of an organisation, for administrators. Workers deliver the
//! messages.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, SubsecRound, Utc};
use domain::vocabulary::DeliveryStatus;
use entity::{WebhookId, webhook, webhook_delivery};
use platform::settings::ExposeSecret;
use platform::webhooks::{new_secret, parse_url};
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, TransactionTrait,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::{Admin, Caller};
use crate::http::error::Problem;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{self, Body, Path};
use crate::state::ApiState;
use crate::tenancy;

/// Of one organisation: every end of a task costs as many messages.
const MAX_WEBHOOKS: u64 = 20;
/// Messages that are shown.
const MAX_DELIVERIES: u64 = 100;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(delete_webhook))
        .routes(routes!(list_deliveries))
}

/// A webhook without its secret. It receives a message when a task ends.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookView {
    id: Uuid,
    url: String,
    /// Only tasks of this team; null: of all.
    team_id: Option<String>,
    /// False where its receiver answered that it is gone (410).
    enabled: bool,
    created_by: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<webhook::Model> for WebhookView {
    fn from(row: webhook::Model) -> Self {
        let webhook::Model {
            id,
            org_id: _,
            team_id,
            url,
            secret: _,
            enabled,
            created_by,
            created_at,
        } = row;
        Self {
            id: id.0,
            url,
            team_id,
            enabled,
            created_by,
            created_at,
        }
    }
}

/// A new webhook. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewWebhookView {
    /// Secret that signs messages (`webhook-signature`).
    secret: String,
    #[serde(flatten)]
    view: WebhookView,
}

/// The webhooks of an organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookList {
    webhooks: Vec<WebhookView>,
}

/// A request for a new webhook.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body; `create_webhook` reads it")]
#[schema(example = json!({"url": "https://hooks.example.com/membreak"}))]
pub(crate) struct CreateWebhook {
    /// `https://…`, in the public internet.
    #[schema(min_length = 1, max_length = 2000)]
    url: String,
    /// Only tasks of this team; the creator's own team, if it has one.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"
    )]
    team_id: Option<String>,
}

/// Lists the webhooks, newest first.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "administration",
    responses(
        (status = 200, description = "The webhooks", body = WebhookList),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody)))]
async fn list_webhooks(
    State(api): State<ApiState>,
    Admin(caller): Admin,
) -> Result<Json<WebhookList>, ApiError> {
    let rows = tenancy::webhooks(&caller)
        .order_by_desc(webhook::Column::Id)
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing webhooks"))?;
    Ok(Json(WebhookList {
        webhooks: rows.into_iter().map(WebhookView::from).collect(),
    }))
}

/// Registers a webhook for the ends of tasks. Messages follow Standard Webhooks and are repeated
/// for about fifteen hours.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "administration", request_body = CreateWebhook,
    responses(
        (status = 201, description = "The webhook", body = NewWebhookView),
        (status = 400, description = "The organisation has too many webhooks", body = ErrorBody),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody),
        (status = 422, description = "The request is invalid", body = ErrorBody)))]
async fn create_webhook(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<NewWebhookView>), ApiError> {
    let text = fields.short_text("url", 2000);
    if fields.raw("url").is_none() {
        fields.missing("url");
    }
    if let Some(text) = &text
        && let Err(problem) = parse_url(text, api.settings.webhook_private_addresses)
    {
        let loc = fields.loc("url");
        let msg = format!("Invalid webhook URL: {problem}");
        fields.add_problem(Problem::new("url", loc, msg, text.as_str().into()));
    }
    let team = fields.short_text("team_id", 200);
    fields.finish()?;
    let team = match (&caller.team, team) {
        (Some(own), Some(asked)) if *own != asked => {
            return Err(ApiError::Forbidden(
                "The webhook would receive tasks of another team. Leave out team_id or use your \
                     own team",
            ));
        }
        (own, asked) => asked.or_else(|| own.clone()),
    };
    let creating = || ApiError::database("creating a webhook");
    let whole = Caller {
        team: None,
        ..caller.clone()
    };
    let count = tenancy::webhooks(&whole)
        .count(&api.platform.database)
        .await
        .map_err(creating())?;
    if count >= MAX_WEBHOOKS {
        return Err(ApiError::Refused(format!(
            "The organisation has {count} webhooks, which is the maximum. Delete one first"
        )));
    }
    let secret = new_secret();
    let row = webhook::ActiveModel {
        id: Set(WebhookId::new()),
        org_id: Set(caller.org.clone()),
        team_id: Set(team),
        url: Set(text.unwrap_or_default()),
        secret: Set(secret.expose_secret().to_owned()),
        enabled: Set(true),
        created_by: Set(caller.id.clone()),
        created_at: Set(Utc::now().trunc_subsecs(6)),
    };
    let transaction = api.platform.database.begin().await.map_err(creating())?;
    let row = row.insert(&transaction).await.map_err(creating())?;
    let details = json!({ "url": row.url });
    caller
        .actor()
        .record(&transaction, "webhook.create", row.id, details)
        .await
        .map_err(creating())?;
    transaction.commit().await.map_err(creating())?;
    let view = NewWebhookView {
        secret: secret.expose_secret().to_owned(),
        view: row.into(),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

async fn webhook_of(api: &ApiState, caller: &Caller, id: &str) -> Result<webhook::Model, ApiError> {
    let id: WebhookId = validation::id("webhook_id", id)?;
    tenancy::webhooks(caller)
        .filter(webhook::Column::Id.eq(id))
        .one(&api.platform.database)
        .await
        .map_err(ApiError::database("finding a webhook"))?
        .ok_or_else(|| ApiError::NotFound("Webhook not found".to_owned()))
}

/// Removes a webhook, with the messages that wait for it.
#[utoipa::path(delete, path = "/api/v1/webhooks/{webhook_id}", tag = "administration",
    params(("webhook_id" = Uuid, Path)),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody),
        (status = 404, description = "The webhook does not exist", body = ErrorBody)))]
async fn delete_webhook(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let webhook = webhook_of(&api, &caller, &id).await?;
    let deleting = || ApiError::database("removing a webhook");
    let transaction = api.platform.database.begin().await.map_err(deleting())?;
    webhook::Entity::delete_many()
        .filter(webhook::Column::Id.eq(webhook.id))
        .exec(&transaction)
        .await
        .map_err(deleting())?;
    let details = json!({ "url": webhook.url });
    caller
        .actor()
        .record(&transaction, "webhook.delete", webhook.id, details)
        .await
        .map_err(deleting())?;
    transaction.commit().await.map_err(deleting())?;
    Ok(StatusCode::NO_CONTENT)
}

/// The messages to a webhook.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    deliveries: Vec<DeliveryView>,
}

/// One message. Its id is the `webhook-id`, the same at every attempt.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    id: Uuid,
    task_id: Uuid,
    /// `queued`, `delivered` or `failed`.
    #[schema(value_type = String)]
    status: DeliveryStatus,
    attempts: i32,
    /// Last HTTP status of the receiver. Null without a response.
    status_code: Option<i32>,
    error_message: Option<String>,
    created_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
}

impl From<webhook_delivery::Model> for DeliveryView {
    fn from(row: webhook_delivery::Model) -> Self {
        let webhook_delivery::Model {
            id,
            webhook_id: _,
            task_id,
            event_seq: _,
            ending: _,
            status,
            attempts,
            status_code,
            error_message,
            created_at,
            delivered_at,
        } = row;
        Self {
            id: id.0,
            task_id: task_id.0,
            status,
            attempts,
            status_code,
            error_message,
            created_at,
            delivered_at,
        }
    }
}

/// Lists the newest 100 messages to a webhook with their delivery status.
#[utoipa::path(get, path = "/api/v1/webhooks/{webhook_id}/deliveries", tag = "administration",
    params(("webhook_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The messages", body = DeliveryList),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody),
        (status = 404, description = "The webhook does not exist", body = ErrorBody)))]
async fn list_deliveries(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<Json<DeliveryList>, ApiError> {
    let webhook = webhook_of(&api, &caller, &id).await?;
    let rows = tenancy::deliveries_of(&webhook)
        .limit(MAX_DELIVERIES)
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing messages"))?;
    Ok(Json(DeliveryList {
        deliveries: rows.into_iter().map(DeliveryView::from).collect(),
    }))
}
