//! A judge on the loopback interface. It supports the APIs of three providers, and a test decides
//! on its answers.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use simulator::loopback_server::LoopbackServer;

/// Question to a judge.
#[derive(Clone, Debug)]
pub struct Question {
    /// Number of the request, from 0.
    pub number: usize,
    pub text: String,
    /// Id and statement of every fact.
    pub facts: Vec<(String, String)>,
    /// The whole request.
    pub body: Value,
}

/// Answer of a judge.
#[derive(Clone, Debug)]
pub enum Answer {
    /// For each fact in order: claimed, value right, abstained.
    Findings(Vec<(bool, bool, bool)>),
    /// A text instead of JSON.
    Text(String),
    /// A status, with `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// A status with a body.
    Page(u16, String),
}

/// One recorded request.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

type Responder = Box<dyn Fn(&Question) -> Answer + Send + Sync>;

struct Shared {
    respond: Responder,
    requests: Mutex<Vec<Recorded>>,
}

/// A running judge. It stops when the value is dropped.
pub struct JudgeStub {
    shared: Arc<Shared>,
    server: LoopbackServer,
}

impl JudgeStub {
    /// Starts a judge that answers with `respond`.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start(
        respond: impl Fn(&Question) -> Answer + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            respond: Box::new(respond),
            requests: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = LoopbackServer::start(0, router).await?;
        Ok(Self { shared, server })
    }

    /// Returns the base address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let number = {
        let mut requests = shared
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        requests.push(Recorded {
            path: uri.path().to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.as_str().to_owned(), value)
                })
                .collect(),
            body: body.clone(),
        });
        requests.len() - 1
    };
    let prompt = body
        .pointer("/messages/0/content")
        .or_else(|| body.pointer("/contents/0/parts/0/text"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let question = parse_question(number, prompt, body.clone());
    let (findings, text) = match (shared.respond)(&question) {
        Answer::Status(status, retry_after) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            let wait = retry_after.map(|seconds| [("retry-after", seconds.to_string())]);
            return match wait {
                Some(headers) => (status, headers).into_response(),
                None => status.into_response(),
            };
        }
        Answer::Page(status, page) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            return (status, page).into_response();
        }
        Answer::Text(text) => (Value::String(text.clone()), text),
        Answer::Findings(findings) => {
            let lines: Vec<Value> = question
                .facts
                .iter()
                .zip(findings)
                .map(|((id, _), (claimed, value_right, abstained))| {
                    json!({
                        "id": id, "claimed": claimed,
                        "value_right": value_right, "abstained": abstained,
                    })
                })
                .collect();
            let document = json!({ "findings": lines });
            let text = document.to_string();
            (document, text)
        }
    };
    let reply = match uri.path() {
        path if path.ends_with("/chat/completions") => json!({
            "choices": [{"message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }),
        path if path.ends_with("/v1/messages") => json!({
            "content": [{"type": "tool_use", "id": "t1", "name": "report", "input": findings}],
            "usage": {"input_tokens": 100, "output_tokens": 10},
        }),
        path if path.ends_with(":generateContent") => json!({
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}],
            "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 10},
        }),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(reply).into_response()
}

/// Parses the text between the fences, and the facts after it.
fn parse_question(number: usize, prompt: &str, body: Value) -> Question {
    let fence = prompt
        .split_once("say only `")
        .and_then(|(_, rest)| rest.split_once('`'))
        .map_or("", |(fence, _)| fence);
    let line = format!("\n{fence}\n");
    let (text, rest) = prompt
        .split_once(&line)
        .and_then(|(_, rest)| rest.split_once(&line))
        .unwrap_or(("", prompt));
    let facts = rest
        .lines()
        .filter_map(|line| {
            let (id, statement) = line.split_once(": ")?;
            let is_id = id.len() >= 3
                && id.starts_with('F')
                && id[1..].chars().all(|letter| letter.is_ascii_digit());
            is_id.then(|| (id.to_owned(), statement.to_owned()))
        })
        .collect();
    Question {
        number,
        text: text.to_owned(),
        facts,
        body,
    }
}
