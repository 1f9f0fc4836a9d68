//! Qwen Code (`@qwen-code/qwen-code`), headless: one process per turn, JSON lines, the session file
//! in HOME as the conversation.
//!
//! Observed behaviour of 0.15.10:
//! * the event stream does not show an automatic compaction. For a requested one it prints token
//!   counts whether or not the compaction was applied. The proof is a line in the session file,
//!   which is written only when the compressed history replaces the old one;
//! * its managed memory, which writes facts to files outside the conversation, is off;
//! * it puts a space before every `@` of a prompt that has none there: `bob@example.org` reaches
//!   the model as `bob @example.org`, and the header of a hunk is indented by one. Nothing prevents
//!   it.

mod launch;
mod session;
mod session_file;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::session::QwenSession;
use super::cli_adapter::adapter::{CliTool, StartingSession};
use super::cli_adapter::program::CliDescription;
use super::cli_adapter::session::CliSession;
use crate::adapter::{AgentSession, Capabilities, Checkpoint, Endpoint};

/// Qwen Code.
pub(super) static QWEN: CliTool = CliTool {
    description: CliDescription {
        name: "qwen",
        display_name: "Qwen Code",
        install_hint: "scripts/install-agents.sh, or npm install -g @qwen-code/qwen-code",
        default_model: "qwen3-coder-plus",
        capabilities: Capabilities::ALL,
        environment: &["OPENAI_API_KEY", "OPENAI_BASE_URL"],
        runs_on_node: true,
    },
    endpoint_environment,
    start,
};

fn endpoint_environment(endpoint: &Endpoint) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("OPENAI_BASE_URL".to_owned(), format!("{}/v1", endpoint.url)),
        ("OPENAI_API_KEY".to_owned(), endpoint.key.clone()),
    ])
}

fn start(cli: CliSession, checkpoint: Option<&Checkpoint>) -> StartingSession<'_> {
    Box::pin(async move {
        let session = match checkpoint {
            None => QwenSession::new(cli, uuid::Uuid::new_v4()),
            Some(checkpoint) => {
                let session = QwenSession::new(cli, checkpoint.uuid("Qwen Code")?);
                session.restore(&checkpoint.state).await?;
                session
            }
        };
        Ok(Box::new(session) as Box<dyn AgentSession>)
    })
}
