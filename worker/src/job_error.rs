//! Errors of jobs, and whether a retry can help.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use agents::adapter::AgentAdapter;
use agents::failure::Failure;
use agents::sandbox::Sandbox;
use bytes::Bytes;
use domain::vocabulary::{FailureCause, Level};
use entity::{RunId, TaskId, agent_run};
use platform::artifacts::{ArtifactError, Staged};
use platform::connect::Platform;
use platform::events::{Event, NewEvent};
use platform::queue::Notification;
use platform::queue::lease::{FenceError, Lease};
use platform::telemetry::chain;
use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use source::SourceError;
use agents::failure::Cause;
use source::SourceError;

/// Why a stage could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// Nothing may be written any more.
    #[error("the lease is lost")]
    LeaseLost,
    #[error("cancelled")]
    Cancelled,
    #[error("{message}")]
    Failed {
        cause: FailureCause,
        retry: Retry,
        message: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Whether another attempt may help, and when.
#[derive(Clone, Debug)]
pub(crate) enum Retry {
    Never,
    /// After the ledger's own wait.
    Soon,
    /// After this wait.
    After(Duration),
    /// As what failed asks for.
    As(Failure),
}

impl Retry {
    /// The least wait before the next attempt, after so many attempts; none: there is to be none.
    pub(crate) fn wait(&self, attempts: u32, unit: Duration) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Soon => Some(Duration::ZERO),
            Self::After(wait) => Some(*wait),
            Self::As(failure) => Some(failure.wait(attempts, unit)),
        }
    }
}

impl JobError {
    /// A fault of the orchestrator that another attempt will meet again.
    pub(crate) fn harness(message: impl Into<String>) -> Self {
        Self::Failed {
            cause: FailureCause::Harness,
            retry: Retry::Never,
            message: message.into(),
            source: None,
        }
    }

    /// A limit was reached.
    pub(crate) fn budget(message: impl Into<String>) -> Self {
        Self::Failed {
            cause: FailureCause::Budget,
            retry: Retry::Never,
            message: message.into(),
            source: None,
        }
    }

    /// A fault of the orchestrator that may pass.
    pub(crate) fn passing(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            cause: FailureCause::Harness,
            retry: Retry::Soon,
            message: message.into(),
            source: Some(source.into()),
        }
    }
}

impl From<DbErr> for JobError {
    fn from(error: DbErr) -> Self {
        Self::passing("the database did not do what was asked", error)
    }
}

impl From<FenceError> for JobError {
    fn from(error: FenceError) -> Self {
        match error {
            FenceError::LeaseLost { .. } => Self::LeaseLost,
            FenceError::Database(error) => error.into(),
        }
    }
}

impl From<ArtifactError> for JobError {
    fn from(error: ArtifactError) -> Self {
        Self::passing("the artifact store did not do what was asked", error)
    }
}

impl From<prompts::PromptError> for JobError {
    fn from(error: prompts::PromptError) -> Self {
        Self::harness(chain(&error))
    }
}

impl From<serde_json::Error> for JobError {
    fn from(error: serde_json::Error) -> Self {
        Self::harness(format!("a stored document cannot be read: {error}"))
    }
}

impl From<SourceError> for JobError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Cancelled => Self::Cancelled,
            SourceError::Refused(message) => Self::harness(message),
            SourceError::Git { .. } | SourceError::TimedOut { .. } | SourceError::Io { .. } => {
                Self::passing("getting the source failed", error)
            }
        }
    }
}

/// What follows from a failure of an agent.
fn stage_error(failure: &Failure) -> JobError {
    if failure.cause == Cause::Cancelled {
        return JobError::Cancelled;
    }
    let policy = failure.cause.policy();
    JobError::Failed {
        cause: policy.blame,
        retry: if policy.retry {
            Retry::As(failure.clone())
        } else {
            Retry::Never
        },
        message: failure.message.clone(),
        source: None,
    }
}

impl From<Failure> for JobError {
    fn from(failure: Failure) -> Self {
        stage_error(&failure)
    }
}


/// What went wrong with a path.
pub(crate) fn failed(doing: &str, path: &Path, error: std::io::Error) -> JobError {
    JobError::passing(format!("{doing} ({})", path.display()), error)
}
