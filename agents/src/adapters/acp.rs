//! Adapter for any agent that speaks the Agent Client Protocol over its standard streams. Such
//! agents are configured in `agents.toml` and need no code: see [`config`].
//!
//! The program runs as long as its session. A compaction is proved by the agent's own announcement,
//! if a pattern for it is configured. Otherwise the structural detector proves it: the size of the
//! context fell by more than half, and stayed there in a turn without content.
//!
//! The protocol cannot remove an agent's tools. A sealed session is a separate program without any
//! permission, confined to its HOME. Arguments that remove the program's tools can be configured
//! too.

pub mod config;
mod detector;
mod session;
pub(super) mod updates;
pub(super) mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use self::config::ConfiguredAgent;
use self::session::AcpSession;
use super::cli_adapter::program::CliProgram;
use super::home_archive::HomeArchive;
use super::setup::Setup;
use crate::adapter::{
    AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::failure::Failure;

/// Adapter for a configured agent.
pub(super) struct AcpAdapter {
    cli: CliProgram,
    config: Arc<ConfiguredAgent>,
}

/// Creates the adapters of all configured agents.
pub(super) fn all(setup: &Setup) -> impl Iterator<Item = AcpAdapter> {
    setup.configured.iter().map(|config| {
        let mut programs = setup.programs.clone();
        if config.command.contains('/') {
            let path = programs.paths.entry(config.name.clone());
            path.or_insert_with(|| PathBuf::from(&config.command));
        }
        AcpAdapter {
            cli: CliProgram::with_profile(profile(config), &config.command, programs),
            config: Arc::new(config.clone()),
        }
    })
}

fn profile(config: &ConfiguredAgent) -> Profile {
    let shows_compactions = config.compaction_pattern.is_some() || config.reports_usage;
    let display_name = config.display_name.as_ref().unwrap_or(&config.name);
    Profile {
        name: config.name.clone(),
        display_name: display_name.clone(),
        capabilities: Capabilities {
            fork: config.load_session,
            manual_compaction: config.compact_command.is_some(),
            auto_compaction: config.compacts_by_itself && shows_compactions,
            forced_compaction: false,
            resume: config.load_session,
            usage: config.reports_usage,
            tools_off: config.sealed_args.is_some(),
        },
        install_hint: config
            .install_hint
            .clone()
            .unwrap_or_else(|| format!("install {}", config.command)),
        control: false,
        environment: config.variables().into_iter().collect(),
        default_model: None,
    }
}

#[async_trait]
impl AgentAdapter for AcpAdapter {
    fn profile(&self) -> &Profile {
        self.cli.profile()
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        Err(Failure::harness(format!(
            "invalid agent name {agent:?}: {} takes no parameter. Its model is set in agents.toml",
            self.config.name
        )))
    }

    async fn probe(&self) -> Presence {
        self.cli.probe().await
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        let variables = &self.config.endpoint_env;
        let fill_in = |value: &String| {
            value
                .replace("{url}", &endpoint.url)
                .replace("{key}", &endpoint.key)
        };
        (!variables.is_empty()).then(|| {
            variables
                .iter()
                .map(|(name, value)| (name.clone(), fill_in(value)))
                .collect()
        })
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        let (config, cli) = (Arc::clone(&self.config), self.cli.session(spec)?);
        Ok(Box::new(AcpSession::begin(config, cli, None).await?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let archive = HomeArchive::parse(&checkpoint.state)?;
        let (config, cli) = (Arc::clone(&self.config), self.cli.session(spec)?);
        let session = AcpSession::begin(config, cli, Some(archive)).await?;
        Ok(Box::new(session))
    }
}
