//! The program's own compact command. It is not part of `codex exec`, but of the protocol that
//! editors use: JSON-RPC, one message per line.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::launch;
use super::stream::classify;
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::cli_adapter::turn_fault::TurnFault;
use crate::failure::{Cause, Failure};
use crate::process::InteractiveProcess;
use crate::turn_builder::TurnBuilder;

/// Requests a compaction of a conversation.
pub(super) async fn compact(
    session: &CliSession,
    thread: &str,
    folder: PathBuf,
) -> Result<TurnBuilder, TurnFault> {
    let mut turn = TurnBuilder::default();
    let launch = launch::server(session, folder);
    let mut process = InteractiveProcess::start(&launch, &session.spec).await?;
    process.begin_turn();
    let compacted = request_compaction(&mut process, thread, &session.model, &mut turn).await;
    // Stopping a program while it writes its rollout would lose the compaction.
    match compacted {
        Ok(()) => process.finish().await?,
        Err(fault) => {
            process.terminate().await;
            return Err(fault);
        }
    }
    Ok(turn)
}

async fn request_compaction(
    process: &mut InteractiveProcess,
    thread: &str,
    model: &str,
    turn: &mut TurnBuilder,
) -> Result<(), TurnFault> {
    let client = json!({"clientInfo": {"name": "membreak", "version": env!("CARGO_PKG_VERSION")}});
    call(process, "initialize", &client).await?;
    let initialized = json!({"method": "initialized"});
    process
        .write_line(initialized.to_string().as_bytes())
        .await?;
    let resumed = json!({"threadId": thread, "model": model, "excludeTurns": true});
    call(process, "thread/resume", &resumed).await?;
    call(
        process,
        "thread/compact/start",
        &json!({"threadId": thread}),
    )
    .await?;
    loop {
        let message = next(process).await?;
        let params = &message["params"];
        match message["method"].as_str() {
            Some("turn/completed") if params["turn"]["status"] == "completed" => return Ok(()),
            Some("turn/completed") => {
                let error = params["turn"]["error"]["message"].as_str();
                return Err(classify(error.unwrap_or("no reason given")));
            }
            Some("error") => {
                let error = params["error"]["message"].as_str().unwrap_or_default();
                turn.error(error);
                process.send_events(turn.drain_events()).await?;
            }
            _ => {}
        }
    }
}

/// Calls a method and waits for the answer. Only one call is open at a time, so its id is its name.
async fn call(
    process: &mut InteractiveProcess,
    method: &str,
    params: &Value,
) -> Result<(), TurnFault> {
    let call = json!({"id": method, "method": method, "params": params});
    process.write_line(call.to_string().as_bytes()).await?;
    loop {
        let message = next(process).await?;
        if message["id"] != method || message.get("method").is_some() {
            continue;
        }
        let Some(error) = message.get("error") else {
            return Ok(());
        };
        let reason = error["message"].as_str().unwrap_or("no reason given");
        return Err(crashed(&format!("Codex refused {method}: {reason}")).into());
    }
}

/// Reads the next message. Other lines are skipped.
async fn next(process: &mut InteractiveProcess) -> Result<Value, Failure> {
    while let Some(line) = process.next().await? {
        if let Ok(message) = serde_json::from_slice(&line.bytes) {
            return Ok(message);
        }
    }
    let stderr = process.stderr_tail();
    Err(crashed(&format!(
        "Codex exited in the middle of a compaction: {stderr}"
    )))
}

fn crashed(message: &str) -> Failure {
    Failure::new(Cause::AgentCrashed, message)
}
