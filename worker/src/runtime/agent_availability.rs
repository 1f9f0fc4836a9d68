//! Cached detection of installed agents. Detection starts their programs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agents::adapter::{AgentAdapter, Presence, Profile};
use serde::Serialize;
use tokio::sync::Mutex;

/// Lifetime of a cached result. A user may install an agent while the worker runs.
const CACHE_TIME: Duration = Duration::from_secs(300);

/// Detection results by agent.
#[derive(Default)]
pub(crate) struct AgentAvailability {
    detected: Mutex<HashMap<String, (Instant, Presence)>>,
}

/// One agent in a worker's row.
#[derive(Serialize)]
pub(crate) struct AgentStatus {
    #[serde(flatten)]
    profile: Profile,
    available: bool,
    version: Option<String>,
    program: Option<String>,
    /// Reason why it is not available.
    problem: Option<String>,
    /// Instruction that makes it available.
    fix: Option<String>,
}

impl AgentAvailability {
    /// Returns whether an agent is installed, and detects it again if the cached result is old.
    pub(crate) async fn check(&self, adapter: &Arc<dyn AgentAdapter>) -> Presence {
        let name = &adapter.profile().name;
        if let Some((at, presence)) = self.detected.lock().await.get(name)
            && at.elapsed() < CACHE_TIME
        {
            return presence.clone();
        }
        let presence = adapter.probe().await;
        self.detected
            .lock()
            .await
            .insert(name.clone(), (Instant::now(), presence.clone()));
        presence
    }

    /// Returns the status of all agents, as other processes read it.
    pub(crate) async fn check_all(&self, adapters: &[Arc<dyn AgentAdapter>]) -> Vec<AgentStatus> {
        let all = adapters.iter().map(|adapter| self.check(adapter));
        let presences = futures::future::join_all(all).await;
        adapters
            .iter()
            .zip(presences)
            .map(|(adapter, presence)| {
                let profile = adapter.profile().clone();
                match presence {
                    Presence::Installed { version, program } => AgentStatus {
                        profile,
                        available: true,
                        version: Some(version),
                        program: Some(program),
                        problem: None,
                        fix: None,
                    },
                    Presence::Missing { why, fix } => AgentStatus {
                        profile,
                        available: false,
                        version: None,
                        program: None,
                        problem: Some(why),
                        fix: Some(fix),
                    },
                }
            })
            .collect()
    }
}
