//! Authenticates callers before any handler runs.
//!
//! * An API token (`Authorization: Bearer mbk_…`) identifies its caller. Any gateway proof beside
//!   it
//!   must be valid, too.
//! * Otherwise, with single sign-on, the gateway names the caller in `X-User-ID`, `X-User-Email`,
//!   `X-Org-ID`, `X-Team-ID` and `X-User-Role`, and proves that it is the gateway. Headers without
//!   proof are ignored.
//! * Otherwise the caller is the local user.

mod bearer;
pub(crate) mod failed_attempts;
mod gateway;
mod jwks;
pub(crate) mod rate_limit;
pub(crate) mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use sea_orm::DatabaseConnection;

use crate::auth::failed_attempts::FailedAttempts;
use crate::caller::Caller;
use crate::http::error::ApiError;
use crate::settings::AuthSettings;
use bearer::bearer_token;
use jwks::Keys;

/// State of authentication.
pub(crate) struct Auth {
    keys: Option<Keys>,
    failed_attempts: FailedAttempts,
}

impl Auth {
    /// `max_failures` is the number of failed attempts per address and minute. 0 means no limit.
    pub(crate) fn new(settings: &AuthSettings, max_failures: u32) -> Arc<Self> {
        Arc::new(Self {
            keys: settings.jwt.clone().map(Keys::new),
            failed_attempts: FailedAttempts::new(max_failures),
        })
    }
}

/// Returns the caller of a request from `peer`.
pub(crate) async fn caller_of(
    auth: &Auth,
    settings: &AuthSettings,
    database: &DatabaseConnection,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Caller, ApiError> {
    let found =
        if let Some(token) = bearer_token(headers).filter(|token| tokens::is_api_token(token)) {
            auth.failed_attempts.check(peer, token)?;
            let found = match gateway::verify_proofs(settings, auth.keys.as_ref(), headers).await {
                Ok(()) => tokens::caller_of(database, token).await,
                Err(error) => Err(error),
            };
            if found.is_ok() {
                auth.failed_attempts.record_valid(token);
            }
            found
        } else if settings.enabled {
            gateway::caller_of(settings, auth.keys.as_ref(), headers, peer).await
        } else {
            Ok(Caller::local())
        };
    match found {
        Err(error @ ApiError::Unauthorized(_)) => {
            Err(auth.failed_attempts.record_failure(peer, error))
        }
        found => found,
    }
}

/// Returns the number of published signing keys, or `None` if gateway tokens are not configured.
pub(crate) async fn count_keys(settings: &AuthSettings) -> Option<Result<usize, String>> {
    let keys = Keys::new(settings.jwt.clone()?);
    Some(keys.count().await)
}
