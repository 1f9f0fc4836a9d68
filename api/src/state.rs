//! Application state that all handlers share.

use std::sync::Arc;

use platform::connect::Platform;
use tokio_util::sync::CancellationToken;

use crate::agents::registry::{AgentCache, KnownAgent};
use crate::auth::Auth;
use crate::auth::rate_limit::RequestRateLimit;
use crate::events::live::LiveEvents;
use crate::events::stream_quota::StreamQuota;
use crate::health::request_counters::RequestCounters;
use crate::health::snapshot::CountsCache;
use crate::queues::depths::JobCounts;
use crate::settings::ApiSettings;
use crate::tasks::total_count::TaskCounts;

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
    pub(crate) live_events: LiveEvents,
    pub(crate) auth: Arc<Auth>,
    pub(crate) rate_limit: Arc<RequestRateLimit>,
    pub(crate) agents: AgentCache,
    pub(crate) task_counts: TaskCounts,
    pub(crate) job_counts: JobCounts,
    pub(crate) request_counters: RequestCounters,
    pub(crate) counts: CountsCache,
    pub(crate) stream_quota: StreamQuota,
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
            live_events: LiveEvents::start(
                platform.database.clone(),
                platform.event_notifier.as_ref(),
                stopping.clone(),
            ),
            agents: AgentCache::new(platform.database.clone(), Arc::clone(&known_agents)),
            task_counts: TaskCounts::new(),
            job_counts: JobCounts::new(),
            request_counters: RequestCounters::new(),
            counts: CountsCache::default(),
            stream_quota: StreamQuota::new(limits.streams_per_caller),
            auth: Auth::new(&settings.auth, limits.requests_per_minute),
            rate_limit: Arc::new(RequestRateLimit::new(
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
