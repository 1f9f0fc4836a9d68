//! Middleware around every request: correlation id, time limit, host check, authentication and the
//! rendering of errors.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::vocabulary::Role;
use tracing::Instrument;
use uuid::Uuid;

use crate::auth;
use crate::http::error::{ApiError, render};
use crate::state::ApiState;

/// Carries the correlation id both ways.
pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// The correlation id of a request, for logs and the audit log.
#[derive(Clone, Debug)]
pub(crate) struct CorrelationId(pub(crate) String);

/// The outermost layer. `limit`: until the head of a response; what streams may go on for longer.
pub(crate) async fn around(
    State(limit): State<Duration>,
    mut request: Request,
    next: Next,
) -> Response {
    let correlation_id = correlation_id(request.headers());
    request
        .extensions_mut()
        .insert(CorrelationId(correlation_id.clone()));
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("(no route)", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!(
        "request",
        correlation_id,
        http.method = %method,
        http.route = route,
    );
    let id = correlation_id.clone();
    async move {
        let started = Instant::now();
        let answered = tokio::time::timeout(limit, next.run(request)).await;
        let response = answered.unwrap_or_else(|_| ApiError::TooSlow.into_response());
        let mut response = render(response, &path, &id);
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(CORRELATION_ID, value);
        }
        let status = response.status().as_u16();
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Probes ask every few seconds; they would drown everything else.
        if route.starts_with("/health") {
            tracing::debug!(
                http.status = status,
                duration_ms,
                "answered {method} {route}"
            );
        } else {
            tracing::info!(
                http.status = status,
                duration_ms,
                "answered {method} {route}"
            );
        }
        response
    }
    .instrument(span)
    .await
}

/// Refuses requests under a foreign name, while only this machine may ask: a page of a browser
/// could otherwise let its own name point here and do as the local user does.
pub(crate) async fn from_here(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let settings = &state.settings;
    if settings.allow_public_bind || settings.auth.enabled {
        return next.run(request).await;
    }
    let host = request.uri().authority().cloned().or_else(|| {
        let host = request.headers().get(HOST)?.to_str().unwrap_or("");
        // What cannot be a host is a foreign one.
        Some(
            host.parse()
                .unwrap_or_else(|_| Authority::from_static("invalid")),
        )
    });
    let own = host.is_none_or(|host| is_own(host.host(), &settings.host));
    if own {
        next.run(request).await
    } else {
        ApiError::WrongHost.into_response()
    }
}

/// Whether a name means this machine: `localhost`, a loopback address, or what `HOST` says.
fn is_own(host: &str, configured: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = bare.parse().ok();
    bare.eq_ignore_ascii_case("localhost")
        || bare.eq_ignore_ascii_case(configured)
        || address.is_some_and(|address| address.is_loopback())
}

/// The caller's own id if it is harmless in a log line, else a new one.
fn correlation_id(headers: &HeaderMap) -> String {
    headers
        .get(CORRELATION_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=128).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        })
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// What is left of a request that panicked.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the payload over"
)]
pub(crate) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    ApiError::Panicked(message.to_owned()).into_response()
}

/// What it lets in.
const GUARDED: &str = "/api/";

/// The layer. It is the only place that makes a [`crate::caller::Caller`] known to a route.
pub(crate) async fn identify(
    State(state): State<ApiState>,
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
    let settings = &state.settings.auth;
    let database = &state.platform.database;
    let found = auth::caller_of(&state.auth, settings, database, request.headers(), peer).await;
    let mut caller = match found {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(),
    };
    let path = request.uri().path();
    if let Err(refused) = state.rates.admit(&caller, peer, path).await {
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn boom() {
        panic!("the secret is quokka");
    }

    #[tokio::test]
    async fn a_request_that_panics_is_an_error_in_our_shape_that_tells_nothing() {
        let router = Router::new()
            .route("/boom", get(boom))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(from_fn_with_state(Duration::from_secs(5), around));
        let request = Request::builder().uri("/boom").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(CORRELATION_ID));
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "Internal server error");
        assert_eq!(body["path"], "/boom");
        assert!(!body.to_string().contains("quokka"));
    }

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "box",
        ] {
            assert!(is_own(own, "box"), "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example", "10.0.0.1", ""] {
            assert!(!is_own(foreign, "box"), "{foreign}");
        }
    }

    fn taken_over(id: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CORRELATION_ID, HeaderValue::from_str(id).unwrap());
        correlation_id(&headers) == id
    }

    #[test]
    fn a_harmless_correlation_id_is_taken_over() {
        assert!(taken_over("build-17.step_2:a"));
    }

    #[test]
    fn a_correlation_id_that_could_forge_a_log_line_is_replaced() {
        assert!(!taken_over("a b\" level=error"));
        assert!(!taken_over(&"x".repeat(129)));
    }
}
