//! HTTP server of the stub.

use std::sync::Arc;

use agents::control::key::AnswerKey;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::{Router, body};
use serde_json::{Value, json};

use super::answer::{Answer, Billed};
use super::configuration::KeySource;
use super::conversation::Conversation;
use super::faults::{self, Fault};
use super::protocol::Protocol;
use super::recorded::Recorded;
use super::rules::{self, Purpose, Reply};
use super::state::State;
use super::{anthropic, chat, gemini, responses};

/// Maximum size of a request, in bytes.
const MAX_REQUEST_BYTES: usize = 64 << 20;
/// Estimated characters per token.
const CHARS_PER_TOKEN: u64 = 4;

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .fallback(handle)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(state)
}

/// Meaning of a path.
struct Route {
    protocol: Protocol,
    count: bool,
    /// Gemini states the model and the stream in the path.
    model: Option<String>,
    stream: bool,
}

fn route(path: &str) -> Option<Route> {
    let plain = |protocol, count| {
        Some(Route {
            protocol,
            count,
            model: None,
            stream: false,
        })
    };
    if path.ends_with("/messages") {
        return plain(Protocol::Anthropic, false);
    }
    if path.ends_with("/messages/count_tokens") {
        return plain(Protocol::Anthropic, true);
    }
    if path.ends_with("/chat/completions") {
        return plain(Protocol::OpenAiChat, false);
    }
    if path.ends_with("/responses") {
        return plain(Protocol::OpenAiResponses, false);
    }
    let (model, verb) = path.split_once("/models/")?.1.split_once(':')?;
    let (count, stream) = match verb {
        "generateContent" => (false, false),
        "streamGenerateContent" => (false, true),
        "countTokens" => (true, false),
        _ => return None,
    };
    Some(Route {
        protocol: Protocol::Gemini,
        count,
        model: Some(model.to_owned()),
        stream,
    })
}

async fn handle(Shared(state): Shared<Arc<State>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let route = if parts.method == Method::POST {
        route(&path)
    } else {
        None
    };
    let Ok(bytes) = body::to_bytes(body, MAX_REQUEST_BYTES).await else {
        return faults::error(Protocol::Anthropic, StatusCode::PAYLOAD_TOO_LARGE, None);
    };
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let Some(route) = route else {
        return answer_other(&state, &parts.method, path, body);
    };
    let conversation = match route.protocol {
        Protocol::Anthropic => anthropic::parse(&body),
        Protocol::Gemini => gemini::parse(&body, route.model.clone(), route.stream),
        Protocol::OpenAiChat => chat::parse(&body),
        Protocol::OpenAiResponses => responses::parse(&body),
    };
    let purpose = if route.count {
        Purpose::Count
    } else {
        rules::purpose(&conversation)
    };
    let number = record(&state, &route, &path, &conversation, purpose, body);
    if !has_valid_key(&state, &parts.headers, &parts.uri) {
        return fail_request(
            &state,
            number,
            route.protocol,
            StatusCode::UNAUTHORIZED,
            None,
        );
    }
    if route.count {
        return count_response(&state, number, route.protocol, tokens(&conversation));
    }
    answer(&state, number, route.protocol, &conversation, purpose).await
}

/// Answers a request that is not for a model, so that programs continue.
fn answer_other(state: &State, method: &Method, path: String, body: Value) -> Response {
    let (status, answer) = if *method == Method::HEAD || path == "/" {
        (StatusCode::OK, String::new())
    } else if path.ends_with("/models") {
        (
            StatusCode::OK,
            json!({"object": "list", "data": [], "models": []}).to_string(),
        )
    } else {
        (
            StatusCode::NOT_FOUND,
            json!({"error": {"message": "There is nothing here.", "code": 404}}).to_string(),
        )
    };
    let mut recorded = state.recorded();
    let number = recorded.len() as u64 + 1;
    recorded.push(Recorded {
        number,
        protocol: None,
        purpose: Purpose::Other,
        path,
        model: None,
        stream: false,
        system: String::new(),
        messages: Vec::new(),
        tools: Vec::new(),
        status: status.as_u16(),
        answer: String::new(),
        input_tokens: 0,
        body,
    });
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    faults::built(response.body(Body::from(answer)))
}

fn record(
    state: &State,
    route: &Route,
    path: &str,
    conversation: &Conversation,
    purpose: Purpose,
    body: Value,
) -> u64 {
    let mut recorded = state.recorded();
    let number = recorded.len() as u64 + 1;
    recorded.push(Recorded {
        number,
        protocol: Some(route.protocol),
        purpose,
        path: path.to_owned(),
        model: conversation.model.clone(),
        stream: conversation.stream,
        system: conversation.system.clone(),
        messages: conversation.messages(),
        tools: conversation
            .tools
            .iter()
            .map(|tool| tool.name.clone())
            .collect(),
        // Until it is answered. A hanging request has no status.
        status: 0,
        answer: String::new(),
        input_tokens: tokens(conversation),
        body,
    });
    number
}

fn set_answer(state: &State, number: u64, status: StatusCode, answer: String) {
    let mut recorded = state.recorded();
    if let Some(request) = recorded.iter_mut().find(|request| request.number == number) {
        request.status = status.as_u16();
        request.answer = answer;
    }
}

fn fail_request(
    state: &State,
    number: u64,
    protocol: Protocol,
    status: StatusCode,
    retry_after: Option<u64>,
) -> Response {
    set_answer(state, number, status, String::new());
    faults::error(protocol, status, retry_after)
}

