//! iFlow CLI, over the Agent Client Protocol on a `WebSocket` (`--experimental-acp --port`).
//!
//! Its npm package is no longer in the registry. So this adapter is tested against a peer that follows
//! the recorded exchange of version 0.5.19 (`iflow-peer` of the crate `simulator`), and against a real
//! program if `IFLOW_BIN` names one. The recording does not show everything: the peer defines, for
//! example, how `session/load` continues a session with settings.
//!
//! Observed behaviour of its compactions:
//! * the turn in which the program announces an automatic compaction still uses the whole old
//!   conversation. So questions after the break are asked in the next turn;
//! * a compaction keeps the last ten messages word for word. The adapter records the messages itself
//!   and reports them as reinjected.

mod compaction;
pub mod plain;
mod session;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::session::IflowSession;
use super::cli_adapter::program::{CliDescription, CliProgram};
use super::setup::Setup;
use crate::adapter::{
    AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::failure::Failure;

const IFLOW: CliDescription = CliDescription {
    name: "iflow",
    display_name: "iFlow CLI",
    install_hint: "its npm package is no longer in the registry; set IFLOW_BIN to the path of an \
                   existing program",
    default_model: "Qwen3-Coder",
    capabilities: Capabilities {
        fork: true,
        manual_compaction: true,
        auto_compaction: true,
        forced_compaction: false,
        resume: true,
        usage: false,
        tools_off: true,
    },
    environment: &[
        "IFLOW_API_KEY",
        "IFLOW_BASE_URL",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
    ],
};

/// Adapter for iFlow CLI.
pub(super) struct IflowAdapter {
    cli: CliProgram,
}

/// Creates the adapter from its configuration.
pub(super) fn adapter(setup: &Setup) -> IflowAdapter {
    IflowAdapter {
        cli: CliProgram::new(&IFLOW, setup),
    }
}

#[async_trait]
impl AgentAdapter for IflowAdapter {
    fn profile(&self) -> &Profile {
        self.cli.profile()
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        let cli = self.cli.with_model_of(agent)?;
        Ok(Arc::new(Self { cli }))
    }

    async fn probe(&self) -> Presence {
        self.cli.probe().await
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        Some(BTreeMap::from([
            ("IFLOW_BASE_URL".to_owned(), format!("{}/v1", endpoint.url)),
            ("IFLOW_API_KEY".to_owned(), endpoint.key.clone()),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        let cli = self.cli.session(spec)?;
        Ok(Box::new(IflowSession::begin(cli, None).await?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let state = serde_json::from_slice(&checkpoint.state)
            .map_err(|error| Failure::harness(format!("invalid checkpoint: {error}")))?;
        let cli = self.cli.session(spec)?;
        Ok(Box::new(IflowSession::begin(cli, Some(state)).await?))
    }
}
