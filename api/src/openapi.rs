//! The head of the OpenAPI document, and the pages that show it. They bring all they need with
//! them: no page loads anything from elsewhere.

use aide::redoc::Redoc;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::error::ErrorBody;
use crate::problem::Problem;
use crate::state::Running;

const DOCUMENT: &str = "/openapi.json";
/// Both programs would load a picture or ask a service elsewhere; the browser does not let them.
const NOTHING_FROM_ELSEWHERE: &str = "default-src 'self'; img-src 'self' data:; \
    script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; \
    font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Memory-Break Orchestrator",
        description = "Measures what coding agents still know of a pull request after their \
                       context was compacted.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ErrorBody, Problem)),
    tags(
        (name = "tasks", description = "Measuring agents on a pull request"),
        (name = "agents", description = "Which agents there are"),
        (name = "logs", description = "What happens, as it happens"),
        (name = "artifacts", description = "What is left behind"),
        (name = "health", description = "How the service is")
    )
)]
struct Head;

/// A router whose document has its head.
pub(crate) fn head() -> OpenApiRouter<Running> {
    OpenApiRouter::with_openapi(Head::openapi())
}

/// The document and the pages that show it.
pub(crate) fn pages(document: utoipa::openapi::OpenApi) -> Router<Running> {
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
            let policy = HeaderValue::from_static(NOTHING_FROM_ELSEWHERE);
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, policy);
            response
        }))
}
