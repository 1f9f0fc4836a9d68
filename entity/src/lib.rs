//! The tables of the database, one file each.
//!
//! An entity knows its columns and its scoping rule. It does no I/O.

#[macro_use]
mod relations;
pub mod task;
pub mod agent_run;
pub mod probe;
pub mod answer;
pub mod score;
pub mod recall;
pub mod judging;
pub mod artifact;
pub mod task_event;
pub mod job;
pub mod worker;
pub mod api_token;
pub mod webhook;
pub mod webhook_delivery;
pub mod audit_event;

pub use domain::{
    AnswerId, ArtifactId, AuditId, DeliveryId, JobId, JudgingId, ProbeId, RecallId, RunId, ScoreId,
    TaskId, TokenId, WebhookId,
};
