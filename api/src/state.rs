//! Application state that all handlers share.

use std::sync::Arc;

use platform::connect::Platform;
use tokio_util::sync::CancellationToken;

use crate::agents::registry::{AgentCache, KnownAgent};
use crate::auth::Auth;
use crate::auth::rate_limit::Rates;
use crate::events::live::Tail;
use crate::events::stream_quota::Streams;
use crate::health::request_counters::Requests;
use crate::health::snapshot::Figures;
use crate::queues::depths::EndedJobs;
use crate::settings::ApiSettings;
use crate::tasks::total_count::Totals;

/// Everything that the composition root passes to the API.
#[derive(Clone)]
pub struct ApiDependencies {
    pub platform: Platform,
    pub settings: Arc<ApiSettings>,
    /// Agents that tasks may name before a worker has reported them.
    pub known_agents: Arc<[KnownAgent]>,
}

/// Shared application state. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct ApiState(Arc<ApplicationState>);

/// The contents of [`ApiState`].
pub(crate) struct ApplicationState {
    pub(crate) platform: Platform,
    pub(crate) settings: Arc<ApiSettings>,
    pub(crate) known_agents: Arc<[KnownAgent]>,
    pub(crate) tail: Tail,
    pub(crate) auth: Arc<Auth>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) agents: AgentCache,
    pub(crate) totals: Totals,
    pub(crate) ended_jobs: EndedJobs,
    pub(crate) requests: Requests,
    pub(crate) figures: Figures,
    pub(crate) streams: Streams,
    /// Cancelled when the server stops.
    pub(crate) stopping: CancellationToken,
}

impl ApiState {
    /// Starts the background parts of the API: the reader of new events and the caches.
    pub(crate) fn start(dependencies: ApiDependencies, stopping: CancellationToken) -> Self {
        let ApiDependencies {
            platform,
            settings,
            known_agents,
        } = dependencies;
        let limits = settings.limits;
        Self(Arc::new(ApplicationState {
            tail: Tail::start(
                platform.database.clone(),
                platform.event_notifier.as_ref(),
                stopping.clone(),
            ),
            agents: AgentCache::new(platform.database.clone(), Arc::clone(&known_agents)),
            totals: Totals::new(),
            ended_jobs: EndedJobs::new(),
            requests: Requests::new(),
            figures: Figures::default(),
            streams: Streams::new(limits.streams_per_caller),
            auth: Auth::new(&settings.auth, limits.requests_per_minute),
            rates: Arc::new(Rates::new(
                limits.requests_per_minute,
                platform.rate_limit.clone(),
            )),
            stopping,
            platform,
            settings,
            known_agents,
        }))
    }
}

impl std::ops::Deref for ApiState {
    type Target = ApplicationState;

    fn deref(&self) -> &ApplicationState {
        &self.0
    }
}
