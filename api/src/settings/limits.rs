//! Limits per caller and per request.

use std::time::Duration;

use platform::settings::Reader;

/// Limits that protect callers from each other. Where noted, 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// `MAX_BODY_BYTES`, 1 MiB.
    pub body_bytes: usize,
    /// `MAX_RUNS_PER_TASK`, 1000: agents × trials.
    pub runs_per_task: usize,
    /// `MAX_ACTIVE_TASKS`, 1000: of one organisation that have not ended; 0: any number.
    pub active_tasks: u64,
    /// `RATE_LIMIT_PER_MINUTE`, 1200: requests of one caller; 0: any number.
    pub requests_per_minute: u32,
    /// `REQUEST_TIMEOUT_SECONDS`, 30: until the head of an answer.
    pub request_timeout: Duration,
    /// `HEADER_TIMEOUT_SECONDS`, 20: for the head of a request, and between two requests of a
    /// connection.
    pub header_timeout: Duration,
    /// `STALLED_CLIENT_SECONDS`, 60: time after which a client that reads nothing is disconnected.
    pub stalled_client: Duration,
    /// `MAX_CONNECTIONS`, 20000.
    pub connections: usize,
    /// `MAX_STREAMS_PER_CALLER`: open event streams. 0 means no limit. By default
    /// [`Self::STREAMS`], and no limit for the local user.
    pub streams_per_caller: Option<usize>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            runs_per_task: 1000,
            active_tasks: 1000,
            requests_per_minute: 1200,
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(20),
            stalled_client: Duration::from_secs(60),
            connections: 20_000,
            streams_per_caller: None,
        }
    }
}

impl LimitSettings {
    /// Default limit of open event streams: far more than the pages of one person need, and few
    /// enough that no caller can use up all connections.
    pub const STREAMS: usize = 100;

    /// More than an installation has; far more is more than a database or a semaphore counts.
    const MAX_TASKS: u64 = 1_000_000;
    const MAX_CONNECTIONS: usize = 1_000_000;

    /// Reads the settings and reports problems to `reader`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let usual = Self::default();
        let settings = Self {
            body_bytes: reader.parsed("MAX_BODY_BYTES", usual.body_bytes),
            runs_per_task: reader.parsed("MAX_RUNS_PER_TASK", usual.runs_per_task),
            active_tasks: reader.parsed("MAX_ACTIVE_TASKS", usual.active_tasks),
            requests_per_minute: reader.parsed("RATE_LIMIT_PER_MINUTE", usual.requests_per_minute),
            request_timeout: reader.seconds("REQUEST_TIMEOUT_SECONDS", usual.request_timeout),
            header_timeout: reader.seconds("HEADER_TIMEOUT_SECONDS", usual.header_timeout),
            stalled_client: reader.seconds("STALLED_CLIENT_SECONDS", usual.stalled_client),
            connections: reader.parsed("MAX_CONNECTIONS", usual.connections),
            streams_per_caller: reader
                .text("MAX_STREAMS_PER_CALLER")
                .is_some()
                .then(|| reader.parsed("MAX_STREAMS_PER_CALLER", Self::STREAMS)),
        };
        if !(1024..=64 * 1024 * 1024).contains(&settings.body_bytes) {
            reader.refuse("MAX_BODY_BYTES", "must be from 1024 to 67108864");
        }
        if !(1..=100_000).contains(&settings.runs_per_task) {
            reader.refuse("MAX_RUNS_PER_TASK", "must be from 1 to 100000");
        }
        if settings.requests_per_minute > 1_000_000 {
            reader.refuse(
                "RATE_LIMIT_PER_MINUTE",
                "must be at most 1000000; 0 for no limit",
            );
        }
        if settings.active_tasks > Self::MAX_TASKS {
            reader.refuse(
                "MAX_ACTIVE_TASKS",
                "must be at most 1000000; 0 for no limit",
            );
        }
        for (name, span) in [
            ("REQUEST_TIMEOUT_SECONDS", settings.request_timeout),
            ("HEADER_TIMEOUT_SECONDS", settings.header_timeout),
            ("STALLED_CLIENT_SECONDS", settings.stalled_client),
        ] {
            if span < Duration::from_millis(100) {
                reader.refuse(name, "must be at least 0.1");
            }
        }
        if !(1..=Self::MAX_CONNECTIONS).contains(&settings.connections) {
            reader.refuse("MAX_CONNECTIONS", "must be from 1 to 1000000");
        }
        settings
    }
}
