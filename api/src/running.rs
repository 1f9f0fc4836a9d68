//! What every request can reach while the service runs.

use std::sync::Arc;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::backlog::EndedJobs;
use crate::figures::Figures;
use crate::known::Recently;
use crate::limits::Rates;
use crate::requests::Requests;
use crate::state::ApiState;
use crate::streams::Streams;
use crate::tail::Tail;
use crate::totals::Totals;

/// The state of a router: what it was given, and what it needs while it runs. Cheap to clone, for every
/// layer and every handler does.
#[derive(Clone)]
pub(crate) struct Running(pub(crate) Arc<Parts>);

/// What [`Running`] stands for.
pub(crate) struct Parts {
    pub(crate) api: ApiState,
    pub(crate) tail: Tail,
    pub(crate) auth: Arc<Auth>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) recently: Recently,
    pub(crate) totals: Totals,
    pub(crate) ended_jobs: EndedJobs,
    pub(crate) requests: Requests,
    pub(crate) figures: Figures,
    pub(crate) streams: Streams,
    /// Cancelled when the server is to stop.
    pub(crate) stopping: CancellationToken,
}

impl std::ops::Deref for Running {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<Running> for ApiState {
    fn from_ref(running: &Running) -> Self {
        running.api.clone()
    }
}
