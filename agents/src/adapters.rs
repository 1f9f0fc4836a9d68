//! The agents there are.

pub mod acp;
mod claude;
mod codex;
mod control;
mod gemini;
mod homes;
pub mod iflow;
mod qwen;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapter::AgentAdapter;
use crate::control::{Behaviour, ControlProgram};
use crate::failure::Failure;
use crate::program::Programs;

/// The variables that adapters may let through to their programs: keys, addresses, and what a
/// company's network asks for.
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

/// What adapters are made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub control: ControlProgram,
    pub programs: Programs,
    /// The models to ask for, by the agent's name, where they are not to be the adapters' own
    /// choice.
    pub models: BTreeMap<String, String>,
    /// Agents that are configured and not coded.
    pub configured: Vec<acp::config::Configured>,
}

impl Setup {
    /// Where nobody says anything of the real agents.
    pub fn of_controls(control: ControlProgram) -> Self {
        Self {
            control,
            programs: Programs::default(),
            models: BTreeMap::new(),
            configured: Vec::new(),
        }
    }
}

/// All adapters, in the order in which they are shown.
pub fn all(setup: &Setup) -> Vec<Arc<dyn AgentAdapter>> {
    let mut adapters: Vec<Arc<dyn AgentAdapter>> = vec![
        Arc::new(claude::adapter(setup)),
        Arc::new(gemini::adapter(setup)),
        Arc::new(codex::adapter(setup)),
        Arc::new(iflow::adapter(setup)),
        Arc::new(qwen::adapter(setup)),
    ];
    for adapter in acp::all(setup) {
        adapters.push(Arc::new(adapter));
    }
    for (name, display_name) in Behaviour::NAMES {
        if let Ok(adapter) = control::ControlAdapter::new(name, display_name, setup.control.clone())
        {
            adapters.push(Arc::new(adapter));
        }
    }
    adapters
}

/// The names of the agents that are coded, controls included.
pub fn coded_names() -> Vec<&'static str> {
    let real = ["claude", "codex", "gemini", "iflow", "qwen"];
    let controls = Behaviour::NAMES.map(|(name, _)| name);
    real.into_iter().chain(controls).collect()
}

/// The part of an agent's name that its queue and its adapter are named after: what stands before
/// a parameter.
pub fn family(agent: &str) -> &str {
    agent.split(':').next().unwrap_or(agent)
}

/// The model in an agent's name, such as `claude:MODEL`.
///
/// # Errors
///
/// It is no name of a model: a word that no program takes for an option.
fn model_of(agent: &str) -> Result<&str, Failure> {
    let model = agent.split_once(':').map_or("", |(_, model)| model);
    let is_word = model.starts_with(|c: char| c.is_ascii_alphanumeric())
        && model
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@[]".contains(&byte));
    if is_word {
        Ok(model)
    } else {
        Err(Failure::harness(format!(
            "{agent:?} names no model: write agent:model"
        )))
    }
}

/// The adapter for an agent as it was asked for, with its parameter.
///
/// # Errors
///
/// There is no such agent, or it takes no such parameter.
pub fn adapter_for(
    adapters: &[Arc<dyn AgentAdapter>],
    agent: &str,
) -> Result<Arc<dyn AgentAdapter>, Failure> {
    let family = family(agent);
    let found = adapters
        .iter()
        .find(|adapter| adapter.profile().name == family)
        .ok_or_else(|| Failure::harness(format!("this worker has no adapter for {agent:?}")))?;
    if agent == family {
        return Ok(Arc::clone(found));
    }
    found.with_parameter(agent)
}
