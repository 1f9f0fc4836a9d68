//! Lets a request below `/api` in if it is known who sends it, if that caller may do such things and
//! has not asked too often. Everything else is open.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::vocabulary::Role;

use crate::auth;
use crate::error::ApiError;
use crate::request::CorrelationId;
use crate::running::Running;

/// What it lets in.
const GUARDED: &str = "/api/";

/// The layer. It is the only place that makes a [`crate::caller::Caller`] known to a route.
pub(crate) async fn identify(
    State(running): State<Running>,
    mut request: Request,
    next: Next,
) -> Response {
    if !request.uri().path().starts_with(GUARDED) {
        return next.run(request).await;
    }
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0);
    let settings = &running.api.settings.auth;
    let database = &running.api.platform.database;
    let found = auth::caller_of(&running.auth, settings, database, request.headers(), peer).await;
    let mut caller = match found {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(),
    };
    let path = request.uri().path();
    if let Err(refused) = running.rates.admit(&caller, peer, path).await {
        return refused.into_response();
    }
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if !reads && caller.role < Role::Member {
        return ApiError::Forbidden("This takes the role member").into_response();
    }
    caller.correlation_id = request
        .extensions()
        .get::<CorrelationId>()
        .map(|id| id.0.clone());
    request.extensions_mut().insert(caller);
    next.run(request).await
}
