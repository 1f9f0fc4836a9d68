//! Faults of a provider.

use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::protocol::Protocol;

/// Reaction of the stub instead of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Status 429, with an optional wait in seconds.
    RateLimit { retry_after: Option<u64> },
    /// Status 529 for Anthropic, 503 for the others.
    Overloaded,
    /// Status 500.
    ServerError,
    /// Status 401.
    Unauthorized,
    /// Status 400.
    BadRequest,
    /// Never answers.
    Hang,
    /// Answers 200 with invalid data.
    Garbage,
    /// Closes the connection in the middle of an answer.
    Truncate,
    /// Answers late.
    Delay(Duration),
    /// Answers requests for a summary with an empty text.
    EmptySummary,
    /// Applies another fault to requests for a summary only.
    OnlyCompaction(Box<Self>),
}

/// Returns an error in the form of the protocol.
pub(super) fn error(protocol: Protocol, status: StatusCode, retry_after: Option<u64>) -> Response {
    let (kind, message) = match status.as_u16() {
        400 => (
            "invalid_request_error",
            "The request was refused by the stub.",
        ),
        401 => ("authentication_error", "The key is not valid."),
        404 => ("not_found_error", "There is nothing here."),
        429 => ("rate_limit_error", "Too many requests."),
        503 | 529 => ("overloaded_error", "Overloaded."),
        _ => ("api_error", "Internal server error."),
    };
    let body = match protocol {
        Protocol::Anthropic => {
            json!({"type": "error", "error": {"type": kind, "message": message}})
        }
        Protocol::Gemini => json!({"error": {
            "code": status.as_u16(),
            "message": message,
            "status": gemini_status(status),
        }}),
        Protocol::OpenAiChat | Protocol::OpenAiResponses => {
            json!({"error": {"message": message, "type": kind, "param": null, "code": kind}})
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    built(response.body(Body::from(body.to_string())))
}

fn gemini_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

/// Returns 200 with invalid data.
pub(super) fn garbage(stream: bool) -> Response {
    let kind = if stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    let response = Response::builder().header(header::CONTENT_TYPE, kind);
    built(response.body(Body::from("data: }{ no json\n\n<html>\u{fffd}</html>\n\n")))
}

/// Returns a built response. A builder fails only for bad header values, and there are none here.
pub(super) fn built(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| Response::new(Body::empty()))
}

/// Returns a JSON answer.
pub(super) fn whole(body: &Value) -> Response {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    built(response.body(Body::from(body.to_string())))
}

/// Returns a stream of server-sent events with optional names. A `truncated` stream fails after
/// half of them.
pub(super) fn events(events: Vec<(Option<&'static str>, Value)>, truncated: bool) -> Response {
    let count = events.len();
    let sent = if truncated { count / 2 } else { count };
    let mut pieces: Vec<Result<String, std::io::Error>> = events
        .into_iter()
        .take(sent)
        .map(|(name, data)| {
            let name = name
                .map(|name| format!("event: {name}\n"))
                .unwrap_or_default();
            Ok(format!("{name}data: {data}\n\n"))
        })
        .collect();
    if truncated {
        pieces.push(Err(std::io::Error::other("connection closed")));
    }
    let response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
    built(response.body(Body::from_stream(futures::stream::iter(pieces))))
}

/// Returns half a JSON answer.
pub(super) fn half(body: &Value) -> Response {
    let text = body.to_string();
    let half: String = text.chars().take(text.chars().count() / 2).collect();
    let pieces = vec![Ok(half), Err(std::io::Error::other("connection closed"))];
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    built(response.body(Body::from_stream(futures::stream::iter(pieces))))
}
