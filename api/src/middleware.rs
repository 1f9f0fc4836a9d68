//! Middleware around every request: correlation id, time limit, host check, authentication and the
//! rendering of errors.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, map_request};
use axum::response::{IntoResponse, Response};
use domain::vocabulary::Role;
use tower::{BoxError, ServiceBuilder};
use tower_http::request_id::{
    MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::Instrument;

use crate::auth;
use crate::http::error::{ApiError, render};
use crate::state::ApiState;

/// Carries the correlation id in requests and responses.
pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// Paths that need a caller.
const GUARDED: &str = "/api/";

/// Headers for browsers. A header of the response itself takes precedence.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-site",
    ),
];

/// Adds the outermost layers: the correlation id, the log line, the rendering of errors, security
/// headers, and a limit of the time until the response headers. Streams may last longer.
pub(crate) fn add_outer_layers(router: Router, timeout: Duration) -> Router {
    let too_slow = HandleErrorLayer::new(async |_: BoxError| ApiError::TooSlow);
    let timeout = ServiceBuilder::new().layer(too_slow).timeout(timeout);
    let router =
        SECURITY_HEADERS
            .into_iter()
            .fold(router.layer(timeout), |router, (name, value)| {
                let value = HeaderValue::from_static(value);
                router.layer(SetResponseHeaderLayer::if_not_present(name, value))
            });
    router
        .layer(from_fn(log_and_render))
        .layer(PropagateRequestIdLayer::new(CORRELATION_ID))
        .layer(SetRequestIdLayer::new(CORRELATION_ID, MakeRequestUuid))
        .layer(map_request(remove_unsafe_id))
}

/// Removes a correlation id that could forge a log line. A new one replaces it.
async fn remove_unsafe_id(mut request: Request) -> Request {
    let id = request.headers().get(CORRELATION_ID);
    if !id.is_some_and(is_safe_id) {
        request.headers_mut().remove(CORRELATION_ID);
    }
    request
}

fn is_safe_id(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len())
        && id
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

/// Returns the correlation id of a request.
fn correlation_id(request: &Request) -> Option<String> {
    let id = request.extensions().get::<RequestId>()?;
    id.header_value().to_str().ok().map(str::to_owned)
}

async fn log_and_render(request: Request, next: Next) -> Response {
    let correlation_id = correlation_id(&request).unwrap_or_default();
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
    async move {
        let started = Instant::now();
        let response = render(next.run(request).await, &path, &correlation_id);
        let status = response.status().as_u16();
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Health checks arrive every few seconds and would flood the log.
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

/// Refuses requests under a foreign host name if only this machine may send requests. Otherwise a
/// web page could point its own name here and act as the local user (DNS rebinding).
pub(crate) async fn check_host(
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
        // An invalid host counts as a foreign one.
        Some(
            host.parse()
                .unwrap_or_else(|_| Authority::from_static("invalid")),
        )
    });
    if host.is_none_or(|host| is_own(host.host(), &settings.host)) {
        next.run(request).await
    } else {
        ApiError::WrongHost.into_response()
    }
}

/// Returns whether a name means this machine: `localhost`, a loopback address, or the setting `HOST`.
fn is_own(host: &str, configured: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = bare.parse().ok();
    bare.eq_ignore_ascii_case("localhost")
        || bare.eq_ignore_ascii_case(configured)
        || address.is_some_and(|address| address.is_loopback())
}

/// Converts a panic of a handler into an error response.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is given by the layer"
)]
pub(crate) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    ApiError::Panicked(message.to_owned()).into_response()
}

/// Authenticates requests below `/api` and checks their role and rate limit. Other paths are open.
/// Only this layer provides a [`crate::caller::Caller`] to handlers.
pub(crate) async fn authenticate(
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
    let caller = auth::caller_of(&state.auth, settings, database, request.headers(), peer).await;
    let mut caller = match caller {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    let path = request.uri().path();
    if let Err(error) = state.rate_limit.admit(&caller, peer, path).await {
        return error.into_response();
    }
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if !reads && caller.role < Role::Member {
        return ApiError::MissingRole {
            needed: Role::Member,
            role: caller.role,
        }
        .into_response();
    }
    caller.correlation_id = correlation_id(&request);
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn boom() {
        panic!("the secret is quokka");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_that_reveals_nothing() {
        let router = Router::new()
            .route("/boom", get(boom))
            .layer(CatchPanicLayer::custom(panicked));
        let router = add_outer_layers(router, Duration::from_secs(5));
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
    fn only_names_of_this_machine_are_accepted() {
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

    fn is_kept(id: &str) -> bool {
        is_safe_id(&HeaderValue::from_str(id).unwrap())
    }

    #[test]
    fn a_harmless_correlation_id_is_is_kept() {
        assert!(is_kept("build-17.step_2:a"));
    }

    #[test]
    fn a_correlation_id_that_could_forge_a_log_line_is_replaced() {
        assert!(!is_kept("a b\" level=error"));
        assert!(!is_kept(&"x".repeat(129)));
    }
}
