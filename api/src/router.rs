//! All routes of the API and the layers around them.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header,
};
use axum::middleware::from_fn_with_state;
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

/// Returns the complete router with its middleware.
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
        .layer(from_fn_with_state(state.clone(), middleware::authenticate))
        .layer(from_fn_with_state(state.clone(), middleware::check_host))
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(cors);
    let router = middleware::add_outer_layers(router, limits.request_timeout)
        .layer(from_fn_with_state(state, metrics::count_requests))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .br(true)
                .compress_when(is_compressible()),
        );
    Router::new().fallback_service(MapRequestLayer::new(without_trailing_slash).layer(router))
}

/// Excludes event streams, small or compressed responses, and files. The `ETag` of a file refers to
/// its stored bytes, and a client resumes a download at an offset in them.
fn is_compressible() -> impl Predicate + Send + Sync + 'static {
    let has_no_etag = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        !headers.contains_key(header::ETAG)
    };
    DefaultPredicate::new()
        .and(NotForContentType::const_new("application/zip"))
        .and(has_no_etag)
}

/// Returns the routes that the OpenAPI document describes.
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

/// Refuses paths of administration pages, which do not exist here.
async fn forbidden() -> ApiError {
    ApiError::Forbidden("Forbidden")
}

/// Removes trailing slashes: `/tasks/` is `/tasks`. Paths below `/docs` keep theirs, because the page
/// refers to its files relative to `/docs/`; the layer of tower-http has no exceptions.
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
    // An invalid URI stays unchanged and matches no route.
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
