//! Who asks. Without single sign-on: the one local user.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::state::ApiState;

/// The organisation of the local user.
const LOCAL: &str = "local";

/// Whoever sent a request. A handler that takes one cannot be reached without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Whose tasks may be seen.
    pub(crate) org: String,
    /// Who it is within the organisation; none for the local user.
    pub(crate) user: Option<String>,
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    ApiState: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let api = ApiState::from_ref(state);
        if api.settings.sso_enabled {
            // `serve` has refused already; a router that was put together otherwise is not open.
            return Err(ApiError::Refused(
                crate::settings::NO_SINGLE_SIGN_ON.to_owned(),
            ));
        }
        Ok(Self {
            org: LOCAL.to_owned(),
            user: None,
        })
    }
}
