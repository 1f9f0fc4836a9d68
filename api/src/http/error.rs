//! Errors of requests, and their format in responses.
//!
//! A handler returns an [`ApiError`]. Its response carries the error itself, without a body.
//! [`render`] writes the body in the outermost layer, which knows the path and the correlation id.
//! It also logs internal errors.

use axum::Json;
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::vocabulary::Role;
use platform::telemetry::chain;
use sea_orm::DbErr;
use serde::Serialize;
use serde_json::{Value, json};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the request is invalid")]
    Invalid(Vec<Problem>),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    NotFound(String),
    /// Not now: the state that the thing is in forbids it.
    #[error("{0}")]
    NotYet(String),
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("{0}")]
    Forbidden(&'static str),
    #[error(
        "This request needs the role \"{needed}\"{}. The caller has the role \"{role}\"",
        if *needed == Role::Admin { "" } else { " or higher" }
    )]
    MissingRole { needed: Role, role: Role },
    /// Too many requests or failed attempts. The client may retry after this time.
    #[error("Too many requests")]
    TooMany(Duration),
    #[error(
        "The organisation has {0} open tasks, which is the maximum. Wait for one to \
         end, or cancel one"
    )]
    TooManyTasks(u64),
    #[error("The caller has {0} open event streams, which is the maximum. Close one")]
    TooManyStreams(usize),
    /// The sign-on service provides no keys.
    #[error("The sign-on service does not respond. Try again")]
    NoKeys,
    #[error("Not Found")]
    NoSuchRoute,
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    #[error("Invalid host header")]
    WrongHost,
    #[error("The body is too large")]
    TooLarge,
    /// Of a file, only a part that is not there.
    #[error("The range cannot be satisfied")]
    NoSuchRange(u64),
    #[error("The body must be sent as application/json")]
    NotJson,
    #[error("The request took too long")]
    TooSlow,
    #[error("The service is temporarily unavailable. Try again")]
    Unavailable {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Ours. The cause goes to the log, never to the client.
    #[error("Internal server error")]
    Internal {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("Internal server error")]
    Panicked(String),
}

impl ApiError {
    /// The task does not exist or is not accessible. Both have the same message.
    pub(crate) fn no_task() -> Self {
        Self::NotFound("Task not found".to_owned())
    }

    /// The task has no run of that agent.
    pub(crate) fn no_run(agent: &str) -> Self {
        Self::NotFound(format!("Agent run for {agent} not found"))
    }

    /// The judging does not exist.
    pub(crate) fn no_judging(number: &str) -> Self {
        Self::NotFound(format!("Judging {number} not found"))
    }

