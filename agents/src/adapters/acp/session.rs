//! A conversation with a configured agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::schema::{
    ContentBlock, InitializeRequest, InitializeResponse, LoadSessionRequest, NewSessionRequest,
    PromptRequest, TextContent,
};
use async_trait::async_trait;
use regex::Regex;
use tokio::sync::Mutex;

use super::config::{ConfiguredAgent, referenced_variable};
use super::detector;
use super::updates::Updates;
use super::wire::{Rpc, Stdio, check_stop_reason};
use crate::adapter::{Access, AgentSession, Checkpoint, Turn};
use crate::adapters::cli_adapter::NEUTRAL_PROMPT;
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::home_archive::HomeArchive;
use crate::event::{Compaction, CompactionTrigger, Proof};
use crate::failure::{Cause, Failure};
use crate::process::{InteractiveProcess, Launch};

/// A conversation with a configured agent.
pub(super) struct AcpSession {
    config: Arc<ConfiguredAgent>,
    cli: CliSession,
    compaction_pattern: Option<Regex>,
    session: String,
    cwd: PathBuf,
    /// `None` once the program has been stopped.
    rpc: Option<Rpc>,
    /// Size of the context after the last turn.
    context: Option<u64>,
    /// Held while the files of the session are read.
    packing: Mutex<()>,
}

impl AcpSession {
    /// Starts the program, and begins a session or continues one.
    pub(super) async fn begin(
        config: Arc<ConfiguredAgent>,
        cli: CliSession,
        archive: Option<HomeArchive>,
    ) -> Result<Self, Failure> {
        let folder = cli.working_folder().await?;
        if let Some(archive) = &archive {
            archive.unpack(&cli.spec.home).await?;
        }
        let launch = launch(&config, &cli, folder.clone());
        let process = InteractiveProcess::start(&launch, &cli.spec).await?;
        let mut rpc = Rpc::new(Box::new(Stdio(process)), &config.name, cli.spec.access);
        let response = initialize(&mut rpc, &config.name).await?;
        let (session, cwd) = match archive {
            Some(archive) => {
                if !response.agent_capabilities.load_session {
                    return Err(Failure::harness(format!(
                        "could not continue a session of {}: it does not support session/load. \
                         Remove load_session from its configuration",
                        config.name
                    )));
                }
                // The program finds a session by its folder. A sealed program cannot read that
                // folder.
                let cwd = match cli.spec.access {
                    Access::Workspace => folder,
                    Access::Sealed => archive.cwd.clone(),
                };
                let request = LoadSessionRequest::new(archive.session.clone(), &cwd);
                rpc.call("session/load", &request, |_| Vec::new()).await?;
                (archive.session, cwd)
            }
            None => {
                let session = rpc.new_session(&NewSessionRequest::new(&folder)).await?;
                (session, folder)
            }
        };
        Ok(Self {
            compaction_pattern: config.pattern(),
            config,
            cli,
            session,
            cwd,
            rpc: Some(rpc),
            context: None,
            packing: Mutex::new(()),
        })
    }

    /// Sends a prompt, and looks for a compaction in the answer.
    async fn turn(&mut self, prompt: &str, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        let started = Instant::now();
        let before = self.context;
        let mut updates = self.send_prompt(prompt).await?;
        let after = updates.turn.turn().usage.map(|usage| usage.context);
        if let Some(pattern) = &self.compaction_pattern {
            let answer = updates.turn.turn().text.clone();
            if let Some(compaction) = reported_compaction(pattern, &answer, trigger) {
                updates.turn.compacted(compaction);
            }
        } else if detector::falls(before, after) {
            // A fall is a compaction if it lasts.
            let next = self.send_prompt(NEUTRAL_PROMPT).await?;
            let next = next.finish().turn().usage.map(|usage| usage.context);
            if detector::falls(before, next) {
                let compaction = detector::structural(trigger, before, after);
                updates.turn.compacted(compaction);
            }
        }
        self.context = after.or(self.context);
        let mut turn = updates.finish();
        self.cli.send_events(&mut turn).await?;
        Ok(turn.finish(started.elapsed()))
    }

