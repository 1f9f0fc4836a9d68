//! What every request can reach.

use std::sync::Arc;

use axum::extract::FromRef;
use platform::parts::Platform;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::limits::Rates;
use crate::settings::ApiSettings;
use crate::tail::Tail;

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

/// The state of a router: what it was given, and what it needs while it runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) api: ApiState,
    pub(crate) tail: Tail,
    pub(crate) auth: Arc<Auth>,
    pub(crate) rates: Arc<Rates>,
    /// Cancelled when the server is to stop.
    pub(crate) stopping: CancellationToken,
}

impl FromRef<Running> for ApiState {
    fn from_ref(running: &Running) -> Self {
        running.api.clone()
    }
}
