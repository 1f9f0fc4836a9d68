//! A conversation with iFlow.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::compaction;
use super::socket::{self, Socket};
use crate::adapter::{Access, AgentSession, Checkpoint, SessionSpec, Turn};
use crate::adapters::acp::updates::Updates;
use crate::adapters::acp::wire::{Rpc, check_stop_reason, classify};
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::cli_adapter::{NO_TOOL, api_error, files};
use crate::adapters::home_archive::HomeArchive;
use crate::adapters::prompt_text::OPENING;
use crate::event::{CompactionTrigger, Reinjected};
use crate::failure::Failure;
use crate::process::Launch;

/// Name of the agent in messages.
const AGENT: &str = "iFlow";
/// The read-only tools.
const TOOLS: [&str; 4] = ["read_file", "list_directory", "glob", "search_file_content"];
/// Number of messages that a compaction keeps word for word.
const KEPT_MESSAGES: usize = 10;
/// Folder of the program's sessions, in HOME.
const SESSIONS: &str = ".iflow/projects";

/// State from which a session can be continued.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    packed: HomeArchive,
    said: VecDeque<String>,
}

/// A conversation with iFlow.
pub(super) struct IflowSession {
    cli: CliSession,
    session: String,
    cwd: PathBuf,
    /// The last messages, as a compaction keeps them.
    last_messages: VecDeque<String>,
    /// `None` once the program has been stopped.
    rpc: Option<Rpc>,
}

