//! Qwen Code (`@qwen-code/qwen-code`), headless: one process per turn, JSON lines, the session file in
//! HOME as the conversation.
//!
//! Observed behaviour of 0.15.10:
//! * the event stream does not show an automatic compaction. For a requested one it prints token
//!   counts whether or not the compaction was applied. The proof is a line in the session file, which
//!   is written only when the compressed history replaces the old one;
//! * its managed memory, which writes facts to files outside the conversation, is off;
//! * it puts a space before every `@` of a prompt that has none there: `bob@example.org` reaches the
//!   model as `bob @example.org`, and the header of a hunk is indented by one. Nothing prevents it.

mod launch;
mod session;
mod session_file;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::session::QwenSession;
use super::cli_adapter::program::{CliDescription, CliProgram};
use super::setup::Setup;
use crate::adapter::{
    AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::failure::Failure;

const QWEN: CliDescription = CliDescription {
    name: "qwen",
    display_name: "Qwen Code",
    install_hint: "scripts/install-agents.sh, or npm install -g @qwen-code/qwen-code",
    default_model: "qwen3-coder-plus",
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
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
    ],
};

/// Adapter for Qwen Code.
pub(super) struct QwenAdapter {
    cli: CliProgram,
}

/// Creates the adapter from its configuration.
pub(super) fn adapter(setup: &Setup) -> QwenAdapter {
    QwenAdapter {
        cli: CliProgram::new(&QWEN, setup),
    }
}

#[async_trait]
impl AgentAdapter for QwenAdapter {
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
            ("OPENAI_BASE_URL".to_owned(), format!("{}/v1", endpoint.url)),
            ("OPENAI_API_KEY".to_owned(), endpoint.key.clone()),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        let cli = self.cli.session(spec)?;
        Ok(Box::new(QwenSession::new(cli, uuid::Uuid::new_v4())))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let id = checkpoint.uuid("Qwen Code")?;
        let session = QwenSession::new(self.cli.session(spec)?, id);
        session.restore(&checkpoint.state).await?;
        Ok(Box::new(session))
    }
}
