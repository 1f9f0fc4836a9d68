//! Everything that two processes must agree on, and nothing else: settings, log format, redaction,
//! database connection, job queue, notifications, event log, webhooks, rate limit, artifact store.
//!
//! Each module may use the modules above it in the list below, and none of those after it.

pub mod features;
pub mod settings;
pub mod telemetry;
pub mod redaction;
pub mod http_client;
pub mod database;
pub mod queue;
pub mod notify;
pub mod events;
pub mod webhooks;
pub mod rate_limit;
pub mod artifacts;
pub mod connect;
