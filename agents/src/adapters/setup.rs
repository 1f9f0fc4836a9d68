//! Configuration from which all adapters are built.

use std::collections::BTreeMap;

use super::acp::config::ConfiguredAgent;
use crate::control::ControlProgram;
use crate::program::Programs;

/// Programs and models of the agents.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program of the control agents.
    pub control: ControlProgram,
    /// Where the programs of real agents are looked for.
    pub programs: Programs,
    /// Model by agent name, for agents that should not use their adapter's default model.
    pub models: BTreeMap<String, String>,
    /// Agents that are described in `agents.toml`.
    pub configured: Vec<ConfiguredAgent>,
}

impl Setup {
    /// Returns a setup in which real agents use their defaults.
    pub fn with_control(control: ControlProgram) -> Self {
        Self {
            control,
            programs: Programs::default(),
            models: BTreeMap::new(),
            configured: Vec::new(),
        }
    }
}
