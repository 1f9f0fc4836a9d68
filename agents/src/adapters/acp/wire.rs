//! Requests and answers over a stream of JSON-RPC messages.
//!
//! The messages are those of the official crate; the connection is not. Ours carries every line to
//! the raw stream, holds the limits of a turn, and ends the program's process group, which the
//! crate's connection leaves to its user; and iFlow speaks the same messages over a socket.

use agent_client_protocol::v1::schema::{
    RequestPermissionOutcome, RequestPermissionResponse, SelectedPermissionOutcome,
};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};

use crate::adapter::Access;
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};
use crate::process::Peer;

/// Carries messages.
#[async_trait]
pub(in crate::adapters) trait Wire: Send + Sync {
    /// From here on the limits of a turn count.
    fn begin_turn(&mut self);
    async fn send(&mut self, message: &str) -> Result<(), Failure>;
    /// The next message; none once the program has ended.
    async fn receive(&mut self) -> Result<Option<Vec<u8>>, Failure>;
    async fn hand_on(&mut self, events: Vec<AgentEvent>) -> Result<(), Failure>;
    /// The end of what the program wrote to its standard error.
    fn last_words(&self) -> String;
    /// Ends the program and all that it started.
    async fn end(self: Box<Self>);
}

/// Messages as lines of the standard streams.
pub(super) struct Stdio(pub(super) Peer);

#[async_trait]
impl Wire for Stdio {
    fn begin_turn(&mut self) {
        self.0.begin_turn();
    }

    async fn send(&mut self, message: &str) -> Result<(), Failure> {
        self.0.write_line(message.as_bytes()).await
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.next().await?.map(|line| line.bytes))
    }

    async fn hand_on(&mut self, events: Vec<AgentEvent>) -> Result<(), Failure> {
        self.0.hand_on(events).await
    }

    fn last_words(&self) -> String {
        self.0.last_words()
    }

    async fn end(self: Box<Self>) {
        self.0.end().await;
    }
}

/// A connection on which we ask and the program tells.
pub(in crate::adapters) struct Rpc {
    wire: Box<dyn Wire>,
    /// For messages to people.
    agent: String,
    access: Access,
    asked: u64,
}

impl Rpc {
    pub(in crate::adapters) fn new(wire: Box<dyn Wire>, agent: &str, access: Access) -> Self {
        Self {
            wire,
            agent: agent.to_owned(),
            access,
            asked: 0,
        }
    }

    /// Asks, and reads until the answer. What the program tells meanwhile goes to `on_update`,
    /// whose events are handed on.
    pub(in crate::adapters) async fn call(
        &mut self,
        method: &str,
        params: &impl Serialize,
        mut on_update: impl FnMut(&Value) -> Vec<AgentEvent> + Send,
    ) -> Result<Value, Failure> {
        self.asked += 1;
        let id = self.asked;
        let params = serde_json::to_value(params)
            .map_err(|error| Failure::harness(format!("a request cannot be written: {error}")))?;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.wire.begin_turn();
        self.wire.send(&request.to_string()).await?;
        loop {
            let Some(bytes) = self.wire.receive().await? else {
                return Err(Failure::new(
                    Cause::AgentCrashed,
                    format!(
                        "{} ended in the middle of {method}: {}",
                        self.agent,
                        self.wire.last_words()
                    ),
                ));
            };
            // Programs also print what is no message.
            let Ok(message) = serde_json::from_slice::<Value>(&bytes) else {
                continue;
            };
            match (message.get("id"), message.get("method")) {
                (Some(asked), Some(Value::String(method))) => {
                    let answer = self.answer(method, &message["params"]);
                    let answer = match answer {
                        Ok(result) => json!({"jsonrpc": "2.0", "id": asked, "result": result}),
                        Err(error) => json!({"jsonrpc": "2.0", "id": asked, "error": error}),
                    };
                    self.wire.send(&answer.to_string()).await?;
                }
                (Some(answered), None) if *answered == json!(id) => {
                    return match message.get("error") {
                        Some(error) => Err(failure(&self.agent, method, error)),
                        None => Ok(message.get("result").cloned().unwrap_or_default()),
                    };
                }
                (None, Some(Value::String(method))) if method == "session/update" => {
                    let events = on_update(&message["params"]["update"]);
                    self.wire.hand_on(events).await?;
                }
                _ => {}
            }
        }
    }

    /// Answers what the program asks of its client: reading is allowed while it has access, and
    /// nothing else ever.
    fn answer(&self, method: &str, params: &Value) -> Result<Value, Value> {
        if method != "session/request_permission" {
            return Err(json!({"code": -32601, "message": "this client offers no such method"}));
        }
        let kind = params["toolCall"]["kind"].as_str();
        let reads = matches!(kind, Some("read" | "search" | "think"));
        let wanted = if reads && self.access == Access::Workspace {
            "allow_once"
        } else {
            "reject_once"
        };
        let option = params["options"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|option| option["kind"] == wanted)
            .and_then(|option| option["optionId"].as_str());
        let outcome = match option {
            Some(option) => RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(
                option.to_owned(),
            )),
            None => RequestPermissionOutcome::Cancelled,
        };
        serde_json::to_value(RequestPermissionResponse::new(outcome))
            .map_err(|error| json!({"code": -32603, "message": error.to_string()}))
    }

    pub(in crate::adapters) async fn end(self) {
        self.wire.end().await;
    }
}

/// Whose fault a refused request is, by what is said of it: there are no codes for providers'
/// errors.
fn failure(agent: &str, method: &str, error: &Value) -> Failure {
    let mut said = error["message"].as_str().unwrap_or_default().to_owned();
    if let Some(data) = error.get("data") {
        let data = data
            .as_str()
            .map_or_else(|| data.to_string(), str::to_owned);
        said.push_str(if said.is_empty() { "" } else { ": " });
        said.push_str(&data);
    }
    // -32000 is the protocol's own "authentication required".
    let cause = if error["code"] == -32000 {
        Cause::Refused
    } else {
        blamed(&said)
    };
    Failure::new(cause, format!("{agent}, {method}: {said}"))
}

/// Whose fault an error is, by an HTTP status or by words that providers use.
pub(in crate::adapters) fn blamed(said: &str) -> Cause {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let status = said
        .split(|c: char| !c.is_ascii_digit())
        .find_map(|digits| {
            let status = digits.parse::<u16>().ok()?;
            (digits.len() == 3 && (400..600).contains(&status)).then_some(status)
        });
    match status {
        Some(429) => Cause::RateLimited,
        Some(400 | 401 | 403 | 404) => Cause::Refused,
        Some(500..) => Cause::ProviderDown,
        _ if has(&["not valid json"]) => Cause::ProviderDown,
        _ if has(&["rate limit", "too many requests", "quota"]) => Cause::RateLimited,
        _ if has(&["api key", "unauthorized", "authentication", "not valid"]) => Cause::Refused,
        _ if has(&[
            "overloaded",
            "connection",
            "fetch failed",
            "network",
            "not valid json",
        ]) =>
        {
            Cause::ProviderDown
        }
        _ => Cause::AgentCrashed,
    }
}
