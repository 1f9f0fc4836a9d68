//! The program's own compact command: it is not in `codex exec`, but in the protocol that editors
//! speak with it, JSON-RPC by lines.

use serde_json::{Value, json};

use super::CodexSession;
use super::launch::Size;
use super::stream::{Fault, fault};
use super::turn::crashed;
use crate::failure::Failure;
use crate::gathering::Gathering;
use crate::process::Peer;

impl CodexSession {
    /// Has the program compact the conversation. Whether it did, the rollout tells.
    pub(super) async fn command(&mut self) -> Result<Gathering, Fault> {
        let mut gathering = Gathering::default();
        let Some(id) = self.id.clone() else {
            gathering.error("there is nothing to compact yet");
            return Ok(gathering);
        };
        let folder = self.prepare(Size::Never).await?;
        let mut peer = Peer::start(&self.server(folder), &self.spec).await?;
        peer.begin_turn();
        let compacted = compacted(&mut peer, &id, &self.model, &mut gathering).await;
        // A program that is stopped while it writes its rollout would lose the compaction.
        match compacted {
            Ok(()) => peer.finish().await?,
            Err(fault) => {
                peer.end().await;
                return Err(fault);
            }
        }
        Ok(gathering)
    }
}

async fn compacted(
    peer: &mut Peer,
    id: &str,
    model: &str,
    gathering: &mut Gathering,
) -> Result<(), Fault> {
    let own = json!({"clientInfo": {"name": "membreak", "version": env!("CARGO_PKG_VERSION")}});
    call(peer, "initialize", &own).await?;
    let initialized = json!({"method": "initialized"});
    peer.write_line(initialized.to_string().as_bytes()).await?;
    let thread = json!({"threadId": id, "model": model, "excludeTurns": true});
    call(peer, "thread/resume", &thread).await?;
    call(peer, "thread/compact/start", &json!({"threadId": id})).await?;
    loop {
        let message = next(peer).await?;
        let about = &message["params"];
        match message["method"].as_str() {
            Some("turn/completed") if about["turn"]["status"] == "completed" => return Ok(()),
            Some("turn/completed") => {
                let said = about["turn"]["error"]["message"].as_str();
                return Err(fault(said.unwrap_or("no reason given")));
            }
            Some("error") => {
                let said = about["error"]["message"].as_str().unwrap_or_default();
                gathering.error(said);
                peer.hand_on(gathering.take_events()).await?;
            }
            _ => {}
        }
    }
}

/// Calls a method, and waits for its answer. Only one call is made at a time, named after itself.
async fn call(peer: &mut Peer, method: &str, params: &Value) -> Result<(), Fault> {
    let call = json!({"id": method, "method": method, "params": params});
    peer.write_line(call.to_string().as_bytes()).await?;
    loop {
        let message = next(peer).await?;
        if message["id"] != method || message.get("method").is_some() {
            continue;
        }
        let Some(error) = message.get("error") else {
            return Ok(());
        };
        let said = error["message"].as_str().unwrap_or("no reason given");
        return Err(crashed(&format!("Codex refuses {method}: {said}")).into());
    }
}

/// The next message; a line that is none is passed over.
async fn next(peer: &mut Peer) -> Result<Value, Failure> {
    while let Some(line) = peer.next().await? {
        if let Ok(message) = serde_json::from_slice(&line.bytes) {
            return Ok(message);
        }
    }
    let last_words = peer.last_words();
    Err(crashed(&format!(
        "Codex ended in the middle of a compaction: {last_words}"
    )))
}
