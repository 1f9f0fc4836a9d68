//! Adapter for the control agents: one process per turn, JSON lines, a session file in HOME.
//!
//! It differs from the adapters of real tools only in the program: see [`crate::control`].

mod session;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use self::session::ControlSession;
use super::agent_name::family;
use crate::adapter::{
    AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::control::{Behaviour, ControlProgram};
use crate::failure::Failure;

/// Time limit for the program to print its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Adapter for one control agent.
pub(super) struct ControlAdapter {
    profile: Profile,
    /// The agent's name with its parameter.
    agent: String,
    program: ControlProgram,
    presence: OnceCell<Presence>,
}

impl ControlAdapter {
    pub(super) fn new(
        agent: &str,
        display_name: &str,
        program: ControlProgram,
    ) -> Result<Self, String> {
        Behaviour::from_agent_name(agent)?;
        Ok(Self {
            profile: Profile {
                name: family(agent).to_owned(),
                display_name: display_name.to_owned(),
                capabilities: Capabilities {
                    forced_compaction: false,
                    ..Capabilities::ALL
                },
                install_hint: "built in".to_owned(),
                control: true,
                environment: Vec::new(),
                default_model: None,
            },
            agent: agent.to_owned(),
            program,
            presence: OnceCell::new(),
        })
    }

    async fn ask_version(&self) -> Presence {
        if self.program.in_process {
            return Presence::Installed {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                program: "this process".to_owned(),
            };
        }
        let path = self.program.path.display();
        let missing = |why: String| Presence::Missing {
            why,
            fix: "build the project again, or set CONTROL_BIN to membreak-control".to_owned(),
        };
        let version_command = tokio::process::Command::new(&self.program.path)
            .args(&self.program.args)
            .arg("--version")
            .env_clear()
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(VERSION_TIMEOUT, version_command).await {
            Ok(Ok(output)) if output.status.success() => Presence::Installed {
                version: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
                program: path.to_string(),
            },
            Ok(Ok(output)) => missing(format!("{path} exited with {}", output.status)),
            Ok(Err(error)) => missing(format!("could not start {path}: {error}")),
            Err(_) => missing(format!("{path} printed no version in time")),
        }
    }

    fn session(&self, spec: SessionSpec, id: String) -> ControlSession {
        ControlSession::new(self.agent.clone(), self.program.clone(), id, spec)
    }
}

#[async_trait]
impl AgentAdapter for ControlAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        Self::new(agent, &self.profile.display_name, self.program.clone())
            .map(|adapter| Arc::new(adapter) as Arc<dyn AgentAdapter>)
            .map_err(Failure::harness)
    }

    async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| self.ask_version())
            .await
            .clone()
    }

    fn endpoint_environment(&self, _: &Endpoint) -> Option<BTreeMap<String, String>> {
        None
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        let id = uuid::Uuid::now_v7().to_string();
        Ok(Box::new(self.session(spec, id)))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let session = self.session(spec, checkpoint.session_id.clone());
        session.restore(&checkpoint.state).await?;
        Ok(Box::new(session))
    }
}
