//! The authenticated caller of a request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::vocabulary::{ActorKind, Role};

use crate::admin::audit_log::{Actor, LOCAL};
use crate::http::error::ApiError;

/// The sender of a request. A handler with this parameter is unreachable without authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Organisation whose tasks the caller can access.
    pub(crate) org: String,
    /// Only those of this team, where one is set.
    pub(crate) team: Option<String>,
    pub(crate) kind: ActorKind,
    /// Id of the user or the token within the organisation. `None` for the local user.
    pub(crate) id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) role: Role,
    /// The request's.
    pub(crate) correlation_id: Option<String>,
}

impl Caller {
    /// The one user of an installation without single sign-on.
    pub(crate) fn local() -> Self {
        Self {
            org: LOCAL.to_owned(),
            team: None,
            kind: ActorKind::Local,
            id: None,
            email: None,
            role: Role::Admin,
            correlation_id: None,
        }
    }

    /// Returns the actor for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            org: self.org.clone(),
            team: self.team.clone(),
            kind: self.kind,
            id: self.id.clone(),
            correlation_id: self.correlation_id.clone(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // Inserted by `middleware::authenticate` for every route below /api.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(ApiError::Unauthorized("Authentication required"))
    }
}

/// A caller with the role `admin`.
pub(crate) struct Admin(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.role < Role::Admin {
            return Err(ApiError::MissingRole {
                needed: Role::Admin,
                role: caller.role,
            });
        }
        Ok(Self(caller))
    }
}