    async fn send_prompt(&mut self, prompt: &str) -> Result<Updates, Failure> {
        let name = &self.config.name;
        let Some(rpc) = &mut self.rpc else {
            return Err(Failure::harness(format!("the session of {name} is closed")));
        };
        let mut updates = Updates::default();
        let content = vec![ContentBlock::Text(TextContent::new(prompt))];
        let request = PromptRequest::new(self.session.clone(), content);
        let response = rpc
            .call("session/prompt", &request, |update| updates.apply(update))
            .await;
        let response = match response {
            Ok(response) => response,
            Err(failure) => {
                // Anything that the program still prints belongs to no turn.
                if let Some(rpc) = self.rpc.take() {
                    rpc.terminate().await;
                }
                return Err(failure);
            }
        };
        let stop_reason = response["stopReason"].as_str();
        if stop_reason == Some("refusal") {
            let message = format!("{name} refused the prompt");
            return Err(Failure::new(Cause::Refused, message));
        }
        check_stop_reason(name, stop_reason)?;
        Ok(updates)
    }

    async fn archive(&self) -> Result<HomeArchive, Failure> {
        let _guard = self.packing.lock().await;
        let (session, cwd) = (self.session.clone(), self.cwd.clone());
        HomeArchive::pack(&self.cli.spec.home, "", session, cwd).await
    }
}

async fn initialize(rpc: &mut Rpc, agent: &str) -> Result<InitializeResponse, Failure> {
    let request = InitializeRequest::new(ProtocolVersion::V1);
    let response = rpc.call("initialize", &request, |_| Vec::new()).await?;
    serde_json::from_value(response).map_err(|error| {
        Failure::new(
            Cause::AgentCrashed,
            format!("{agent} does not follow the Agent Client Protocol: {error}"),
        )
    })
}

/// Returns the compaction that an agent announces.
fn reported_compaction(
    pattern: &Regex,
    answer: &str,
    trigger: CompactionTrigger,
) -> Option<Compaction> {
    let groups = pattern.captures(answer)?;
    let number = |name: &str| {
        let digits = groups.name(name)?.as_str().replace([',', '_'], "");
        digits.parse().ok()
    };
    let (before, after): (Option<u64>, Option<u64>) = (number("before"), number("after"));
    // Programs also report token counts of a compaction that they did not apply.
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
        summary: groups.name("summary").map(|text| text.as_str().to_owned()),
        proof: Proof::Reported,
        reinjected: Vec::new(),
    })
}

fn launch(config: &ConfiguredAgent, cli: &CliSession, folder: PathBuf) -> Launch {
    let sealed_args = config.sealed_args.iter().flatten();
    let args = config.args.iter();
    let args = match cli.spec.access {
        Access::Workspace => args.map(Into::into).collect(),
        Access::Sealed => args.chain(sealed_args).map(Into::into).collect(),
    };
    cli.launch(args, folder, environment(config, cli), Vec::new())
}

/// Returns the configured variables only.
fn environment(config: &ConfiguredAgent, cli: &CliSession) -> BTreeMap<String, String> {
    let mut available = cli.environment();
    let mut environment = BTreeMap::new();
    for (name, value) in &config.env {
        let value = match referenced_variable(value) {
            None => Some(value.clone()),
            Some(variable) => cli.spec.environment.get(variable).cloned(),
        };
        if let Some(value) = value {
            environment.insert(name.clone(), value);
        }
    }
    let path = "PATH".to_owned();
    for name in config.endpoint_env.keys().chain([&path]) {
        if let Some(value) = available.remove(name) {
            environment.insert(name.clone(), value);
        }
    }
    environment
}

#[async_trait]
impl AgentSession for AcpSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.turn(text, CompactionTrigger::Auto).await
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        match (trigger, self.config.compact_command.clone()) {
            (CompactionTrigger::Manual, Some(command)) => self.turn(&command, trigger).await,
            (CompactionTrigger::Manual, None) => Err(Failure::harness(format!(
                "{} has no compact_command in its configuration",
                self.config.name
            ))),
            (CompactionTrigger::Auto, _) => Err(Failure::harness(
                "the Agent Client Protocol cannot lower an agent's compaction threshold",
            )),
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let archive = self.archive().await?;
        let config = Arc::clone(&self.config);
        let fork = Self::begin(config, self.cli.fork(access), Some(archive)).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.session.clone(),
            state: self.archive().await?.to_bytes()?,
        })
    }

    async fn close(mut self: Box<Self>) {
        if let Some(rpc) = self.rpc.take() {
            rpc.terminate().await;
        }
        self.cli.remove_fork().await;
    }
}
