//! Words that every crate shares: ids, closed vocabularies, token counts and costs.
//!
//! Each type is defined once. The features `sea-orm`, `utoipa` and `schemars` add the derives that
//! the database, the API and the JSON schemas need, so that crates without them stay light.

pub mod id;
pub mod vocabulary;
pub mod usage;
pub mod capabilities;
pub mod pull_request;
pub mod shipped_agents;
mod pull_request_source;

pub use capabilities::Capabilities;
pub use id::{
    AnswerId, ArtifactId, AuditId, DeliveryId, JobId, JudgingId, ProbeId, RecallId, RunId, ScoreId,
    TaskId, TokenId, WebhookId,
};
pub use pull_request_source::PullRequestSource;
pub use usage::{Cost, Tokens};
