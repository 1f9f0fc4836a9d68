//! Gemini CLI (`gemini`), headless: one process per turn, JSON lines, a session file in HOME.
//!
//! Observed behaviour of 0.61.0:
//! * the event stream shows no compression. The telemetry shows attempts, the session file shows
//!   applied compressions. Only both together are a break;
//! * the program compresses at the start of a turn and of each request in it, when the size is at
//!   least `compressionThreshold` × 1,048,576 tokens. In a new process, and so in each of our
//!   turns, the size is its own estimate of the conversation without its system prompt;
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

use self::session::GeminiSession;
use super::cli_adapter::adapter::{CliTool, StartingSession};
use super::cli_adapter::program::CliDescription;
use super::cli_adapter::session::CliSession;
use crate::adapter::{AgentSession, Capabilities, Checkpoint, Endpoint};

/// Gemini CLI.
pub(super) static GEMINI: CliTool = CliTool {
    description: CliDescription {
        name: "gemini",
        display_name: "Gemini CLI",
        install_hint: "scripts/install-agents.sh, or npm install -g @google/gemini-cli",
        default_model: "gemini-2.5-pro",
        capabilities: Capabilities {
            manual_compaction: false,
            ..Capabilities::ALL
        },
        environment: &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"],
        runs_on_node: true,
    },
    endpoint_environment,
    start,
};

fn endpoint_environment(endpoint: &Endpoint) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("GOOGLE_GEMINI_BASE_URL".to_owned(), endpoint.url.clone()),
        ("GEMINI_API_KEY".to_owned(), endpoint.key.clone()),
    ])
}

fn start(cli: CliSession, checkpoint: Option<&Checkpoint>) -> StartingSession<'_> {
    Box::pin(async move {
        let (id, file) = match checkpoint {
            // A random id, not one made of the time: the program names files after its first eight
            // digits.
            None => (uuid::Uuid::new_v4(), None),
            Some(checkpoint) => {
                let file = checkpoint.state.as_slice();
                let id = checkpoint.uuid("Gemini CLI")?;
                (id, (!file.is_empty()).then_some(file))
            }
        };
        let session = GeminiSession::begin(cli, id, file).await?;
        Ok(Box::new(session) as Box<dyn AgentSession>)
    })
}
