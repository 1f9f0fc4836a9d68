//! The stages of a task: prepare, run an agent, judge, finish. A worker claims jobs, holds a
//! lease while it works, and leaves rows, events and artifacts behind.

pub mod settings;
pub mod pull_request;
pub mod workspace;
pub mod result;

use std::sync::Arc;

use agents::adapter::AgentAdapter;
use platform::parts::Platform;
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
    _settings: WorkerSettings,
    _platform: Platform,
    _adapters: Vec<Arc<dyn AgentAdapter>>,
    _stop: CancellationToken,
) -> Result<(), WorkerError> {
    Ok(())
}
