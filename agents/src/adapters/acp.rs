//! Any agent that speaks the Agent Client Protocol over its standard streams, configured and not
//! coded: see [`config`].
//!
//! The program lives as long as its session. What proves a compaction is the agent's own words, where
//! a pattern for them is configured; else the structural detector: the size of the context, which the
//! program reports, fell by more than half and stayed there in a turn that says nothing.
//!
//! The protocol has no way to take an agent's tools away. A sealed session is a program of its own
//! that is granted nothing and confined to its HOME; where arguments of the program remove its tools
//! they can be configured too.

pub mod config;
mod detector;
pub(super) mod updates;
pub(super) mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::schema::{
    ContentBlock, InitializeRequest, InitializeResponse, LoadSessionRequest, NewSessionRequest,
    PromptRequest, TextContent,
};
use async_trait::async_trait;
use regex::Regex;
use tokio::sync::{Mutex, OnceCell};

use super::Setup;
use super::homes::{FORKS, Packed};
use crate::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Turn,
};
use crate::event::{Compaction, CompactionTrigger, Proof};
use crate::failure::{Cause, Failure};
use crate::process::{Launch, Peer};
use crate::program::{Found, Programs, presence};
use config::Configured;
use updates::Updates;
use wire::{Rpc, Stdio};

/// Says nothing, and asks for nothing: for the turn that shows whether a fall of the context lasts.
const NEUTRAL: &str = "Nothing is to be done in this turn. Reply with one short sentence.";

/// A configured agent.
pub(super) struct AcpAdapter {
    profile: Profile,
    configured: Arc<Configured>,
    programs: Programs,
    presence: OnceCell<Presence>,
}

/// All of them, as they are set up.
pub(super) fn all(setup: &Setup) -> impl Iterator<Item = AcpAdapter> {
    setup.configured.iter().map(|configured| AcpAdapter {
        profile: profile(configured),
        configured: Arc::new(configured.clone()),
        programs: setup.programs.clone(),
        presence: OnceCell::new(),
    })
}

fn profile(configured: &Configured) -> Profile {
    let shows = configured.compaction_pattern.is_some() || configured.reports_usage;
    Profile {
        name: configured.name.clone(),
        display_name: configured
            .display_name
            .clone()
            .unwrap_or_else(|| configured.name.clone()),
        capabilities: Capabilities {
            fork: configured.load_session,
            manual_compaction: configured.compact_command.is_some(),
            auto_compaction: configured.compacts_by_itself && shows,
            forced_compaction: false,
            resume: configured.load_session,
            usage: configured.reports_usage,
            tools_off: configured.sealed_args.is_some(),
        },
        install_hint: configured
            .install_hint
            .clone()
            .unwrap_or_else(|| format!("install {}", configured.command)),
        control: false,
        environment: configured.variables().into_iter().collect(),
        default_model: None,
    }
}

impl AcpAdapter {
    fn found(&self) -> Result<Found, String> {
        let command = &self.configured.command;
        if command.contains('/') {
            let mut programs = self.programs.clone();
            let told = programs.told.entry(self.profile.name.clone());
            told.or_insert_with(|| PathBuf::from(command));
            return programs.find(&self.profile.name, command);
        }
        self.programs.find(&self.profile.name, command)
    }

    async fn session(
        &self,
        spec: SessionSpec,
        going_on: Option<Packed>,
    ) -> Result<AcpSession, Failure> {
        let found = self
            .found()
            .map_err(|why| Failure::harness(format!("{why} ({})", self.profile.install_hint)))?;
        AcpSession::begin(Arc::clone(&self.configured), found, spec, going_on, false).await
    }
}

#[async_trait]
impl AgentAdapter for AcpAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        Err(Failure::harness(format!(
            "{} takes no parameter, but {agent:?} has one: its model is configured",
            self.profile.name
        )))
    }

    async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| presence(self.found(), &self.profile.install_hint))
            .await
            .clone()
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        let variables = &self.configured.endpoint_env;
        let filled = |value: &String| {
            value
                .replace("{url}", &endpoint.url)
                .replace("{key}", &endpoint.key)
        };
        (!variables.is_empty()).then(|| {
            variables
                .iter()
                .map(|(name, value)| (name.clone(), filled(value)))
                .collect()
        })
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(Box::new(self.session(spec, None).await?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let packed = Packed::read(&checkpoint.state)?;
        Ok(Box::new(self.session(spec, Some(packed)).await?))
    }
}

