//! The agents there are.

mod control;
mod planned;

use std::sync::Arc;

use crate::adapter::AgentAdapter;
use crate::control::{Behaviour, ControlProgram};
use crate::failure::Failure;

/// All adapters, in the order in which they are shown.
pub fn all(control: &ControlProgram) -> Vec<Arc<dyn AgentAdapter>> {
    let mut adapters: Vec<Arc<dyn AgentAdapter>> = Vec::new();
    for planned in planned::all() {
        adapters.push(Arc::new(planned));
    }
    for (name, display_name) in Behaviour::NAMES {
        if let Ok(adapter) = control::ControlAdapter::new(name, display_name, control.clone()) {
            adapters.push(Arc::new(adapter));
        }
    }
    adapters
}

/// The part of an agent's name that its queue and its adapter are named after: what stands before
/// a parameter.
pub fn family(agent: &str) -> &str {
    agent.split(':').next().unwrap_or(agent)
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
