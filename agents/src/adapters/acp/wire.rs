//! Requests and answers over a stream of JSON-RPC messages.
//!
//! The message types come from the official crate, the connection does not. Ours records every
//! line, enforces the limits of a turn, and ends the program's process group. iFlow uses the same
//! messages over a socket.

use agent_client_protocol::v1::schema::{
    RequestPermissionOutcome, RequestPermissionResponse, SelectedPermissionOutcome,
};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};

use crate::adapter::Access;
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};
use crate::process::InteractiveProcess;

/// Transport of messages.
#[async_trait]
pub(in crate::adapters) trait Wire: Send + Sync {
    /// Starts the limits of a turn.
    fn begin_turn(&mut self);
    async fn send(&mut self, message: &str) -> Result<(), Failure>;
    /// Returns the next message. Returns `None` once the program has exited.
    async fn receive(&mut self) -> Result<Option<Vec<u8>>, Failure>;
    async fn send_events(&mut self, events: Vec<AgentEvent>) -> Result<(), Failure>;
    /// Returns the end of the program's standard error.
    fn stderr_tail(&self) -> String;
    /// Stops the program and all processes that it started.
    async fn terminate(self: Box<Self>);
}

/// Transport over the lines of the standard streams.
pub(super) struct Stdio(pub(super) InteractiveProcess);

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

    async fn send_events(&mut self, events: Vec<AgentEvent>) -> Result<(), Failure> {
        self.0.send_events(events).await
    }

    fn stderr_tail(&self) -> String {
        self.0.stderr_tail()
    }

    async fn terminate(self: Box<Self>) {
        self.0.terminate().await;
    }
}

/// A connection on which we call methods and the program sends updates.
pub(in crate::adapters) struct Rpc {
    wire: Box<dyn Wire>,
    /// Name of the agent in messages.
    agent: String,
    access: Access,
    calls: u64,
}

impl Rpc {
    pub(in crate::adapters) fn new(wire: Box<dyn Wire>, agent: &str, access: Access) -> Self {
        Self {
            wire,
            agent: agent.to_owned(),
            access,
            calls: 0,
        }
    }

    /// Calls a method and reads up to its response. Updates that arrive meanwhile go to
    /// `on_update`, and its events are sent.
    pub(in crate::adapters) async fn call(
        &mut self,
        method: &str,
        params: &impl Serialize,
        mut on_update: impl FnMut(&Value) -> Vec<AgentEvent> + Send,
    ) -> Result<Value, Failure> {
        self.calls += 1;
        let id = self.calls;
        let params = serde_json::to_value(params).map_err(|error| {
            Failure::harness(format!("could not write a request of {method}: {error}"))
        })?;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.wire.begin_turn();
        self.wire.send(&request.to_string()).await?;
        loop {
            let Some(bytes) = self.wire.receive().await? else {
                return Err(Failure::new(
                    Cause::AgentCrashed,
                    format!(
                        "{} exited in the middle of {method}: {}",
                        self.agent,
                        self.wire.stderr_tail()
                    ),
                ));
            };
            // Programs also print lines that are not messages.
            let Ok(message) = serde_json::from_slice::<Value>(&bytes) else {
                continue;
            };
            match (message.get("id"), message.get("method")) {
                (Some(request_id), Some(Value::String(method))) => {
                    let response = self.respond(method, &message["params"]);
                    let response = match response {
                        Ok(result) => json!({"jsonrpc": "2.0", "id": request_id, "result": result}),
                        Err(error) => json!({"jsonrpc": "2.0", "id": request_id, "error": error}),
                    };
                    self.wire.send(&response.to_string()).await?;
                }
                (Some(answered), None) if *answered == json!(id) => {
                    return match message.get("error") {
                        Some(error) => Err(failure(&self.agent, method, error)),
                        None => Ok(message.get("result").cloned().unwrap_or_default()),
                    };
                }
                (None, Some(Value::String(method))) if method == "session/update" => {
                    let events = on_update(&message["params"]["update"]);
                    self.wire.send_events(events).await?;
                }
                _ => {}
            }
        }
    }

    /// Responds to a request of the program. Reading is allowed while the agent has access. Nothing
    /// else is ever allowed.
    fn respond(&self, method: &str, params: &Value) -> Result<Value, Value> {
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

    /// Begins a session and returns its id.
    pub(in crate::adapters) async fn new_session(
        &mut self,
        request: &impl Serialize,
    ) -> Result<String, Failure> {
        let response = self.call("session/new", request, |_| Vec::new()).await?;
        let session = response["sessionId"].as_str().ok_or_else(|| {
            Failure::new(
                Cause::AgentCrashed,
                format!("{} began a session without an id", self.agent),
            )
        })?;
        Ok(session.to_owned())
    }

    /// Stops the program and all processes that it started.
    pub(in crate::adapters) async fn terminate(self) {
        self.wire.terminate().await;
    }
}

/// Checks the reason for which a turn stopped.
pub(in crate::adapters) fn check_stop_reason(
    agent: &str,
    stop_reason: Option<&str>,
) -> Result<(), Failure> {
    match stop_reason {
        Some("end_turn") => Ok(()),
        Some("cancelled") => Err(Failure::cancelled()),
        Some(limit) => Err(Failure::new(
            Cause::OutOfBudget,
            format!("{agent} stopped its turn: {limit}"),
        )),
        None => Err(Failure::new(
            Cause::AgentCrashed,
            format!("{agent} ended its turn without a reason"),
        )),
    }
}

/// Returns the failure of a refused request. It is classified by the message, because the protocol
/// has no codes for providers' errors.
fn failure(agent: &str, method: &str, error: &Value) -> Failure {
    let mut message = error["message"].as_str().unwrap_or_default().to_owned();
    if let Some(data) = error.get("data") {
        let data = data
            .as_str()
            .map_or_else(|| data.to_string(), str::to_owned);
        message.push_str(if message.is_empty() { "" } else { ": " });
        message.push_str(&data);
    }
    // -32000 is the protocol's own "authentication required".
    let cause = if error["code"] == -32000 {
        Cause::Refused
    } else {
        classify(&message)
    };
    Failure::new(cause, format!("{agent}, {method}: {message}"))
}

/// Classifies an error message by its HTTP status, or by phrases that providers use.
pub(in crate::adapters) fn classify(message: &str) -> Cause {
    let lower = message.to_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    let status = message
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
