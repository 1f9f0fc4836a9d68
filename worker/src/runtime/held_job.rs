//! A job that this worker holds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use agents::adapter::AgentAdapter;
use agents::sandbox::Report;
use async_trait::async_trait;
use entity::JobId;
use platform::connect::Platform;
use platform::notify::Subscriber;
use platform::queue::Notification;
use platform::queue::lease::{self, Lease};
use platform::telemetry::chain;
use sea_orm::DbErr;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

/// Why a job was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopReason {
    CancelRequested,
    LeaseLost,
    Stopping,
}

/// A job that this worker works on.
struct HeldJob {
    job: Job,
    why: Arc<OnceLock<StopReason>>,
    renewed: Instant,
}

impl HeldJob {
    /// The first reason counts.
    fn stop(&self, why: StopReason) {
        let _ = self.why.set(why);
        self.job.cancel.cancel();
    }
}
