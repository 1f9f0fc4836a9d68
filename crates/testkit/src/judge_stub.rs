//! A judge on the loopback interface: speaks the three providers' interfaces, and answers as a test
//! tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a judge is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Number of the request, from 0.
    pub number: usize,
    pub text: String,
    /// Id and statement of every fact.
    pub facts: Vec<(String, String)>,
    /// The whole request.
    pub body: Value,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Per fact in order: claimed, value right, abstained.
    Findings(Vec<(bool, bool, bool)>),
    /// This text instead of JSON.
    Text(String),
    /// This status, with `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// This status, with this body.
    Page(u16, String),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

type Character = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

struct Shared {
    character: Character,
    requests: Mutex<Vec<Recorded>>,
}

/// A running judge. Ends with the value.
pub struct JudgeStub {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl JudgeStub {
    /// Starts a judge of this character.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start(
        character: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            character: Box::new(character),
            requests: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It ends with the stub.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// Where it listens, as a base address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for JudgeStub {
    fn drop(&mut self) {
        self.server.abort();
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
    let asked = asked(number, prompt, body.clone());
    let (findings, text) = match (shared.character)(&asked) {
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
            let lines: Vec<Value> = asked
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

/// The text between the fences, and the facts after it.
fn asked(number: usize, prompt: &str, body: Value) -> Asked {
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
            let named = id.len() >= 3
                && id.starts_with('F')
                && id[1..].chars().all(|letter| letter.is_ascii_digit());
            named.then(|| (id.to_owned(), statement.to_owned()))
        })
        .collect();
    Asked {
        number,
        text: text.to_owned(),
        facts,
        body,
    }
}
