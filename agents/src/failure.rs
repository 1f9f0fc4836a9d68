//! Why a session could not go on: one table of causes, and what follows from each.

use std::time::Duration;

use domain::vocabulary::FailureCause;
use serde::{Deserialize, Serialize};

/// No attempt waits longer, whatever a provider asks for: a lease of a queue is not for sale.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

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
    /// How long the provider asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// What follows from a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub blame: FailureCause,
    /// Whether another attempt may end better.
    pub retry: bool,
    /// How long to wait before the second attempt, in units that the caller chooses; each further
    /// one waits twice as long.
    pub wait: u32,
    /// Whether the run says something about the agent.
    pub counts: bool,
}

impl Cause {
    /// The one table of what follows from each cause.
    pub fn policy(self) -> Policy {
        let (blame, retry, wait, counts) = match self {
            Self::RateLimited => (FailureCause::Provider, true, 4, false),
            Self::ProviderDown => (FailureCause::Provider, true, 1, false),
            Self::Refused => (FailureCause::Provider, false, 0, false),
            Self::AgentCrashed => (FailureCause::Agent, true, 0, true),
            Self::TimedOut => (FailureCause::Agent, false, 0, true),
            Self::OutOfBudget => (FailureCause::Budget, false, 0, false),
            Self::Harness => (FailureCause::Harness, false, 0, false),
            Self::Cancelled => (FailureCause::Cancelled, false, 0, false),
        };
        Policy {
            blame,
            retry,
            wait,
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
            retry_after: None,
        }
    }

    /// The same, with the time for which the provider asked to be left alone.
    #[must_use]
    pub fn after(self, retry_after: Option<Duration>) -> Self {
        Self {
            retry_after,
            ..self
        }
    }

    /// How long to wait before the next attempt, after so many attempts.
    pub fn wait(&self, attempts: u32, unit: Duration) -> Duration {
        let doublings = attempts.saturating_sub(1).min(6);
        let wait = unit
            .saturating_mul(self.cause.policy().wait)
            .saturating_mul(1 << doublings);
        wait.max(self.retry_after.unwrap_or_default())
            .min(LONGEST_WAIT)
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
