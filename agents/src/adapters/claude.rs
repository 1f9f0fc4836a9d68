//! Claude Code (`@anthropic-ai/claude-code`), headless: one process per turn, JSON lines, the
//! transcript in HOME as the conversation.
//!
//! Observed behaviour of 2.1.197:
//! * only `compact_boundary` proves a compaction. The program reports a failed one as a successful
//!   turn;
//! * at a compaction the program reads recently read files again from disk, and keeps the end of
//!   the conversation word for word. Both are in the transcript, and are reported as
//!   [`Reinjected`](crate::event::Reinjected).

mod launch;
mod session;
mod stream;
mod transcript;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::session::{ClaudeSession, Origin};
use super::cli_adapter::program::{CliDescription, CliProgram};
use super::setup::Setup;
use crate::adapter::{
    AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::failure::Failure;

const CLAUDE: CliDescription = CliDescription {
    name: "claude",
    display_name: "Claude Code",
    install_hint: "scripts/install-agents.sh, or npm install -g @anthropic-ai/claude-code",
    // The program's own default has a context of a million tokens. No evaluation at a bearable cost
    // would ever fill it.
    default_model: "claude-sonnet-4-5",
    capabilities: Capabilities {
        fork: true,
        manual_compaction: true,
        auto_compaction: true,
        forced_compaction: true,
        resume: true,
        usage: true,
        tools_off: true,
    },
    environment: &[
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
    ],
};

/// Adapter for Claude Code.
pub(super) struct ClaudeAdapter {
    cli: CliProgram,
}

/// Creates the adapter from its configuration.
pub(super) fn adapter(setup: &Setup) -> ClaudeAdapter {
    ClaudeAdapter {
        cli: CliProgram::new(&CLAUDE, setup),
    }
}

#[async_trait]
impl AgentAdapter for ClaudeAdapter {
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
            ("ANTHROPIC_BASE_URL".to_owned(), endpoint.url.clone()),
            ("ANTHROPIC_API_KEY".to_owned(), endpoint.key.clone()),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        let cli = self.cli.session(spec)?;
        Ok(Box::new(ClaudeSession::new(cli, Origin::Nothing)))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let cli = self.cli.session(spec)?;
        let origin = Origin::from_transcript(&cli.spec.home, &checkpoint.state).await?;
        Ok(Box::new(ClaudeSession::new(cli, origin)))
    }
}
