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

/// Who answers for a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    Provider,
    Agent,
    Harness,
    Cancelled,
    Budget,
}

/// What follows from a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub blame: Blame,
    /// Whether another attempt may end better.
    pub retry: bool,
    /// Whether the run says something about the agent.
    pub counts: bool,
}

impl Cause {
    /// The one table of what follows from each cause.
    pub fn policy(self) -> Policy {
        let (blame, retry, counts) = match self {
            Self::RateLimited | Self::ProviderDown => (Blame::Provider, true, false),
            Self::Refused => (Blame::Provider, false, false),
            Self::AgentCrashed => (Blame::Agent, true, true),
            Self::TimedOut => (Blame::Agent, false, true),
            Self::OutOfBudget => (Blame::Budget, false, false),
            Self::Harness => (Blame::Harness, false, false),
            Self::Cancelled => (Blame::Cancelled, false, false),
        };
        Policy {
            blame,
            retry,
            counts,
        }
    }
}

impl Failure {
    /// A failure with its cause and what to tell people.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
        }
    }

    /// Our own fault, or the machine's.
    pub fn harness(message: impl Into<String>) -> Self {
        Self::new(Cause::Harness, message)
    }

    /// Somebody asked for the end.
    pub fn cancelled() -> Self {
        Self::new(Cause::Cancelled, "cancelled")
    }
}
