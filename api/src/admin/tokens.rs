//! `/api/v1/tokens`: tokens with which machines call. Only administrators see and make them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use domain::vocabulary::{ActorKind, Role};
use entity::{TokenId, api_token};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, TransactionTrait,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::tokens::new_token;
use crate::caller::Admin;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{self, Body, Path};
use crate::state::ApiState;
use crate::tenancy;
use platform::settings::ExposeSecret;

const ROLES: [&str; 3] = ["viewer", "member", "admin"];
/// No token is good for longer.
const MAX_DAYS: i64 = 366;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(revoke_token))
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenView {
    id: Uuid,
    name: String,
    /// `viewer`, `member` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// Team whose resources the token can read. Null: the whole organisation.
    team_id: Option<String>,
    created_by: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// To the minute; null: never.
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<api_token::Model> for TokenView {
    fn from(row: api_token::Model) -> Self {
        let api_token::Model {
            id,
            org_id: _,
            team_id,
            name,
            role,
            secret_hash: _,
            created_by,
            created_at,
            expires_at,
            last_used_at,
            revoked_at,
        } = row;
        Self {
            id: id.0,
            name,
            role,
            team_id,
            created_by,
            created_at,
            expires_at,
            last_used_at,
            revoked_at,
        }
    }
}

/// A new token. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewTokenView {
    /// To be sent as `Authorization: Bearer …`.
    token: String,
    #[serde(flatten)]
    view: TokenView,
}

/// The tokens of an organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    tokens: Vec<TokenView>,
}

/// A request for a new token.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body; `create_token` reads it")]
#[schema(example = json!({"name": "nightly runs", "role": "member", "expires_in_days": 30}))]
pub(crate) struct CreateToken {
    /// Name, for people.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// `viewer`, `member` or `admin`.
    #[schema(default = "member", pattern = "^(viewer|member|admin)$")]
    role: Option<String>,
    /// Team to which the token is limited. By default the team of the creator, if any.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"
    )]
    team_id: Option<String>,
    #[schema(minimum = 1, maximum = 366, default = 90)]
    expires_in_days: Option<i64>,
}

/// Lists the tokens, newest first.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "administration",
    responses(
        (status = 200, description = "The tokens", body = TokenList),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody)))]
async fn list_tokens(
    State(api): State<ApiState>,
    Admin(caller): Admin,
) -> Result<Json<TokenList>, ApiError> {
    let rows = tenancy::tokens(&caller)
        .order_by_desc(api_token::Column::Id)
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing tokens"))?;
    Ok(Json(TokenList {
        tokens: rows.into_iter().map(TokenView::from).collect(),
    }))
}

/// Makes a token. Its secret is shown once and not stored.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "administration", request_body = CreateToken,
    responses(
        (status = 201, description = "The token", body = NewTokenView),
        (status = 403, description = "The caller is not an administrator, or is a token", body = ErrorBody),
        (status = 422, description = "The request is invalid", body = ErrorBody)))]
async fn create_token(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<NewTokenView>), ApiError> {
    // Otherwise a leaked token could create tokens that outlive its expiry or revocation.
    if caller.kind == ActorKind::Token {
        return Err(ApiError::Forbidden(
            "Tokens cannot create tokens. Sign in as a user",
        ));
    }
    let name = fields.short_text("name", 100);
    if fields.raw("name").is_none() {
        fields.missing("name");
    }
    let role = fields.word("role", &ROLES).unwrap_or(Role::Member);
    let team = fields.short_text("team_id", 200);
    let days = fields.integer("expires_in_days", 1, MAX_DAYS).unwrap_or(90);
    fields.finish()?;
    // A token cannot read more than its creator.
    let team = match (&caller.team, team) {
        (Some(own), Some(asked)) if *own != asked => {
            return Err(ApiError::Forbidden(
                "The token would have access to another team. Leave out team_id or use your own team",
            ));
        }
        (own, asked) => asked.or_else(|| own.clone()),
    };
    let id = TokenId::new();
    let (token, secret_hash) = new_token(id);
    let now = Utc::now().trunc_subsecs(6);
    let row = api_token::ActiveModel {
        id: Set(id),
        org_id: Set(caller.org.clone()),
        team_id: Set(team),
        name: Set(name.unwrap_or_default()),
        role: Set(role),
        secret_hash: Set(secret_hash),
        created_by: Set(caller.id.clone()),
        created_at: Set(now),
        expires_at: Set(now + TimeDelta::days(days)),
        last_used_at: Set(None),
        revoked_at: Set(None),
    };
    let creating = || ApiError::database("creating a token");
    let transaction = api.platform.database.begin().await.map_err(creating())?;
    let row = row.insert(&transaction).await.map_err(creating())?;
    let details = json!({ "name": row.name, "role": row.role, "expires_at": row.expires_at });
    caller
        .actor()
        .record(&transaction, "token.create", id, details)
        .await
        .map_err(creating())?;
    transaction.commit().await.map_err(creating())?;
    let view = NewTokenView {
        token: token.expose_secret().to_owned(),
        view: row.into(),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Revokes a token: it is refused from now on.
#[utoipa::path(delete, path = "/api/v1/tokens/{token_id}", tag = "administration",
    params(("token_id" = Uuid, Path)),
    responses(
        (status = 204, description = "The token is revoked"),
        (status = 403, description = "The caller is not an administrator", body = ErrorBody),
        (status = 404, description = "The token does not exist", body = ErrorBody)))]
async fn revoke_token(
    State(api): State<ApiState>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: TokenId = validation::id("token_id", &id)?;
    let revoking = || ApiError::database("revoking a token");
    let found = tenancy::tokens(&caller)
        .filter(api_token::Column::Id.eq(id))
        .one(&api.platform.database)
        .await
        .map_err(revoking())?;
    if found.is_none() {
        return Err(ApiError::NotFound("Token not found".to_owned()));
    }
    let transaction = api.platform.database.begin().await.map_err(revoking())?;
    let revoked = api_token::Entity::update_many()
        .col_expr(api_token::Column::RevokedAt, Expr::value(Utc::now()))
        .filter(api_token::Column::Id.eq(id))
        .filter(api_token::Column::RevokedAt.is_null())
        .exec(&transaction)
        .await
        .map_err(revoking())?;
    if revoked.rows_affected == 1 {
        caller
            .actor()
            .record(&transaction, "token.revoke", id, json!({}))
            .await
            .map_err(revoking())?;
    }
    transaction.commit().await.map_err(revoking())?;
    Ok(StatusCode::NO_CONTENT)
}
