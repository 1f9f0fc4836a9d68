//! The table of contents of the interface.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header,
};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{any, get};
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;

use crate::admin::{audit, tokens, webhooks};
use crate::health::metrics;
use crate::http::error::ApiError;
use crate::settings::ApiSettings;
use crate::state::{ApiDependencies, ApiState};
use crate::{agents, artifacts, events, health, home, judgings, leaderboards, queues, runs, tasks};
use crate::{middleware, openapi};

/// Everything, with what happens around every request.
pub(crate) fn router(dependencies: ApiDependencies, stopping: CancellationToken) -> Router {
    let state = ApiState::start(dependencies, stopping);
    let cors = cors(&state.settings);
    let limits = state.settings.limits;
    let (router, document) = described().split_for_parts();
    let router = router
        .route("/", get(home::show_home))
        .route("/admin", any(forbidden))
        .route("/admin/{*rest}", any(forbidden))
        .merge(openapi::pages::pages(openapi::complete(document)))
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(state.clone())
        .layer(from_fn_with_state(state.clone(), middleware::identify))
        .layer(from_fn_with_state(state.clone(), middleware::from_here))
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(cors)
        .layer(map_response(security_headers))
        .layer(from_fn_with_state(
            limits.request_timeout,
            middleware::around,
        ))
        .layer(from_fn_with_state(state, metrics::count_requests))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .br(true)
                .compress_when(may_be_compressed()),
        );
    Router::new().fallback_service(MapRequestLayer::new(without_trailing_slash).layer(router))
}

/// Leaves streams of events alone, what is small or compressed already, and files: an `ETag` is that
/// of the bytes as they are stored, and a client goes on with a download at a place in those.
fn may_be_compressed() -> impl Predicate + Send + Sync + 'static {
    let has_no_etag = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        !headers.contains_key(header::ETAG)
    };
    DefaultPredicate::new()
        .and(NotForContentType::const_new("application/zip"))
        .and(has_no_etag)
}

/// What the OpenAPI document describes.
pub(crate) fn described() -> OpenApiRouter<ApiState> {
    openapi::head()
        .merge(tasks::routes::router())
        .merge(runs::routes::router())
        .merge(leaderboards::task::router())
        .merge(leaderboards::all_tasks::router())
        .merge(judgings::routes::router())
        .merge(tasks::question_bank::router())
        .merge(agents::routes::router())
        .merge(events::routes::router())
        .merge(artifacts::routes::router())
        .merge(runs::comparison::router())
        .merge(tasks::retry_routes::router())
        .merge(queues::routes::router())
        .merge(tokens::router())
        .merge(webhooks::router())
        .merge(audit::router())
        .merge(health::routes::router())
        .merge(metrics::router())
}

/// There is nothing to administrate here, and nothing to find.
async fn forbidden() -> ApiError {
    ApiError::Forbidden("Forbidden")
}

/// What browsers are told about every answer; what an answer says of itself goes before it.
async fn security_headers(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
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
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// `/tasks/` is `/tasks`. The pages of `/docs` name their files relative to `/docs/`.
fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let short = path.trim_end_matches('/');
    if short.is_empty() || short.len() == path.len() || path.starts_with("/docs") {
        return request;
    }
    let short = match request.uri().query() {
        Some(query) => format!("{short}?{query}"),
        None => short.to_owned(),
    };
    // What does not parse stays as it came, and is not found.
    if let Ok(uri) = short.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

fn cors(settings: &ApiSettings) -> CorsLayer {
    let origins: Vec<HeaderValue> = settings
        .allowed_origins
        .iter()
        .filter_map(|origin| origin.parse().ok())
        .collect();
    let allowed = if settings.allowed_origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins)
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([
            header::ACCEPT,
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            middleware::CORRELATION_ID,
        ])
        .expose_headers([
            middleware::CORRELATION_ID,
            header::RETRY_AFTER,
            header::ETAG,
            header::CONTENT_RANGE,
            HeaderName::from_static("idempotency-replayed"),
        ])
}
