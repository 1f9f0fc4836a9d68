//! iFlow CLI, over the Agent Client Protocol on a `WebSocket` (`--experimental-acp --port`).
//!
//! Its npm package is gone from the registry, so this adapter is tested against a peer that obeys the
//! recorded exchange of version 0.5.19 (`simulator`, `iflow-peer`), and against a real program where
//! `IFLOW_BIN` names one. What the recording does not show, such as going on with a session by
//! `session/load` with settings, is as the peer does it.
//!
//! Two things to know of its compactions: the turn in which it announces one by itself still runs on
//! the whole old conversation, so that what is asked after the break is asked in the next turn; and
//! it keeps the last ten messages word for word. The adapter knows what was said and tells them as
//! put back.

pub mod plain;
mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::Setup;
use super::acp::updates::Updates;
use super::acp::wire::{Rpc, blamed};
use super::homes::{FORKS, Packed};
use crate::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Turn,
};
use crate::event::{Compaction, CompactionTrigger, Proof, Reinjected, ReinjectedKind};
use crate::failure::{Cause, Failure};
use crate::process::Launch;
use crate::program::{Found, Programs, presence};
use socket::Socket;

const NAME: &str = "iflow";
const DEFAULT_MODEL: &str = "Qwen3-Coder";
const INSTALL: &str = "its npm package is gone from the registry; set IFLOW_BIN to a program";
/// The read-only tools.
const TOOLS: [&str; 4] = ["read_file", "list_directory", "glob", "search_file_content"];
/// A tool that there is not: an empty list would mean all.
const NO_TOOL: &str = "none_such";
/// Messages that a compaction keeps word for word.
const KEPT: usize = 10;
/// Where it keeps its sessions, in HOME.
const SESSIONS: &str = ".iflow/projects";
const ENVIRONMENT: [&str; 7] = [
    "IFLOW_API_KEY",
    "IFLOW_BASE_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// What it says when it has compacted by itself.
static ANNOUNCED: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"_Context auto-compressed: (\d+) → (\d+) tokens"));

/// iFlow CLI.
pub(super) struct IflowAdapter {
    profile: Profile,
    programs: Programs,
    model: String,
    presence: OnceCell<Presence>,
}

/// The adapter, as it is set up.
pub(super) fn adapter(setup: &Setup) -> IflowAdapter {
    let model = setup.models.get(NAME).map(String::as_str);
    IflowAdapter::with_model(setup.programs.clone(), model.unwrap_or(DEFAULT_MODEL))
}

impl IflowAdapter {
    fn with_model(programs: Programs, model: &str) -> Self {
        Self {
            profile: Profile {
                name: NAME.to_owned(),
                display_name: "iFlow CLI".to_owned(),
                capabilities: Capabilities {
                    fork: true,
                    manual_compaction: true,
                    auto_compaction: true,
                    forced_compaction: false,
                    resume: true,
                    usage: false,
                    tools_off: true,
                },
                install_hint: INSTALL.to_owned(),
                control: false,
                environment: ENVIRONMENT.map(str::to_owned).to_vec(),
                default_model: Some(model.to_owned()),
            },
            programs,
            model: model.to_owned(),
            presence: OnceCell::new(),
        }
    }

    fn found(&self) -> Result<Found, String> {
        self.programs.find(NAME, "iflow")
    }

    async fn session(
        &self,
        spec: SessionSpec,
        going_on: Option<State>,
    ) -> Result<IflowSession, Failure> {
        let found = self
            .found()
            .map_err(|why| Failure::harness(format!("iFlow cannot be run: {why} ({INSTALL})")))?;
        IflowSession::begin(found, self.model.clone(), spec, going_on, false).await
    }
}

