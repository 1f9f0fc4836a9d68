//! The OpenAPI document.

pub(crate) mod pages;
mod responses;

use utoipa::OpenApi as _;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{OpenApi, RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;

use crate::http::error::{ErrorBody, InvalidBody, Problem};
use crate::state::ApiState;
use crate::tasks::options;

const TOKEN: &str = "token";
const GATEWAY_SECRET: &str = "gateway_secret";
const GATEWAY_TOKEN: &str = "gateway_token";
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Memory-Break Orchestrator",
        description = "Measures how much a coding agent remembers of a pull request after its context \
             was compacted. The four dimensions are AR (accurate retrieval), TTL (test-time \
             learning), LRU (long-range understanding) and SF (selective forgetting). \
             Probes are asked in three arms: cold (a session that never saw the pull \
             request), baseline (just before the break) and post (after the break). A break \
             is a compaction of the agent's context. Retention is (post − cold) / (baseline \
             − cold).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ErrorBody, InvalidBody, Problem)),
    tags(
        (name = "tasks", description = "Tasks: evaluations of agents on a pull request"),
        (name = "agents", description = "Available agents"),
        (name = "logs", description = "Event streams and log files"),
        (name = "artifacts", description = "Artifacts: files of a task"),
        (name = "leaderboard", description = "Leaderboard over all tasks"),
        (name = "queues", description = "Queue depths, workers and dead jobs"),
        (name = "administration", description = "Tokens, webhooks and the audit log"),
        (name = "health", description = "Health checks and metrics")
    )
)]
struct Head;

/// Returns a router whose document has the common head.
pub(crate) fn head() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Head::openapi())
}

/// Adds the common parts of all operations, so that no route lacks them: errors and security.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    options::describe(&mut document);
    let components = document.components.get_or_insert_default();
    let header = |name: &str, what: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, what)))
    };
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("API token, created by an administrator (`mbk_…`)"))
        .build();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    let what = "With single sign-on: the secret of the gateway, together with `X-User-ID`, \
         `X-Org-ID`, `X-User-Role`, `X-Team-ID` and `X-User-Email`";
    components.add_security_scheme(GATEWAY_SECRET, header("X-Gateway-Secret", what));
    let what = "With single sign-on: a token signed by the gateway";
    components.add_security_scheme(GATEWAY_TOKEN, header("X-Gateway-Token", what));
    for (path, item) in &mut document.paths.paths {
        let guarded = path.starts_with("/api/");
        for (changes, operation) in [
            (false, item.get.as_mut()),
            (true, item.post.as_mut()),
            (true, item.delete.as_mut()),
        ] {
            let Some(operation) = operation else { continue };
            // An absent header or query parameter is not null.
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(parameter) = parameter {
                    parameter.schema = parameter.schema.take().map(without_null);
                }
            }
            let takes_body = operation.request_body.is_some();
            let refusals = [
                (
                    true,
                    "400",
                    "The request cannot be executed, or has a foreign host name",
                ),
                (guarded, "401", "Missing or invalid authentication"),
                (
                    guarded && changes,
                    "403",
                    "The role does not allow this request",
                ),
                (takes_body, "413", "The body is too large"),
                (takes_body, "415", "The body is not JSON"),
                (guarded, "422", "The request is invalid"),
                (guarded, "429", "Too many requests or open tasks"),
                (
                    true,
                    "500",
                    "Defect of the service. The log has the cause under the correlation id",
                ),
                (
                    guarded,
                    "503",
                    "The database is unavailable, or the request timed out",
                ),
            ];
            for (may_be, status, description) in refusals {
                if may_be {
                    operation
                        .responses
                        .responses
                        .entry(status.to_owned())
                        .or_insert_with(|| responses::refusal(description).into());
                }
            }
            responses::complete(operation);
            if guarded {
                let none: [&str; 0] = [];
                let mut ways: Vec<SecurityRequirement> = [TOKEN, GATEWAY_SECRET, GATEWAY_TOKEN]
                    .map(|scheme| SecurityRequirement::new(scheme, none))
                    .to_vec();
                // Without single sign-on.
                ways.push(SecurityRequirement::default());
                operation.security = Some(ways);
            }
        }
    }
    document
}

fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else {
        return schema;
    };
    if let SchemaType::Array(types) = &object.schema_type {
        let mut others = types.iter().filter(|kind| **kind != Type::Null);
        if let (Some(only), None) = (others.next(), others.next()) {
            object.schema_type = SchemaType::Type(only.clone());
        }
    }
    RefOr::T(Schema::Object(object))
}
