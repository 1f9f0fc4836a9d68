//! A worker: claims jobs, runs agents, scores their answers, and writes results.
//!
//! A worker holds a lease while it works. Every write on behalf of a job is conditional on the lease,
//! so a worker that lost it changes nothing.

pub mod settings;
pub mod judges;

mod error;
mod host;
mod run_identity;
mod job_error;
mod job_context;
mod material;
mod task_probes;
mod lifecycle;
mod answer_key;
mod run;
mod scoring;
mod jobs;
mod runtime;

use std::sync::Arc;

pub use answer_key::{answer_key, key_of};
pub use error::WorkerError;

use agents::adapter::AgentAdapter;
use platform::connect::Platform;
use tokio_util::sync::CancellationToken;

use settings::WorkerSettings;

/// Runs a worker until `stop` is cancelled, then finishes or releases its jobs within
/// [`WorkerSettings::drain`].
pub async fn run(
    settings: WorkerSettings,
    platform: Platform,
    adapters: Vec<Arc<dyn AgentAdapter>>,
    stop: CancellationToken,
) -> Result<(), WorkerError> {
    runtime::supervise(settings, platform, adapters, stop).await
}
