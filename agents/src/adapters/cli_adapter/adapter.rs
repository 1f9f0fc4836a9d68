//! The adapter of any command-line tool: its description, and the program on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::program::{CliDescription, CliProgram};
use super::session::CliSession;
use crate::adapter::{
    AgentAdapter, AgentSession, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::adapters::setup::Setup;
use crate::failure::Failure;

/// A session that is being started.
pub(in crate::adapters) type StartingSession<'a> =
    BoxFuture<'a, Result<Box<dyn AgentSession>, Failure>>;

/// A command-line tool: the parts of its adapter that differ from other tools.
pub(in crate::adapters) struct CliTool {
    pub(in crate::adapters) description: CliDescription,
    /// Returns the variables that make the program use the models at an endpoint.
    pub(in crate::adapters) endpoint_environment: fn(&Endpoint) -> BTreeMap<String, String>,
    /// Starts a session, or continues from a checkpoint.
    pub(in crate::adapters) start:
        for<'a> fn(CliSession, Option<&'a Checkpoint>) -> StartingSession<'a>,
}

/// Adapter for a command-line tool.
pub(in crate::adapters) struct CliAdapter {
    tool: &'static CliTool,
    program: CliProgram,
}

impl CliAdapter {
    /// Creates the adapter from its configuration.
    pub(in crate::adapters) fn new(tool: &'static CliTool, setup: &Setup) -> Self {
        Self {
            tool,
            program: CliProgram::new(&tool.description, setup),
        }
    }
}

#[async_trait]
impl AgentAdapter for CliAdapter {
    fn profile(&self) -> &Profile {
        self.program.profile()
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        Ok(Arc::new(Self {
            tool: self.tool,
            program: self.program.with_model_of(agent)?,
        }))
    }

    async fn probe(&self) -> Presence {
        self.program.probe().await
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        Some((self.tool.endpoint_environment)(endpoint))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        (self.tool.start)(self.program.session(spec)?, None).await
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        (self.tool.start)(self.program.session(spec)?, Some(checkpoint)).await
    }
}
