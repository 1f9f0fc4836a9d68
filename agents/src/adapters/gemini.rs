//! Gemini CLI (`gemini`), headless: one process per turn, JSON lines, a session file in HOME.
//!
//! Observed behaviour of 0.61.0:
//! * the event stream shows no compression. The telemetry shows attempts, the session file shows
//!   applied compressions. Only both together are a break;
//! * the program compresses at the start of a turn and of each request in it, when the size is at
//!   least `compressionThreshold` × 1,048,576 tokens. In a new process, and so in each of our turns,
//!   the size is its own estimate of the conversation without its system prompt;
//! * it has no compact command that works without a terminal. A threshold close to zero, for one
//!   turn, makes it compress;
//! * it sends a failing compression request five times, for more than a minute, whatever
//!   `maxAttempts` says. Then the turn fails, and the prompt stays unanswered;
//! * the folder decides which files are read into a session (`@name`, `GEMINI.md`, settings and
//!   `.env` of the repository): see [`super::prompt_text`] and [`settings`];
//! * each process writes a second file of the session without a conversation. If the session's own
//!   file was created in the same minute, it writes the same lines into that file. A file that a
//!   killed process left in this way has lost the conversation. So the file is renamed after the
//!   first turn, and restored after a failed turn;
//! * reports of its errors, with the whole conversation, stay in the folder for temporary files.

mod faults;
mod session;
mod session_file;
mod settings;
mod stream;
mod telemetry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::session::GeminiSession;
use super::cli_adapter::program::{CliDescription, CliProgram};
use super::setup::Setup;
use crate::adapter::{
    AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::failure::Failure;

const GEMINI: CliDescription = CliDescription {
    name: "gemini",
    display_name: "Gemini CLI",
    install_hint: "scripts/install-agents.sh, or npm install -g @google/gemini-cli",
    default_model: "gemini-2.5-pro",
    capabilities: Capabilities {
        fork: true,
        manual_compaction: false,
        auto_compaction: true,
        forced_compaction: true,
        resume: true,
        usage: true,
        tools_off: true,
    },
    environment: &[
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
    ],
};

/// Adapter for Gemini CLI.
pub(super) struct GeminiAdapter {
    cli: CliProgram,
}

/// Creates the adapter from its configuration.
pub(super) fn adapter(setup: &Setup) -> GeminiAdapter {
    GeminiAdapter {
        cli: CliProgram::new(&GEMINI, setup),
    }
}

#[async_trait]
impl AgentAdapter for GeminiAdapter {
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
        let (url, key) = (endpoint.url.clone(), endpoint.key.clone());
        Some(BTreeMap::from([
            ("GOOGLE_GEMINI_BASE_URL".to_owned(), url),
            ("GEMINI_API_KEY".to_owned(), key),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        // A random id, not one made of the time: the program names files after its first eight
        // digits.
        let id = uuid::Uuid::new_v4();
        let cli = self.cli.session(spec)?;
        Ok(Box::new(GeminiSession::begin(cli, id, None).await?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let id = checkpoint.uuid("Gemini CLI")?;
        let file = (!checkpoint.state.is_empty()).then_some(checkpoint.state.as_slice());
        let cli = self.cli.session(spec)?;
        Ok(Box::new(GeminiSession::begin(cli, id, file).await?))
    }
}