/// Returns whether the key is valid. Every provider expects it in a different place.
fn has_valid_key(state: &State, headers: &HeaderMap, uri: &Uri) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let in_query = uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("key="));
    [
        header("x-api-key"),
        header("x-goog-api-key"),
        bearer,
        in_query,
    ]
    .into_iter()
    .flatten()
    .any(|key| key == state.key)
}

fn count_response(state: &State, number: u64, protocol: Protocol, tokens: u64) -> Response {
    set_answer(state, number, StatusCode::OK, tokens.to_string());
    faults::whole(&match protocol {
        Protocol::Gemini => json!({"totalTokens": tokens}),
        Protocol::Anthropic | Protocol::OpenAiChat | Protocol::OpenAiResponses => {
            json!({"input_tokens": tokens})
        }
    })
}

fn tokens(conversation: &Conversation) -> u64 {
    let text: usize = conversation
        .texts_without(None)
        .map(|text| text.chars().count())
        .sum();
    let tools: usize = conversation
        .tools
        .iter()
        .map(|tool| tool.name.len() + tool.schema.to_string().len())
        .sum();
    ((text + tools) as u64).div_ceil(CHARS_PER_TOKEN)
}

/// Returns the fault of this request, if any.
fn next_fault(state: &State, purpose: Purpose) -> Option<Fault> {
    let mut faults = state.faults();
    let (fault, remaining) = faults.as_mut()?;
    let only_compaction = matches!(fault, Fault::OnlyCompaction(_) | Fault::EmptySummary);
    if only_compaction && purpose != Purpose::Compaction {
        return None;
    }
    let fault = if let Fault::OnlyCompaction(inner) = fault {
        inner.as_ref().clone()
    } else {
        fault.clone()
    };
    *remaining = remaining.checked_sub(1)?;
    if *remaining == 0 {
        *faults = None;
    }
    Some(fault)
}

async fn key(state: &State) -> AnswerKey {
    match &state.rules.key {
        KeySource::Fixed(key) => key.clone(),
        KeySource::Provider(provider) => provider().await.unwrap_or_default(),
    }
}

async fn answer(
    state: &State,
    number: u64,
    protocol: Protocol,
    conversation: &Conversation,
    purpose: Purpose,
) -> Response {
    let fail = |status, retry_after| fail_request(state, number, protocol, status, retry_after);
    let mut truncated = false;
    let mut empty = false;
    match next_fault(state, purpose) {
        None | Some(Fault::OnlyCompaction(_)) => {}
        Some(Fault::RateLimit { retry_after }) => {
            return fail(StatusCode::TOO_MANY_REQUESTS, retry_after);
        }
        Some(Fault::Overloaded) => {
            let overloaded = StatusCode::from_u16(529).ok();
            return fail(
                overloaded
                    .filter(|_| protocol == Protocol::Anthropic)
                    .unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                None,
            );
        }
        Some(Fault::ServerError) => return fail(StatusCode::INTERNAL_SERVER_ERROR, None),
        Some(Fault::Unauthorized) => return fail(StatusCode::UNAUTHORIZED, None),
        Some(Fault::BadRequest) => return fail(StatusCode::BAD_REQUEST, None),
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Garbage) => {
            set_answer(state, number, StatusCode::OK, "garbage".to_owned());
            return faults::garbage(conversation.stream);
        }
        Some(Fault::Truncate) => truncated = true,
        Some(Fault::Delay(wait)) => tokio::time::sleep(wait).await,
        Some(Fault::EmptySummary) => empty = true,
    }
    let reply = if empty {
        Reply::default()
    } else {
        rules::answer(conversation, purpose, &key(state).await, state.rules.keep)
    };
    let mut text = reply.text.clone();
    for call in &reply.calls {
        text.push_str(&format!("[{} {}]", call.name, call.args));
    }
    let billed = Billed {
        number,
        input: tokens(conversation),
        output: (text.chars().count() as u64)
            .div_ceil(CHARS_PER_TOKEN)
            .max(1),
    };
    set_answer(state, number, StatusCode::OK, text);
    let answer = match protocol {
        Protocol::Anthropic => anthropic::write(conversation, &reply, billed),
        Protocol::Gemini => gemini::write(conversation, &reply, billed),
        Protocol::OpenAiChat => chat::write(conversation, &reply, billed),
        Protocol::OpenAiResponses => responses::write(conversation, &reply, billed),
    };
    match answer {
        Answer::Whole(body) if truncated => faults::half(&body),
        Answer::Whole(body) => faults::whole(&body),
        Answer::Events(events) => faults::events(events, truncated),
        Answer::Chunks(chunks) => chunked(&chunks, truncated),
    }
}

/// Returns a stream of chat completions, which ends with a line that is not JSON.
fn chunked(chunks: &[Value], truncated: bool) -> Response {
    let mut pieces: Vec<Result<Bytes, std::io::Error>> = chunks
        .iter()
        .map(|chunk| Ok(Bytes::from(format!("data: {chunk}\n\n"))))
        .collect();
    if truncated {
        pieces.truncate(chunks.len() / 2);
        pieces.push(Err(std::io::Error::other("connection closed")));
    } else {
        pieces.push(Ok(Bytes::from("data: [DONE]\n\n")));
    }
    let response = Response::builder().header("content-type", "text/event-stream");
    faults::built(response.body(Body::from_stream(futures::stream::iter(pieces))))
}
