//! Routes of the OpenAPI document and of the pages that show it.

use axum::Router;
use utoipa::openapi::OpenApi;

use crate::state::ApiState;

/// Path of the OpenAPI document.
const DOCUMENT: &str = "/openapi.json";

/// Returns the routes of the document and its pages. The pages load nothing from other hosts.
#[cfg(feature = "swagger")]
pub(crate) fn pages(document: OpenApi) -> Router<ApiState> {
    use aide::redoc::Redoc;
    use axum::http::HeaderValue;
    use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
    use axum::middleware::map_response;
    use axum::response::Response;
    use axum::routing::get;
    use bytes::Bytes;
    use utoipa_swagger_ui::{Config, SwaggerUi};

    /// Both pages would load an image from, or send requests to, other hosts. The policy prevents
    /// it.
    const POLICY: &str = "default-src 'self'; img-src 'self' data:; \
        script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; \
        font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'";

    let redoc = Bytes::from(
        Redoc::new(DOCUMENT)
            .with_title("Memory-Break Orchestrator")
            .html(),
    );
    let docs = SwaggerUi::new("/docs").config(Config::default().validator_url("none"));
    let html = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    Router::new()
        .merge(docs.url(DOCUMENT, document))
        .route("/redoc", get(async move || (html, redoc)))
        .layer(map_response(async |mut response: Response| {
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            response
        }))
}

/// Returns the route of the document. The pages need the feature `swagger`.
#[cfg(not(feature = "swagger"))]
pub(crate) fn pages(document: OpenApi) -> Router<ApiState> {
    use axum::Json;
    use axum::routing::get;

    Router::new().route(DOCUMENT, get(async move || Json(document)))
}
