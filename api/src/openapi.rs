//! The head of the OpenAPI document, and the pages that show it. They bring all they need with
//! them: no page loads anything from elsewhere.

use aide::redoc::Redoc;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::error::ErrorBody;
use crate::fields::Problem;
use crate::state::Running;

const DOCUMENT: &str = "/openapi.json";

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
    let html = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    Router::new()
        .merge(SwaggerUi::new("/docs").url(DOCUMENT, document))
        .route("/redoc", get(async move || (html, redoc)))
}
