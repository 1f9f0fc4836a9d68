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

use self::session::{ClaudeSession, Origin};
use super::cli_adapter::adapter::{CliTool, StartingSession};
use super::cli_adapter::program::CliDescription;
use super::cli_adapter::session::CliSession;
use crate::adapter::{AgentSession, Capabilities, Checkpoint, Endpoint};

/// Claude Code.
pub(super) static CLAUDE: CliTool = CliTool {
    description: CliDescription {
        name: "claude",
        display_name: "Claude Code",
        install_hint: "scripts/install-agents.sh, or npm install -g @anthropic-ai/claude-code",
        // The program's own default has a context of a million tokens. No evaluation at a bearable
        // cost would ever fill it.
        default_model: "claude-sonnet-4-5",
        capabilities: Capabilities::ALL,
        environment: &[
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_BASE_URL",
        ],
        runs_on_node: true,
    },
    endpoint_environment,
    start,
};

fn endpoint_environment(endpoint: &Endpoint) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("ANTHROPIC_BASE_URL".to_owned(), endpoint.url.clone()),
        ("ANTHROPIC_API_KEY".to_owned(), endpoint.key.clone()),
    ])
}

fn start(cli: CliSession, checkpoint: Option<&Checkpoint>) -> StartingSession<'_> {
    Box::pin(async move {
        let transcript = checkpoint.map_or(&[][..], |checkpoint| &checkpoint.state);
        let origin = Origin::from_transcript(&cli.spec.home, transcript).await?;
        Ok(Box::new(ClaudeSession::new(cli, origin)) as Box<dyn AgentSession>)
    })
}