#[async_trait]
impl AgentAdapter for IflowAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        let model = super::model_of(agent)?;
        Ok(Arc::new(Self::with_model(self.programs.clone(), model)))
    }

    async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| presence(self.found(), INSTALL))
            .await
            .clone()
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        Some(BTreeMap::from([
            ("IFLOW_BASE_URL".to_owned(), format!("{}/v1", endpoint.url)),
            ("IFLOW_API_KEY".to_owned(), endpoint.key.clone()),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(Box::new(self.session(spec, None).await?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let state = serde_json::from_slice(&checkpoint.state)
            .map_err(|error| Failure::harness(format!("a checkpoint cannot be read: {error}")))?;
        Ok(Box::new(self.session(spec, Some(state)).await?))
    }
}

/// What a session goes on from.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    packed: Packed,
    said: VecDeque<String>,
}

/// A conversation with iFlow.
struct IflowSession {
    found: Found,
    model: String,
    spec: SessionSpec,
    session: String,
    cwd: PathBuf,
    /// The last messages, as a compaction keeps them.
    said: VecDeque<String>,
    rpc: Option<Rpc>,
    is_fork: bool,
    forks: AtomicU64,
}

impl IflowSession {
    async fn begin(
        found: Found,
        model: String,
        mut spec: SessionSpec,
        going_on: Option<State>,
        is_fork: bool,
    ) -> Result<Self, Failure> {
        let empty = spec.home.join("empty");
        tokio::fs::create_dir_all(&empty).await.map_err(|error| {
            Failure::harness(format!("{} cannot be made: {error}", empty.display()))
        })?;
        let folder = match (&spec.workspace, spec.access) {
            (Some(workspace), Access::Workspace) => workspace.clone(),
            (_, Access::Sealed) | (None, Access::Workspace) => empty,
        };
        if let Some(state) = &going_on {
            state.packed.unpack(&spec.home).await?;
        }
        write_settings(&spec, &model).await?;
        let port = socket::free_port().await?;
        spec.sandbox = spec.sandbox.listening_on(port);
        let launch = launch(&found, &spec, folder.clone(), port);
        let socket = Socket::open(&launch, &spec, port).await?;
        let mut rpc = Rpc::new(Box::new(socket), "iFlow", spec.access);
        let hello = json!({
            "protocolVersion": 1,
            "clientCapabilities": {"fs": {"readTextFile": false, "writeTextFile": false}},
        });
        rpc.call("initialize", &hello, |_| Vec::new()).await?;
        let variable = |name: &str| spec.environment.get(name).cloned();
        let base_url = variable("IFLOW_BASE_URL");
        let method = if base_url.is_some() {
            "openai-compatible"
        } else {
            "iflow"
        };
        let key = json!({
            "methodId": method,
            "methodInfo": {
                "apiKey": variable("IFLOW_API_KEY"),
                "baseUrl": base_url,
                "modelName": model,
            },
        });
        rpc.call("authenticate", &key, |_| Vec::new()).await?;
        let sealed = spec.access == Access::Sealed;
        let tools: Vec<&str> = if sealed {
            vec![NO_TOOL]
        } else {
            TOOLS.to_vec()
        };
        let settings = json!({"permission_mode": "default", "allowed_tools": tools});
        let (session, cwd, said) = match going_on {
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
                let begun = rpc.call("session/new", &request, |_| Vec::new()).await?;
                let session = begun["sessionId"].as_str().ok_or_else(|| {
                    Failure::new(Cause::AgentCrashed, "iFlow began a session without an id")
                })?;
                (session.to_owned(), folder, VecDeque::new())
            }
        };
        Ok(Self {
            found,
            model,
            spec,
            session,
            cwd,
            said,
            rpc: Some(rpc),
            is_fork,
            forks: AtomicU64::new(0),
        })
    }

    async fn turn(&mut self, prompt: &str) -> Result<Turn, Failure> {
        let begun = Instant::now();
        let Some(rpc) = &mut self.rpc else {
            return Err(Failure::harness("the session is closed"));
        };
        let mut updates = Updates::default();
        let request = json!({
            "sessionId": self.session,
            "prompt": [{"type": "text", "text": prompt}],
        });
        let answered = rpc
            .call("session/prompt", &request, |update| updates.take(update))
            .await;
        let mut gathering = updates.finish();
        let said = gathering.turn().text.clone();
        let ended = answered.and_then(|answer| ended(&answer, &said));
        if let Err(failure) = ended {
            // Whatever it still says belongs to no turn.
            if let Some(rpc) = self.rpc.take() {
                rpc.end().await;
            }
            return Err(failure);
        }
        if let Some(compaction) = compaction(&said) {
            let tail: Vec<String> = self.said.iter().cloned().collect();
            gathering.compacted(Compaction {
                reinjected: put_back(&tail),
                ..compaction
            });
        }
        for message in [prompt.to_owned(), said] {
            self.said.push_back(message);
        }
        while self.said.len() > KEPT {
            self.said.pop_front();
        }
        for event in gathering.take_events() {
            // Nobody listening is no reason to fail a turn.
            let _ = self.spec.events.send(event).await;
        }
        Ok(gathering.finish(begun.elapsed()))
    }

    async fn state(&self) -> Result<State, Failure> {
        let (session, cwd) = (self.session.clone(), self.cwd.clone());
        Ok(State {
            packed: Packed::of(&self.spec.home, SESSIONS, session, cwd).await?,
            said: self.said.clone(),
        })
    }
}

/// How a turn ended. Errors of the provider stand in the place of an answer.
fn ended(answer: &Value, said: &str) -> Result<(), Failure> {
    let error = said
        .trim()
        .strip_prefix("[API Error: ")
        .and_then(|said| said.strip_suffix(']'));
    if let Some(error) = error {
        return Err(Failure::new(blamed(error), format!("iFlow: {error}")));
    }
    match answer["stopReason"].as_str() {
        Some("end_turn") => Ok(()),
        Some("cancelled") => Err(Failure::cancelled()),
        Some(limit) => Err(Failure::new(
            Cause::OutOfBudget,
            format!("iFlow stopped its turn: {limit}"),
        )),
        None => Err(Failure::new(
            Cause::AgentCrashed,
            "iFlow ended its turn without a reason",
        )),
    }
}

/// The compaction that iFlow tells of in a turn, by itself or by command; none that it did not
/// apply.
fn compaction(said: &str) -> Option<Compaction> {
    let told = |trigger, before: Option<u64>, after: Option<u64>, summary: Option<String>| {
        let smaller = before
            .zip(after)
            .is_some_and(|(before, after)| after < before);
        smaller.then_some(Compaction {
            trigger,
            tokens_before: before,
            tokens_after: after,
            summary,
            proof: Proof::Reported,
            reinjected: Vec::new(),
        })
    };
    let by_command = said.find("{\"type\":\"compression\"").and_then(|at| {
        let mut values = serde_json::Deserializer::from_str(&said[at..]).into_iter::<Value>();
        let compression = values.next()?.ok()?;
        let compression = &compression["compression"];
        if compression["isPending"] != json!(false) {
            return None;
        }
        told(
            CompactionTrigger::Manual,
            compression["originalTokenCount"].as_u64(),
            compression["newTokenCount"].as_u64(),
            compression["summary"]
                .as_str()
                .map(|text| text.trim().to_owned()),
        )
    });
    by_command.or_else(|| {
        let found = ANNOUNCED.as_ref().ok()?.captures(said)?;
        let number = |group: usize| found.get(group)?.as_str().parse().ok();
        told(CompactionTrigger::Auto, number(1), number(2), None)
    })
}

fn put_back(tail: &[String]) -> Vec<Reinjected> {
    if tail.is_empty() {
        return Vec::new();
    }
    vec![Reinjected {
        kind: ReinjectedKind::Tail,
        name: None,
        text: tail.join("\n\n"),
    }]
}

/// Writes the program's settings; the key is not among them.
async fn write_settings(spec: &SessionSpec, model: &str) -> Result<(), Failure> {
    let folder = spec.home.join(".iflow");
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
    let written = async {
        tokio::fs::create_dir_all(&folder).await?;
        tokio::fs::write(folder.join("settings.json"), settings.to_string()).await
    };
    written.await.map_err(|error| {
        Failure::harness(format!("{} cannot be written: {error}", folder.display()))
    })
}

fn launch(found: &Found, spec: &SessionSpec, folder: PathBuf, port: u16) -> Launch {
    let mut environment = spec.environment.clone();
    let path = found.search_path.to_string_lossy().into_owned();
    environment.insert("PATH".to_owned(), path);
    Launch {
        program: found.path.clone(),
        args: vec![
            "--experimental-acp".into(),
            "--port".into(),
            port.to_string().into(),
        ],
        folder,
        needs: found.folders.clone(),
        home: spec.home.clone(),
        environment,
        input: Vec::new(),
    }
}

#[async_trait]
impl AgentSession for IflowSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        // A slash at the beginning is a command of the program.
        if text.trim_start().starts_with('/') {
            return self.turn(&format!("Message:\n{text}")).await;
        }
        self.turn(text).await
    }

    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure> {
        match how {
            CompactionTrigger::Manual => self.turn("/compress").await,
            CompactionTrigger::Auto => Err(Failure::harness(
                "iFlow's threshold cannot be lowered for a turn",
            )),
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let number = self.forks.fetch_add(1, Ordering::Relaxed);
        let spec = SessionSpec {
            home: self.spec.home.join(FORKS).join(number.to_string()),
            workspace: match access {
                Access::Workspace => self.spec.workspace.clone(),
                Access::Sealed => None,
            },
            access,
            ..self.spec.clone()
        };
        let state = Some(self.state().await?);
        let (found, model) = (self.found.clone(), self.model.clone());
        Ok(Box::new(
            Self::begin(found, model, spec, state, true).await?,
        ))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        let state = serde_json::to_vec(&self.state().await?).map_err(|error| {
            Failure::harness(format!("a checkpoint cannot be written: {error}"))
        })?;
        Ok(Checkpoint {
            session_id: self.session.clone(),
            state,
        })
    }

    async fn close(mut self: Box<Self>) {
        if let Some(rpc) = self.rpc.take() {
            rpc.end().await;
        }
        if self.is_fork {
            // What cannot be removed now goes with the run's folder.
            let _ = tokio::fs::remove_dir_all(&self.spec.home).await;
        }
    }
}

#[cfg(test)]
mod tests;
