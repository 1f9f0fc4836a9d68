//! Codex (`codex`), headless: one process per turn, JSON lines, a rollout file in HOME as the
//! conversation.
//!
//! Observed behaviour of 0.169.0:
//! * the event stream shows no compaction. The rollout has a line for each compaction that was
//!   applied, and none for one that failed. An empty summary is applied like any other;
//! * a compaction keeps the newest 80,000 characters or so of the user's messages word for word.
//!   The summary replaces only the text that the agent read and wrote;
//! * the program compacts at the start of a turn, and between tool calls, when the last request was
//!   as large as the limit or as the model's window, whichever is smaller;
//! * `turn.completed` counts the tokens of the whole conversation, including those from before a
//!   copy. The tokens of a turn are the difference to the rollout's earlier count;
//! * where commands run in the program's own sandbox, it needs helper programs. It does not create
//!   them if `CODEX_HOME` is below the folder for temporary files, hence a separate folder for
//!   these in HOME. Without the helpers each command fails, and only the next request shows it;
//! * the program retries an address that refuses connections forever, unless a feature is off;
//! * a catalogue states which model can use which tools. Some models get their tools through an
//!   item of the input instead of `tools`. A catalogue of our own makes all of them ordinary: see
//!   [`catalogue`];
//! * with the built-in provider, the provider performs compactions and shows no summary. With any
//!   base URL, the program performs them itself.

mod catalogue;
mod home;
mod launch;
mod rollout;
mod server;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::launch::{BASE_URL, KEY};
use self::session::CodexSession;
use super::cli_adapter::adapter::{CliTool, StartingSession};
use super::cli_adapter::program::CliDescription;
use super::cli_adapter::session::CliSession;
use crate::adapter::{AgentSession, Capabilities, Checkpoint, Endpoint};

/// Codex.
pub(super) static CODEX: CliTool = CliTool {
    description: CliDescription {
        name: "codex",
        display_name: "Codex",
        install_hint: "scripts/install-agents.sh, or npm install -g @openai/codex",
        // The newest model whose tools are ordinary in the program's own catalogue.
        default_model: "gpt-5.5",
        capabilities: Capabilities::ALL,
        environment: &[KEY, BASE_URL],
        runs_on_node: false,
    },
    endpoint_environment,
    start,
};

fn endpoint_environment(endpoint: &Endpoint) -> BTreeMap<String, String> {
    let url = format!("{}/v1", endpoint.url.trim_end_matches('/'));
    BTreeMap::from([
        (BASE_URL.to_owned(), url),
        (KEY.to_owned(), endpoint.key.clone()),
    ])
}

fn start(cli: CliSession, checkpoint: Option<&Checkpoint>) -> StartingSession<'_> {
    Box::pin(async move {
        let session = match checkpoint {
            None => CodexSession::new(cli),
            Some(checkpoint) => CodexSession::restore(cli, checkpoint).await?,
        };
        Ok(Box::new(session) as Box<dyn AgentSession>)
    })
}