/// A conversation with a configured agent.
struct AcpSession {
    configured: Arc<Configured>,
    found: Found,
    pattern: Option<Regex>,
    spec: SessionSpec,
    session: String,
    cwd: PathBuf,
    rpc: Option<Rpc>,
    /// The context after the last turn.
    context: Option<u64>,
    is_fork: bool,
    forks: AtomicU64,
    /// Held while the files of the session are read.
    packing: Mutex<()>,
}

impl AcpSession {
    async fn begin(
        configured: Arc<Configured>,
        found: Found,
        spec: SessionSpec,
        going_on: Option<Packed>,
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
        if let Some(packed) = &going_on {
            packed.unpack(&spec.home).await?;
        }
        let launch = launch(&configured, &found, &spec, folder.clone());
        let peer = Peer::start(&launch, &spec).await?;
        let mut rpc = Rpc::new(Box::new(Stdio(peer)), &configured.name, spec.access);
        let told = rpc
            .call(
                "initialize",
                &InitializeRequest::new(ProtocolVersion::V1),
                |_| Vec::new(),
            )
            .await?;
        let told: InitializeResponse = serde_json::from_value(told).map_err(|error| {
            Failure::new(
                Cause::AgentCrashed,
                format!("{} does not speak the protocol: {error}", configured.name),
            )
        })?;
        let (session, cwd) = match going_on {
            Some(packed) => {
                if !told.agent_capabilities.load_session {
                    return Err(Failure::harness(format!(
                        "{} cannot go on with a session; take load_session out of its configuration",
                        configured.name
                    )));
                }
                // The folder is part of what the program finds a session by; a sealed one cannot
                // read it.
                let cwd = match spec.access {
                    Access::Workspace => folder,
                    Access::Sealed => packed.cwd.clone(),
                };
                let request = LoadSessionRequest::new(packed.session.clone(), &cwd);
                rpc.call("session/load", &request, |_| Vec::new()).await?;
                (packed.session, cwd)
            }
            None => {
                let request = NewSessionRequest::new(&folder);
                let begun = rpc.call("session/new", &request, |_| Vec::new()).await?;
                let session = begun["sessionId"].as_str().ok_or_else(|| {
                    Failure::new(
                        Cause::AgentCrashed,
                        format!("{} begins sessions without an id", configured.name),
                    )
                })?;
                (session.to_owned(), folder)
            }
        };
        Ok(Self {
            pattern: configured.pattern(),
            configured,
            found,
            spec,
            session,
            cwd,
            rpc: Some(rpc),
            context: None,
            is_fork,
            forks: AtomicU64::new(0),
            packing: Mutex::new(()),
        })
    }

    /// Says something, and looks for a compaction in what is said back.
    async fn turn(&mut self, prompt: &str, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        let begun = Instant::now();
        let before = self.context;
        let mut updates = self.say(prompt).await?;
        let after = updates.gathering.turn().usage.map(|usage| usage.context);
        if let Some(pattern) = &self.pattern {
            let said = updates.gathering.turn().text.clone();
            if let Some(compaction) = reported(pattern, &said, trigger) {
                updates.gathering.compacted(compaction);
            }
        } else if detector::falls(before, after) {
            // A fall is a compaction if it lasts.
            let next = self.say(NEUTRAL).await?;
            let next = next.finish().turn().usage.map(|usage| usage.context);
            if detector::falls(before, next) {
                let compaction = detector::structural(trigger, before, after);
                updates.gathering.compacted(compaction);
            }
        }
        self.context = after.or(self.context);
        let mut gathering = updates.finish();
        for event in gathering.take_events() {
            // Nobody listening is no reason to fail a turn.
            let _ = self.spec.events.send(event).await;
        }
        Ok(gathering.finish(begun.elapsed()))
    }

