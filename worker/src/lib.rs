//! The stages of a task: prepare, run an agent, judge, finish. A worker claims jobs, holds a
//! lease while it works, and leaves rows, events and artifacts behind.

pub mod settings;
pub mod judges;

mod material;
mod estimate;
mod unstorable;
mod presence;
mod job;
mod events;
mod answer_key;
mod phases;
mod stages;
mod supervisor;

use std::sync::Arc;

pub use answer_key::{answer_key, key_of};

use agents::adapter::AgentAdapter;
use platform::connect::Platform;
use tokio_util::sync::CancellationToken;

use settings::WorkerSettings;

/// Why a worker could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct WorkerError {
    /// What was being attempted.
    pub doing: &'static str,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Runs a worker until `stop`, then finishes or hands back what it holds within
/// [`WorkerSettings::drain`].
pub async fn run(
    settings: WorkerSettings,
    platform: Platform,
    adapters: Vec<Arc<dyn AgentAdapter>>,
    stop: CancellationToken,
) -> Result<(), WorkerError> {
    supervisor::supervise(settings, platform, adapters, stop).await
}

/// The name of this machine, as far as it has one.
fn host() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown".to_owned())
}
