//! iFlow CLI, over the Agent Client Protocol on a `WebSocket` (`--experimental-acp --port`).
//!
//! Its npm package is no longer in the registry. So this adapter is tested against a peer that
//! follows the recorded exchange of version 0.5.19 (`iflow-peer` of the crate `simulator`), and
//! against a real program if `IFLOW_BIN` names one. The recording does not show everything: the
//! peer defines, for example, how `session/load` continues a session with settings.
//!
//! Observed behaviour of its compactions:
//! * the turn in which the program announces an automatic compaction still uses the whole old
//!   conversation. So questions after the break are asked in the next turn;
//! * a compaction keeps the last ten messages word for word. The adapter records the messages
//!   itself and reports them as reinjected.

mod compaction;
pub mod plain;
mod session;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::session::IflowSession;
use super::cli_adapter::adapter::{CliTool, StartingSession};
use super::cli_adapter::program::CliDescription;
use super::cli_adapter::session::CliSession;
use crate::adapter::{AgentSession, Capabilities, Checkpoint, Endpoint};

/// iFlow CLI.
pub(super) static IFLOW: CliTool = CliTool {
    description: CliDescription {
        name: "iflow",
        display_name: "iFlow CLI",
        install_hint: "its npm package is no longer in the registry; set IFLOW_BIN to the path of an \
                   existing program",
        default_model: "Qwen3-Coder",
        capabilities: Capabilities {
            forced_compaction: false,
            usage: false,
            ..Capabilities::ALL
        },
        environment: &["IFLOW_API_KEY", "IFLOW_BASE_URL"],
        runs_on_node: true,
    },
    endpoint_environment,
    start,
};

fn endpoint_environment(endpoint: &Endpoint) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("IFLOW_BASE_URL".to_owned(), format!("{}/v1", endpoint.url)),
        ("IFLOW_API_KEY".to_owned(), endpoint.key.clone()),
    ])
}

fn start(cli: CliSession, checkpoint: Option<&Checkpoint>) -> StartingSession<'_> {
    Box::pin(async move {
        let session = IflowSession::begin(cli, checkpoint).await?;
        Ok(Box::new(session) as Box<dyn AgentSession>)
    })
}
