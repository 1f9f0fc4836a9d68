//! Failures of sessions: one table of causes with their consequences.

use std::time::Duration;

use domain::vocabulary::FailureCause;
use serde::{Deserialize, Serialize};

/// Longest wait before an attempt, whatever a provider asks for: the job holds a lease meanwhile.
const MAX_BACKOFF: Duration = Duration::from_secs(60 * 60);

/// Cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    RateLimited,
    ProviderDown,
    /// The provider refused the key or the model.
    Refused,
    /// The agent's program crashed or broke its protocol.
    AgentCrashed,
    /// A turn took too long, or the program printed nothing for too long.
    TimedOut,
    OutOfBudget,
    /// A fault of the orchestrator, its machine or its setup, such as a program that is not
    /// installed.
    Harness,
    Cancelled,
}

/// A failure of a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub cause: Cause,
    /// Description for people, without secrets and prompts.
    pub message: String,
    /// Time after which the provider accepts another request, if it reported one.
    pub retry_after: Option<Duration>,
}

/// Consequences of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub blame: FailureCause,
    /// Whether another attempt may succeed.
    pub retry: bool,
    /// Wait before the second attempt, in units that the caller chooses. It doubles with each
    /// attempt.
    pub backoff_units: u32,
    /// Whether the run counts as a measurement of the agent.
    pub counts: bool,
}

impl Cause {
    /// Returns the consequences of the cause.
    pub fn policy(self) -> Policy {
        let (blame, retry, backoff_units, counts) = match self {
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
            backoff_units,
            counts,
        }
    }
}

impl Failure {
    /// Creates a failure with its cause and a message for people.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Adds the time after which the provider accepts another request.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self {
            retry_after,
            ..self
        }
    }

    /// Returns the wait before the next attempt, after this number of attempts.
    pub fn backoff(&self, attempts: u32, unit: Duration) -> Duration {
        let doublings = attempts.saturating_sub(1).min(6);
        let backoff = unit
            .saturating_mul(self.cause.policy().backoff_units)
            .saturating_mul(1 << doublings);
        backoff
            .max(self.retry_after.unwrap_or_default())
            .min(MAX_BACKOFF)
    }

    /// Creates a failure of the orchestrator or its machine.
    pub fn harness(message: impl Into<String>) -> Self {
        Self::new(Cause::Harness, message)
    }

    /// Creates the failure of a cancelled session.
    pub fn cancelled() -> Self {
        Self::new(Cause::Cancelled, "cancelled")
    }
}
