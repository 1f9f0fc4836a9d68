//! A job that this worker holds.

use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

use crate::job_context::ClaimedJob;

/// Why a job was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    CancelRequested,
    LeaseLost,
    Stopping,
}

/// A job that this worker works on.
pub(super) struct HeldJob {
    pub(super) job: ClaimedJob,
    pub(super) reason: Arc<OnceLock<StopReason>>,
    pub(super) renewed: Instant,
}

impl HeldJob {
    /// The first reason counts.
    pub(super) fn stop(&self, reason: StopReason) {
        let _ = self.reason.set(reason);
        self.job.cancel.cancel();
    }
}