    async fn say(&mut self, prompt: &str) -> Result<Updates, Failure> {
        let Some(rpc) = &mut self.rpc else {
            return Err(Failure::harness("the session is closed"));
        };
        let mut updates = Updates::default();
        let content = vec![ContentBlock::Text(TextContent::new(prompt))];
        let request = PromptRequest::new(self.session.clone(), content);
        let answered = rpc
            .call("session/prompt", &request, |update| updates.take(update))
            .await;
        let answer = match answered {
            Ok(answer) => answer,
            Err(failure) => {
                // Whatever it still says belongs to no turn.
                if let Some(rpc) = self.rpc.take() {
                    rpc.end().await;
                }
                return Err(failure);
            }
        };
        match answer["stopReason"].as_str() {
            Some("end_turn") => Ok(updates),
            Some("cancelled") => Err(Failure::cancelled()),
            Some("refusal") => Err(Failure::new(Cause::Refused, "the agent refused the prompt")),
            Some(limit) => Err(Failure::new(
                Cause::OutOfBudget,
                format!("the agent stopped its turn: {limit}"),
            )),
            None => Err(Failure::new(
                Cause::AgentCrashed,
                "the agent ended its turn without a reason",
            )),
        }
    }

    async fn packed(&self) -> Result<Packed, Failure> {
        let _held = self.packing.lock().await;
        Packed::of(&self.spec.home, "", self.session.clone(), self.cwd.clone()).await
    }
}

/// A compaction that the agent tells of.
fn reported(pattern: &Regex, said: &str, trigger: CompactionTrigger) -> Option<Compaction> {
    let found = pattern.captures(said)?;
    let number = |name: &str| {
        found
            .name(name)?
            .as_str()
            .replace([',', '_'], "")
            .parse()
            .ok()
    };
    let (before, after): (Option<u64>, Option<u64>) = (number("before"), number("after"));
    // Programs also tell figures of one that they did not take over.
    if before
        .zip(after)
        .is_some_and(|(before, after)| after >= before)
    {
        return None;
    }
    Some(Compaction {
        trigger,
        tokens_before: before,
        tokens_after: after,
        summary: found.name("summary").map(|found| found.as_str().to_owned()),
        proof: Proof::Reported,
        reinjected: Vec::new(),
    })
}

fn launch(configured: &Configured, found: &Found, spec: &SessionSpec, folder: PathBuf) -> Launch {
    let sealed = configured.sealed_args.iter().flatten();
    let args = configured.args.iter();
    let args = match spec.access {
        Access::Workspace => args.map(Into::into).collect(),
        Access::Sealed => args.chain(sealed).map(Into::into).collect(),
    };
    let mut environment = BTreeMap::new();
    for (name, value) in &configured.env {
        match config::passed(value) {
            None => {
                environment.insert(name.clone(), value.clone());
            }
            Some(passed) => {
                if let Some(value) = spec.environment.get(passed) {
                    environment.insert(name.clone(), value.clone());
                }
            }
        }
    }
    for name in configured.endpoint_env.keys() {
        if let Some(value) = spec.environment.get(name) {
            environment.insert(name.clone(), value.clone());
        }
    }
    let path = found.search_path.to_string_lossy().into_owned();
    environment.insert("PATH".to_owned(), path);
    Launch {
        program: found.path.clone(),
        args,
        folder,
        needs: found.folders.clone(),
        home: spec.home.clone(),
        environment,
        input: Vec::new(),
    }
}

#[async_trait]
impl AgentSession for AcpSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.turn(text, CompactionTrigger::Auto).await
    }

    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure> {
        match (how, self.configured.compact_command.clone()) {
            (CompactionTrigger::Manual, Some(command)) => self.turn(&command, how).await,
            (CompactionTrigger::Manual, None) => Err(Failure::harness(format!(
                "{} has no compact_command",
                self.configured.name
            ))),
            (CompactionTrigger::Auto, _) => Err(Failure::harness(
                "the protocol has no way to lower an agent's threshold",
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
        let packed = self.packed().await?;
        let (configured, found) = (Arc::clone(&self.configured), self.found.clone());
        let copy = Self::begin(configured, found, spec, Some(packed), true).await?;
        Ok(Box::new(copy))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.session.clone(),
            state: self.packed().await?.bytes()?,
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
