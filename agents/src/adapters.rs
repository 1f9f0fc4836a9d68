//! All agents, one module per program.

pub mod acp;
mod claude;
mod codex;
mod control;
mod gemini;
pub mod iflow;
mod qwen;
mod agent_name;
mod cli_adapter;
mod home_archive;
mod prompt_text;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod skeleton;
mod setup;

use std::sync::Arc;

use domain::shipped_agents;

use self::cli_adapter::adapter::CliAdapter;
use crate::adapter::AgentAdapter;
use crate::failure::Failure;

pub use agent_name::family;
pub use setup::Setup;

/// Variables of the worker's environment that adapters may pass to their programs: keys, addresses
/// and the settings of a company's network.
pub const VARIABLES: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "GOOGLE_GEMINI_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "IFLOW_API_KEY",
    "IFLOW_BASE_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// Returns all adapters, in the order in which they are listed.
pub fn all(setup: &Setup) -> Vec<Arc<dyn AgentAdapter>> {
    let mut adapters: Vec<Arc<dyn AgentAdapter>> = vec![
        Arc::new(CliAdapter::new(&claude::CLAUDE, setup)),
        Arc::new(CliAdapter::new(&gemini::GEMINI, setup)),
        Arc::new(CliAdapter::new(&codex::CODEX, setup)),
        Arc::new(CliAdapter::new(&iflow::IFLOW, setup)),
        Arc::new(CliAdapter::new(&qwen::QWEN, setup)),
    ];
    for adapter in acp::all(setup) {
        adapters.push(Arc::new(adapter));
    }
    for (name, display_name) in shipped_agents::CONTROLS {
        if let Ok(adapter) = control::ControlAdapter::new(name, display_name, setup.control.clone())
        {
            adapters.push(Arc::new(adapter));
        }
    }
    adapters
}

/// Returns the names of the built-in agents, including controls.
pub fn built_in_names() -> Vec<&'static str> {
    let programs = shipped_agents::PROGRAMS.into_iter();
    let shipped = programs.chain(shipped_agents::CONTROLS);
    shipped.map(|(name, _)| name).collect()
}

/// Returns the adapter for an agent's name, including its parameter.
///
/// # Errors
///
/// Fails if there is no such agent, or if it does not accept the parameter.
pub fn adapter_for(
    adapters: &[Arc<dyn AgentAdapter>],
    agent: &str,
) -> Result<Arc<dyn AgentAdapter>, Failure> {
    let family = family(agent);
    let adapter = adapters
        .iter()
        .find(|adapter| adapter.profile().name == family)
        .ok_or_else(|| {
            Failure::harness(format!(
                "unknown agent {agent:?}: this worker has no adapter for it"
            ))
        })?;
    if agent == family {
        return Ok(Arc::clone(adapter));
    }
    adapter.with_parameter(agent)
}