impl IflowSession {
    /// Starts the program, and begins a session or continues from a checkpoint.
    pub(super) async fn begin(
        cli: CliSession,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, Failure> {
        let state = match checkpoint {
            None => None,
            Some(checkpoint) => Some(
                serde_json::from_slice(&checkpoint.state)
                    .map_err(|error| Failure::harness(format!("invalid checkpoint: {error}")))?,
            ),
        };
        Self::continue_from(cli, state).await
    }

    async fn continue_from(mut cli: CliSession, state: Option<State>) -> Result<Self, Failure> {
        let folder = cli.working_folder().await?;
        if let Some(state) = &state {
            state.packed.unpack(&cli.spec.home).await?;
        }
        write_settings(&cli.spec, &cli.model).await?;
        let port = socket::free_port().await?;
        cli.spec.sandbox = cli.spec.sandbox.listening_on(port);
        let launch = launch(&cli, folder.clone(), port);
        let socket = Socket::open(&launch, &cli.spec, port).await?;
        let mut rpc = Rpc::new(Box::new(socket), AGENT, cli.spec.access);
        authenticate(&mut rpc, &cli).await?;
        let tools: Vec<&str> = if cli.is_sealed() {
            vec![NO_TOOL]
        } else {
            TOOLS.to_vec()
        };
        let settings = json!({"permission_mode": "default", "allowed_tools": tools});
        let (session, cwd, last_messages) = match state {
            Some(State { packed, said }) => {
                let request = json!({
                    "sessionId": packed.session, "cwd": packed.cwd, "mcpServers": [],
                    "settings": settings,
                });
                rpc.call("session/load", &request, |_| Vec::new()).await?;
                (packed.session, packed.cwd, said)
            }
            None => {
                let request = json!({"cwd": folder, "mcpServers": [], "settings": settings});
                let session = rpc.new_session(&request).await?;
                (session, folder, VecDeque::new())
            }
        };
        Ok(Self {
            cli,
            session,
            cwd,
            last_messages,
            rpc: Some(rpc),
        })
    }

    async fn turn(&mut self, prompt: &str) -> Result<Turn, Failure> {
        let started = Instant::now();
        let Some(rpc) = &mut self.rpc else {
            return Err(Failure::harness("the session of iFlow is closed"));
        };
        let mut updates = Updates::default();
        let request = json!({
            "sessionId": self.session,
            "prompt": [{"type": "text", "text": prompt}],
        });
        let response = rpc
            .call("session/prompt", &request, |update| updates.apply(update))
            .await;
        let mut turn = updates.finish();
        let answer = turn.turn().text.clone();
        let end = response.and_then(|response| check_end(&response, &answer));
        if let Err(failure) = end {
            // Anything that the program still prints belongs to no turn.
            if let Some(rpc) = self.rpc.take() {
                rpc.terminate().await;
            }
            return Err(failure);
        }
        if let Some(mut compaction) = compaction::reported(&answer) {
            let messages: Vec<String> = self.last_messages.iter().cloned().collect();
            compaction.reinjected = Reinjected::tail(&messages).into_iter().collect();
            turn.compacted(compaction);
        }
        self.last_messages.extend([prompt.to_owned(), answer]);
        while self.last_messages.len() > KEPT_MESSAGES {
            self.last_messages.pop_front();
        }
        self.cli.send_events(&mut turn).await?;
        Ok(turn.finish(started.elapsed()))
    }

    async fn state(&self) -> Result<State, Failure> {
        let (session, cwd) = (self.session.clone(), self.cwd.clone());
        Ok(State {
            packed: HomeArchive::pack(&self.cli.spec.home, SESSIONS, session, cwd).await?,
            said: self.last_messages.clone(),
        })
    }
}

/// Authenticates with the key of the session, at iFlow or at another address.
async fn authenticate(rpc: &mut Rpc, cli: &CliSession) -> Result<(), Failure> {
    let client = json!({
        "protocolVersion": 1,
        "clientCapabilities": {"fs": {"readTextFile": false, "writeTextFile": false}},
    });
    rpc.call("initialize", &client, |_| Vec::new()).await?;
    let variable = |name: &str| cli.spec.environment.get(name).cloned();
    let base_url = variable("IFLOW_BASE_URL");
    let method = if base_url.is_some() {
        "openai-compatible"
    } else {
        "iflow"
    };
    let credentials = json!({
        "methodId": method,
        "methodInfo": {
            "apiKey": variable("IFLOW_API_KEY"),
            "baseUrl": base_url,
            "modelName": cli.model,
        },
    });
    rpc.call("authenticate", &credentials, |_| Vec::new())
        .await?;
    Ok(())
}

/// Checks how a turn ended. The program prints errors of the provider in place of an answer.
pub(super) fn check_end(response: &Value, answer: &str) -> Result<(), Failure> {
    if let Some(error) = api_error(answer) {
        return Err(Failure::new(classify(error), format!("{AGENT}: {error}")));
    }
    check_stop_reason(AGENT, response["stopReason"].as_str())
}

/// Writes the program's settings. They do not contain the key.
async fn write_settings(spec: &SessionSpec, model: &str) -> Result<(), Failure> {
    let (window, share) = match (spec.compact_at(), spec.context_tokens) {
        (Some(size), Some(window)) => (window, size as f64 / window.max(1) as f64),
        _ => (100_000_000, 1.0),
    };
    let settings = json!({
        "modelName": model,
        "tokensLimit": window,
        "compressionTokenThreshold": share,
        "lightCompressionTokenThreshold": share,
        "disableAutoUpdate": true,
        "disableTelemetry": true,
    });
    let path = spec.home.join(".iflow").join("settings.json");
    files::write(&path, settings.to_string().as_bytes()).await
}

fn launch(cli: &CliSession, folder: PathBuf, port: u16) -> Launch {
    let args = vec![
        "--experimental-acp".into(),
        "--port".into(),
        port.to_string().into(),
    ];
    cli.launch(args, folder, cli.environment(), Vec::new())
}

#[async_trait]
impl AgentSession for IflowSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        // A slash at the beginning is a command of the program.
        if text.trim_start().starts_with('/') {
            return self.turn(&format!("{OPENING}{text}")).await;
        }
        self.turn(text).await
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        match trigger {
            CompactionTrigger::Manual => self.turn("/compress").await,
            CompactionTrigger::Auto => Err(Failure::harness(
                "iFlow cannot lower its compaction threshold for one turn",
            )),
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let state = self.state().await?;
        let fork = Self::continue_from(self.cli.fork(access), Some(state)).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        let state = serde_json::to_vec(&self.state().await?)
            .map_err(|error| Failure::harness(format!("could not write a checkpoint: {error}")))?;
        Ok(Checkpoint {
            session_id: self.session.clone(),
            state,
        })
    }

    async fn close(mut self: Box<Self>) {
        if let Some(rpc) = self.rpc.take() {
            rpc.terminate().await;
        }
        self.cli.remove_fork().await;
    }
}
