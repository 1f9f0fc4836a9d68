//! What every request can reach.

use std::sync::Arc;

use platform::connect::Platform;

use crate::settings::ApiSettings;

/// Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub platform: Platform,
    pub settings: Arc<ApiSettings>,
    /// Agents that may be asked for even before a worker told of them.
    pub known_agents: Arc<[KnownAgent]>,
}

/// An agent that the composition root knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAgent {
    pub name: String,
    pub display_name: String,
    pub control: bool,
    /// May be asked for with a model: `claude:MODEL`.
    pub takes_model: bool,
}
