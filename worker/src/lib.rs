//! The stages of a task: prepare, run an agent, judge, finish. A worker claims jobs, holds a
//! lease while it works, and leaves rows, events and artifacts behind.

pub mod settings;
pub mod judges;

mod material;
mod estimate;
mod redacted_probes;
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
