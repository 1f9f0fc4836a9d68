//! Finds out who sends a request, before any route sees it.
//!
//! * A token of ours (`Authorization: Bearer mbk_…`) speaks for itself.
//! * Else, with single sign-on, the gateway in front tells who it is, in the headers `X-User-ID`,
//!   `X-User-Email`, `X-Org-ID`, `X-Team-ID` and `X-User-Role`, and proves that it is the gateway.
//!   Without proof these headers are worth nothing.
//! * Else it is the local user.

mod gateway;
mod keys;
pub(crate) mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sea_orm::DatabaseConnection;

use crate::caller::Caller;
use crate::error::ApiError;
use crate::settings::AuthSettings;
use keys::Keys;

/// What proving takes while the service runs.
pub(crate) struct Auth {
    keys: Option<Keys>,
}

impl Auth {
    pub(crate) fn new(settings: &AuthSettings) -> Arc<Self> {
        let keys = settings.jwt.clone().map(Keys::new);
        Arc::new(Self { keys })
    }
}

/// Whoever sends a request, from `peer`.
pub(crate) async fn caller_of(
    auth: &Auth,
    settings: &AuthSettings,
    database: &DatabaseConnection,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Caller, ApiError> {
    if let Some(token) = bearer(headers).filter(|token| tokens::is_ours(token)) {
        return tokens::caller_of(database, token).await;
    }
    if !settings.enabled {
        return Ok(Caller::local());
    }
    gateway::caller_of(settings, auth.keys.as_ref(), headers, peer).await
}

/// What stands after `Bearer`; the scheme's name may be written in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
