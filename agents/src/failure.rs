//! Why a session could not go on: one table of causes, and what follows from each.

use serde::{Deserialize, Serialize};

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    RateLimited,
    ProviderDown,
    /// The provider refused the key or the model.
    Refused,
    /// The agent's program ended or spoke in a way that is its own fault.
    AgentCrashed,
    /// A turn took too long, or nothing was heard for too long.
    TimedOut,
    OutOfBudget,
    /// The orchestrator, its machine, a program that is not installed.
    Harness,
    Cancelled,
}

/// A failure of a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub cause: Cause,
    /// What happened, for people: no secrets, no prompts.
    pub message: String,
}
