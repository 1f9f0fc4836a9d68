//! Tokens of machines: `mbk_`, the id of a row, `_`, and a secret of which only a hash is stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{TimeDelta, Utc};
use domain::vocabulary::ActorKind;
use entity::{TokenId, api_token};
use platform::settings::SecretString;
use platform::telemetry::chain;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::caller::Caller;
use crate::http::error::ApiError;
use crate::tenancy;

const PREFIX: &str = "mbk_";
/// Precision of the last use of a token.
const USE_PRECISION: TimeDelta = TimeDelta::seconds(60);

/// The same error for every kind of invalid token, so that it reveals nothing.
const REFUSED: ApiError = ApiError::Unauthorized("Invalid token");

/// Returns whether a text has the form of an API token.
pub(crate) fn is_api_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// A new token for a row, and the hash to store.
pub(crate) fn new_token(id: TokenId) -> (SecretString, String) {
    let bytes: [u8; 32] = rand::random();
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let token = format!("{PREFIX}{}_{secret}", id.0.simple());
    (SecretString::from(token), hash(&secret))
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Returns the caller of a valid token.
pub(crate) async fn caller_of(
    database: &DatabaseConnection,
    token: &str,
) -> Result<Caller, ApiError> {
    let (id, secret) = token
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('_'))
        .ok_or(REFUSED)?;
    let id: TokenId = id.parse().map_err(|_| REFUSED)?;
    let row = tenancy::token_by_id(id)
        .one(database)
        .await
        .map_err(ApiError::database("finding a token"))?
        .ok_or(REFUSED)?;
    let now = Utc::now();
    let same = hash(secret).as_bytes().ct_eq(row.secret_hash.as_bytes());
    if !bool::from(same) || row.revoked_at.is_some() || row.expires_at <= now {
        return Err(REFUSED);
    }
    if row.last_used_at.is_none_or(|at| now - at > USE_PRECISION) {
        let noted = api_token::Entity::update_many()
            .set(api_token::ActiveModel {
                last_used_at: Set(Some(now)),
                ..Default::default()
            })
            .filter(api_token::Column::Id.eq(id))
            .exec(database)
            .await;
        if let Err(error) = noted {
            tracing::warn!(error = chain(&error), "could not record the use of a token");
        }
    }
    Ok(Caller {
        org: row.org_id,
        team: row.team_id,
        kind: ActorKind::Token,
        id: Some(row.id.to_string()),
        email: None,
        role: row.role,
        correlation_id: None,
    })
}
