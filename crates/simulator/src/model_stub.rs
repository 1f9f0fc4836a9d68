//! A model that knows nothing: it answers from what stands in the request it gets.
//!
//! A real program is put between an answer key and this stub. A probe is answered rightly where the
//! probe's evidence stands, word for word, in the request; so what the program forgot is missing
//! from the answer, by the same rule by which the control agents answer from their bounded memory.
//!
//! It speaks Anthropic Messages, Gemini, `OpenAI` chat completions and `OpenAI` Responses, streaming
//! and not. It can fail in the ways providers do, and it keeps every request: it is for tests, and
//! its memory grows with them.
//!
//! Beyond probes it follows three directives, each on a line of its own in a prompt: `REPEAT: text`,
//! `RECALL: prefix` (every word with this prefix that stands in the request) and `READ: path` (uses
//! the program's reading tool and repeats the result).

mod conversation;
mod rules;
mod faults;
mod anthropic;
mod gemini;
mod chat;
mod responses;
mod server;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agents::adapter::{Endpoint, STUB_KEY};
use agents::control::key::AnswerKey;
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use conversation::{Message, Role};
pub use faults::Fault;
pub use rules::Purpose;

/// The protocols that the stub speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Anthropic,
    Gemini,
    OpenAiChat,
    OpenAiResponses,
}

/// What of the evidence a summary keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    Everything,
    Nothing,
    /// Each entry with this probability, drawn from the seed and the entry's label as the lossy
    /// control draws.
    Share {
        share: f64,
        seed: u64,
    },
}

/// Asked for the answer key at every request.
pub type KeyProvider = Arc<dyn Fn() -> BoxFuture<'static, Option<AnswerKey>> + Send + Sync>;

/// Where the answer key comes from.
#[derive(Clone)]
pub enum KeySource {
    Fixed(AnswerKey),
    /// A key that is made while the stub runs; none: not yet.
    Provider(KeyProvider),
}

/// How the stub answers.
#[derive(Clone)]
pub struct Rules {
    pub key: KeySource,
    pub keep: Keep,
}

impl Rules {
    /// Without probes.
    pub fn keeping(keep: Keep) -> Self {
        Self {
            key: KeySource::Fixed(AnswerKey::default()),
            keep,
        }
    }
}

/// One request, and what was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// From 1.
    pub number: u64,
    pub protocol: Option<Protocol>,
    pub purpose: Purpose,
    pub path: String,
    pub model: Option<String>,
    pub stream: bool,
    pub system: String,
    /// Results of tools included.
    pub messages: Vec<Message>,
    /// The names of the tools that were offered.
    pub tools: Vec<String>,
    pub status: u16,
    /// What was said; names of tools where it used some.
    pub answer: String,
    pub input_tokens: u64,
    /// As it was sent.
    pub body: Value,
}

impl Recorded {
    /// Whether a text stands anywhere in what was sent to the model.
    pub fn contains(&self, needle: &str) -> bool {
        self.system.contains(needle)
            || self
                .messages
                .iter()
                .any(|message| message.text.contains(needle))
    }

    /// All that was sent to the model as text, one piece after the other.
    pub fn says(&self) -> String {
        let mut says = self.system.clone();
        for message in &self.messages {
            says.push('\n');
            says.push_str(&message.text);
        }
        says
    }
}

/// What is billed for an answer.
#[derive(Clone, Copy, Debug)]
struct Billed {
    number: u64,
    input: u64,
    output: u64,
}

/// An answer in its protocol, before it is sent.
enum Answer {
    Whole(Value),
    /// Server-sent events, some with a name.
    Events(Vec<(Option<&'static str>, Value)>),
    /// Server-sent events with a last line `[DONE]`.
    Chunks(Vec<Value>),
}

/// What the server shares with its owner.
struct State {
    rules: Rules,
    key: String,
    recorded: Mutex<Vec<Recorded>>,
    faults: Mutex<Option<(Fault, usize)>>,
}

impl State {
    fn recorded(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Option<(Fault, usize)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running stub. It stops with the value.
pub struct ModelStub {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl ModelStub {
    /// Starts on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// No port can be had.
    pub async fn start(rules: Rules) -> std::io::Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into(), rules).await
    }

    /// Starts at an address.
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub async fn start_at(address: SocketAddr, rules: Rules) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            rules,
            key: format!("{STUB_KEY}{}", uuid::Uuid::new_v4().simple()),
            recorded: Mutex::default(),
            faults: Mutex::default(),
        });
        let router = server::router(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            // A listener that breaks is seen by whoever asks.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            state,
            serving,
        })
    }

    /// Such as `http://127.0.0.1:40001`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The only key that it takes.
    pub fn key(&self) -> &str {
        &self.state.key
    }

    /// Both, as adapters take them.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: self.url(),
            key: self.state.key.clone(),
        }
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.recorded().clone()
    }

    /// The requests to a model so far: turns and compactions.
    pub fn model_requests(&self) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| matches!(request.purpose, Purpose::Turn | Purpose::Compaction));
        requests
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.state.recorded().clear();
    }

    /// Lets the next `times` requests to the model fail.
    pub fn fail(&self, fault: Fault, times: usize) {
        *self.state.faults() = Some((fault, times));
    }

    /// Ends all faults.
    pub fn heal(&self) {
        *self.state.faults() = None;
    }

    /// Stops.
    pub fn stop(self) {}
}

impl Drop for ModelStub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
