//! What two processes must agree on, and nothing else: how a setting is read, how a log line
//! looks, the connection, redaction, the ledger, the doorbell, the event log, the artifact store.
//!
//! Inner order; each module may use those above it, none below.

pub mod settings;
pub mod telemetry;
pub mod redaction;
pub mod database;
pub mod jobs;
pub mod doorbell;
pub mod events;
pub mod webhooks;
pub mod rates;
pub mod artifacts;
pub mod parts;
