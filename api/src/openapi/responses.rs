//! Common parts of all responses in the OpenAPI document: headers, errors and examples.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{
    Content, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
};

/// Examples of responses by operation, with a status if it is an error. Taken from a service with a
/// few tasks.
static EXAMPLES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    // A test holds every one of them to the schema of its answer.
    serde_json::from_str(include_str!("examples.json")).unwrap_or_default()
});

const EVENT: &str = "{\"type\":\"task_started\",\"level\":\"INFO\",\
    \"timestamp\":\"2026-11-23T22:55:26.001873Z\",\
    \"task_id\":\"01a20a9f-0d3a-770c-b510-195cd6bcadde\",\"run_id\":null,\"agent\":null,\
    \"message\":\"task started\"}";

/// A refusal in the shape of all of them.
pub(crate) fn refusal(description: &str) -> Response {
    ResponseBuilder::new()
        .description(description)
        .content(JSON, Content::new(Some(Ref::from_schema_name(REFUSAL))))
        .build()
}

const JSON: &str = "application/json";
const REFUSAL: &str = "ErrorBody";
const INVALID: &str = "InvalidBody";

/// Completes the answers of an operation.
pub(crate) fn complete(operation: &mut Operation) {
    let name = operation.operation_id.clone().unwrap_or_default();
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        let correlation = "Id of the request in the log: the one of the request, or a new one";
        add_header(response, "X-Correlation-ID", correlation);
        let other = match status.as_str() {
            "401" => Some(("WWW-Authenticate", "Required authentication scheme")),
            "429" | "503" => Some(("Retry-After", "Seconds until the next attempt")),
            "416" => Some(("Content-Range", "Length of the file: `bytes */10`")),
            _ => None,
        };
        if let Some((name, what)) = other {
            add_header(response, name, what);
        }
        for (kind, content) in &mut response.content {
            let RefOr::T(content) = content else { continue };
            describe(content, kind, status, &name);
        }
    }
}

fn add_header(response: &mut Response, name: &str, what: &str) {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String));
    header.description = Some(what.to_owned());
    response
        .headers
        .entry(name.to_owned())
        .or_insert_with(|| header.into());
}

fn describe(content: &mut Content, kind: &str, status: &str, operation: &str) {
    let is_refusal = matches!(&content.schema, Some(RefOr::Ref(schema))
        if schema.ref_location.ends_with(REFUSAL));
    match kind {
        "text/event-stream" => {
            content.schema = Some(event());
            content.example = Some(json!({"id": "1", "event": "task_started", "data": EVENT}));
        }
        // The bytes as stored. Agents determine the content.
        "*/*" => content.schema = Some(RefOr::T(Schema::Object(bytes().build()))),
        "application/zip" => {
            let bytes = bytes().schema_type(Type::String).content_media_type(kind);
            content.schema = Some(RefOr::T(Schema::Object(bytes.build())));
        }
        _ if is_refusal => {
            if status == "422" {
                content.schema = Some(Ref::from_schema_name(INVALID).into());
            }
            content.example = refused(status, operation);
        }
        _ => {
            let example = if status.starts_with('2') {
                EXAMPLES.get(operation)
            } else {
                EXAMPLES.get(&format!("{operation} {status}"))
            };
            content.example = content.example.take().or_else(|| example.cloned());
        }
    }
}

fn bytes() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some("Bytes"))
}

/// Returns the schema of one event. A whole stream has no schema.
fn event() -> RefOr<Schema> {
    let text = |what: &str| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(what))
    };
    let data =
        text("JSON with `type`, `level`, `timestamp`, `task_id`, `message` and fields of the kind")
            .content_media_type(JSON);
    let event = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("One event of the stream"))
        .property("id", text("Number of the event, for `Last-Event-ID`"))
        .property("event", text("Kind of the event"))
        .property("data", data)
        .property("retry", ObjectBuilder::new().schema_type(Type::Integer))
        .required("id")
        .required("event")
        .required("data");
    RefOr::T(Schema::Object(event.build()))
}

/// Returns an example of an error with this status.
fn refused(status: &str, operation: &str) -> Option<Value> {
    let (title, error) = match (status, operation) {
        ("400", "create_task") => (
            "Bad Request",
            "Invalid GitHub PR URL format. Expected: https://github.com/owner/repo/pull/number",
        ),
        ("400", "cancel_task") => (
            "Bad Request",
            "Task is already completed and cannot be cancelled",
        ),
        ("400", "run_task") => ("Bad Request", "Task cannot be run in status: done"),
        ("400", _) => ("Bad Request", "Invalid host header"),
        ("401", _) => (
            "Unauthorized",
            "Missing or invalid proof that the request comes from the gateway",
        ),
        ("403", _) => (
            "Forbidden",
            "This request needs the role \"member\" or higher. The caller has the role \"viewer\"",
        ),
        ("404", "download_artifact") => (
            "Not Found",
            "Artifact transcript not found for agent claude",
        ),
        ("404", "retry_dead_job" | "discard_dead_job") => ("Not Found", "Job not found"),
        ("404", _) => ("Not Found", "Task not found"),
        ("409", "retry_dead_job" | "discard_dead_job") => ("Conflict", "The job is not dead"),
        ("409", "download_artifact" | "download_bundle") => (
            "Conflict",
            "The bundle can be fetched when the task has ended; it is running now. An agent that \
             is being measured could learn from it what it is asked. Open at any time: \
             manifest.json, task.log",
        ),
        ("409", _) => (
            "Conflict",
            "The task has not ended. Only finished tasks can be retried",
        ),
        ("413", _) => ("Payload Too Large", "The body is too large"),
        ("415", _) => (
            "Unsupported Media Type",
            "The body must be sent as application/json",
        ),
        ("416", _) => ("Range Not Satisfiable", "The range cannot be satisfied"),
        ("422", _) => ("Unprocessable Entity", "Unprocessable Entity"),
        ("429", _) => ("Too Many Requests", "Too many requests"),
        ("500", _) => ("Internal Server Error", "Internal server error"),
        ("503", _) => (
            "Service Unavailable",
            "The service is temporarily unavailable. Try again",
        ),
        _ => return None,
    };
    let number: u16 = status.parse().ok()?;
    let detail = if status == "422" {
        json!([{"type": "less_than_equal", "loc": ["body", "max_files"],
            "msg": "Input should be less than or equal to 1000", "input": 1001,
            "ctx": {"le": 1000}}])
    } else {
        json!(error)
    };
    Some(json!({
        "error": error, "status_code": number, "path": "/api/v1/tasks", "type": "about:blank",
        "title": title, "status": number, "detail": detail,
        "correlation_id": "5c2f1b9e-3d4a-4b8e-9c57-0d6c5f6c1a11",
    }))
}
