//! `/api/v1/audit`: the audit log of an organisation, for administrators.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::vocabulary::ActorKind;
use entity::audit_event;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Admin;
use crate::http::cursor::{Cursor, read_cursor};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::Query;
use crate::state::ApiState;
use crate::tenancy;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_audit))
}

/// Which changes to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `list_audit` reads it")]
pub(crate) struct ListAudit {
    /// Only changes with this action, such as `task.create`.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    action: Option<String>,
    /// Only changes of the resource with this id.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    subject: Option<String>,
    /// Entries per page. More than 1000 counts as 1000.
    #[param(minimum = 1, default = 50)]
    page_size: Option<u64>,
    /// Continues after the page with this `next_cursor`.
    #[param(pattern = "^[A-Za-z0-9_-]{32}$")]
    cursor: Option<String>,
}

/// Changes, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    events: Vec<AuditView>,
    /// `cursor` of the next page. Null on the last page.
    next_cursor: Option<String>,
}

/// One change.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditView {
    id: Uuid,
    at: DateTime<Utc>,
    /// `local`, `user`, `token`, or `system`: the service by itself.
    #[schema(value_type = String)]
    actor_kind: ActorKind,
    /// The user's id, or the token's.
    actor: Option<String>,
    team_id: Option<String>,
    /// Action: `task.create`, `task.cancel`, `task.retry`, `task.judge`, `token.create`,
    /// `token.revoke`, `webhook.create`, `webhook.delete`, `webhook.disable`, `job.retry` or
    /// `job.discard`.
    action: String,
    /// Id of the changed resource.
    subject: Option<String>,
    #[schema(value_type = Object)]
    details: Value,
    /// The request that did it.
    correlation_id: Option<String>,
}

/// Lists changes with their actors, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "administration", params(ListAudit),
    responses(
        (status = 200, description = "The changes", body = AuditPage),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody),
        (status = 422, description = "The query is invalid", body = ErrorBody)))]
async fn list_audit(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Query(mut query): Query,
) -> Result<Json<AuditPage>, ApiError> {
    let action = query.text("action");
    let subject = query.text("subject");
    let size = query.page_size(50);
    let cursor = read_cursor(&mut query);
    query.finish()?;
    let mut wanted = tenancy::audit(&caller);
    if let Some(action) = action {
        wanted = wanted.filter(audit_event::Column::Action.eq(action));
    }
    if let Some(subject) = subject {
        wanted = wanted.filter(audit_event::Column::Subject.eq(subject));
    }
    if let Some(cursor) = cursor {
        wanted = wanted.filter(cursor.in_columns(audit_event::Column::At, audit_event::Column::Id));
    }
    let size = size.unsigned_abs();
    let mut rows = wanted
        .order_by_desc(audit_event::Column::At)
        .order_by_desc(audit_event::Column::Id)
        .limit(size + 1)
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing changes"))?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor::new(last.at, last.id.0).to_string());
    Ok(Json(AuditPage {
        events: rows.into_iter().map(AuditView::from).collect(),
        next_cursor,
    }))
}

impl From<audit_event::Model> for AuditView {
    fn from(row: audit_event::Model) -> Self {
        let audit_event::Model {
            id,
            org_id: _,
            team_id,
            at,
            actor_kind,
            actor,
            action,
            subject,
            details,
            correlation_id,
        } = row;
        Self {
            id: id.0,
            at,
            actor_kind,
            actor,
            team_id,
            action,
            subject,
            details,
            correlation_id,
        }
    }
}
