//! A job that this worker holds.

use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

use crate::job_context::ClaimedJob;

/// Reason why a job was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    CancelRequested,
    LeaseLost,
    Stopping,
}

/// A job that this worker holds.
pub(super) struct HeldJob {
    pub(super) job: ClaimedJob,
    pub(super) reason: Arc<OnceLock<StopReason>>,
    pub(super) renewed: Instant,
}

impl HeldJob {
    /// Stops the job. The first reason counts.
    pub(super) fn stop(&self, reason: StopReason) {
        let _ = self.reason.set(reason);
        self.job.cancel.cancel();
    }
}
