//! The page at the root: where everything is.

use axum::response::Html;

/// Links to the interface.
pub(crate) async fn show_home() -> Html<&'static str> {
    Html(concat!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"UTF-8\">\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        "<title>Memory-Break Orchestrator</title>\n",
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;",
        "padding:0 1rem}code{background:#8882;padding:.1em .3em}</style>\n",
        "</head>\n<body>\n<h1>Memory-Break Orchestrator</h1>\n",
        "<p>Measures how much a coding agent remembers of a pull request after its \
             context was",
        "compacted. Version ",
        env!("CARGO_PKG_VERSION"),
        ".</p>\n<ul>\n",
        "<li><a href=\"/docs/\">API, to try requests</a></li>\n",
        "<li><a href=\"/redoc\">API, to read</a></li>\n",
        "<li><a href=\"/openapi.json\">OpenAPI document</a></li>\n",
        "<li><a href=\"/api/v1/tasks\">Tasks</a></li>\n",
        "<li><a href=\"/health/detailed\">Health</a></li>\n",
        "</ul>\n</body>\n</html>\n"
    ))
}