    /// Converts an error of a library into an internal error.
    pub(crate) fn internal<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        move |source| Self::Internal {
            doing,
            source: Box::new(source),
        }
    }

    /// Makes an error out of one of the database; a database that cannot be reached is no fault of
    /// ours and worth another try.
    pub(crate) fn database(doing: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |error| {
            let unreachable = matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_));
            let source = Box::new(error);
            if unreachable {
                Self::Unavailable { doing, source }
            } else {
                Self::Internal { doing, source }
            }
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Refused(_) | Self::WrongHost => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::MissingRole { .. } => StatusCode::FORBIDDEN,
            Self::TooMany(_) | Self::TooManyTasks(_) | Self::TooManyStreams(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoSuchRange(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::NotFound(_) | Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::NotYet(_) => StatusCode::CONFLICT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow | Self::NoKeys | Self::Unavailable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal { .. } | Self::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Logs the details that the client does not receive.
    fn log(&self) {
        match self {
            Self::Internal { doing, source } => {
                tracing::error!(error = chain(source.as_ref()), "failed while {doing}");
            }
            Self::Unavailable { doing, source } => {
                tracing::warn!(
                    error = chain(source.as_ref()),
                    "database unavailable while {doing}"
                );
            }
            Self::Panicked(message) => tracing::error!(error = message, "request handler panicked"),
            Self::TooSlow => tracing::warn!("request timed out"),
            Self::Invalid(_)
            | Self::Refused(_)
            | Self::NotFound(_)
            | Self::NotYet(_)
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::MissingRole { .. }
            | Self::TooMany(_)
            | Self::TooManyTasks(_)
            | Self::TooManyStreams(_)
            | Self::NoKeys
            | Self::NoSuchRange(_)
            | Self::NoSuchRoute
            | Self::MethodNotAllowed
            | Self::WrongHost
            | Self::TooLarge
            | Self::NotJson => {}
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Writes the body of an error response.
pub(crate) fn render(mut response: Response, path: &str, correlation_id: &str) -> Response {
    let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() else {
        return response;
    };
    error.log();
    let status = response.status();
    let title = status.canonical_reason().unwrap_or("Error");
    let message = error.to_string();
    let (detail, error_text) = match error.as_ref() {
        ApiError::Invalid(problems) => (json!(problems), title.to_owned()),
        ApiError::Refused(_)
        | ApiError::NotFound(_)
        | ApiError::NotYet(_)
        | ApiError::Unauthorized(_)
        | ApiError::Forbidden(_)
        | ApiError::MissingRole { .. }
        | ApiError::TooMany(_)
        | ApiError::TooManyTasks(_)
        | ApiError::TooManyStreams(_)
        | ApiError::NoKeys
        | ApiError::NoSuchRange(_)
        | ApiError::NoSuchRoute
        | ApiError::MethodNotAllowed
        | ApiError::WrongHost
        | ApiError::TooLarge
        | ApiError::NotJson
        | ApiError::TooSlow
        | ApiError::Unavailable { .. }
        | ApiError::Internal { .. }
        | ApiError::Panicked(_) => (json!(message), message),
    };
    let body = ErrorBody {
        error: error_text,
        status_code: status.as_u16(),
        path: path.to_owned(),
        kind: "about:blank",
        title,
        status: status.as_u16(),
        detail,
        correlation_id: correlation_id.to_owned(),
    };
    let mut rendered = (status, Json(body)).into_response();
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    let header = match error.as_ref() {
        ApiError::TooMany(wait) => {
            // Whole seconds, and rather too many than too few.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Some((RETRY_AFTER, seconds.max(1).to_string()))
        }
        ApiError::TooManyTasks(_) => Some((RETRY_AFTER, "60".to_owned())),
        ApiError::Unauthorized(_) => Some((WWW_AUTHENTICATE, "Bearer".to_owned())),
        ApiError::NoSuchRange(size) => Some((CONTENT_RANGE, format!("bytes */{size}"))),
        ApiError::TooManyStreams(_)
        | ApiError::TooSlow
        | ApiError::NoKeys
        | ApiError::Unavailable { .. } => Some((RETRY_AFTER, "5".to_owned())),
        ApiError::Invalid(_)
        | ApiError::Refused(_)
        | ApiError::NotFound(_)
        | ApiError::NotYet(_)
        | ApiError::Forbidden(_)
        | ApiError::MissingRole { .. }
        | ApiError::NoSuchRoute
        | ApiError::MethodNotAllowed
        | ApiError::WrongHost
        | ApiError::TooLarge
        | ApiError::NotJson
        | ApiError::Internal { .. }
        | ApiError::Panicked(_) => None,
    };
    if let Some((name, value)) = header
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        rendered.headers_mut().insert(name, value);
    }
    rendered
}

/// Body of an error: the fields of the first service, and those of RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "error": "Task not found", "status_code": 404,
    "path": "/api/v1/tasks/00000000-0000-4000-8000-00000000dead", "type": "about:blank",
    "title": "Not Found", "status": 404, "detail": "Task not found",
    "correlation_id": "5c2f1b9e-3d4a-4b8e-9c57-0d6c5f6c1a11"}))]
pub(crate) struct ErrorBody {
    /// Problem, for people.
    error: String,
    status_code: u16,
    /// Path of the request.
    path: String,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    #[schema(value_type = String)]
    title: &'static str,
    status: u16,
    /// The same as `error`; where the request is not valid (422), the list of problems.
    #[schema(value_type = Value)]
    detail: Value,
    /// Correlation id in the log.
    correlation_id: String,
}

/// Body of an invalid request: all its problems.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `render` writes")]
pub(crate) struct InvalidBody {
    error: String,
    status_code: u16,
    /// Path of the request.
    path: String,
    #[schema(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: Vec<Problem>,
    /// Correlation id in the log.
    correlation_id: String,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Identifier for programs, such as `enum` or `int_parsing`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Where: `body`, `query`, `path` or `header`, then field names and list positions.
    #[schema(value_type = Vec<Value>)]
    pub(crate) loc: Vec<Value>,
    /// Problem, for people.
    pub(crate) msg: String,
    /// The invalid value.
    #[schema(value_type = Value)]
    pub(crate) input: Value,
    /// The limits that were crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) ctx: Option<Value>,
}

impl Problem {
    /// A problem without limits to name.
    pub(crate) fn new(
        kind: &'static str,
        loc: Vec<Value>,
        msg: impl Into<String>,
        input: Value,
    ) -> Self {
        Self {
            kind,
            loc,
            msg: msg.into(),
            input,
            ctx: None,
        }
    }

    /// Returns a problem with a word outside a vocabulary.
    pub(crate) fn not_one_of(loc: Vec<Value>, known: &[&str], input: Value) -> Self {
        let expected = alternatives(known);
        Self {
            ctx: Some(json!({ "expected": expected })),
            ..Self::new("enum", loc, format!("Input should be {expected}"), input)
        }
    }
}

/// `'a', 'b' or 'c'`.
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        Some((last, _)) => last.clone(),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_listed_as_people_do() {
        assert_eq!(alternatives(&["a"]), "'a'");
        assert_eq!(alternatives(&["a", "b", "c"]), "'a', 'b' or 'c'");
    }
}
