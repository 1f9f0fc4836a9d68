//! Errors of jobs, and whether a retry can help.

use agents::failure::Cause;
use agents::failure::Failure;
use domain::vocabulary::FailureCause;
use platform::artifacts::ArtifactError;
use platform::queue::lease::FenceError;
use platform::telemetry::chain;
use sea_orm::DbErr;
use source::SourceError;
use std::path::Path;
use std::time::Duration;

/// Error of a job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// The lease is lost. Nothing may be written any more.
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

/// Whether and when a retry may help.
#[derive(Clone, Debug)]
pub(crate) enum Retry {
    Never,
    /// Retry after the delay of the queue.
    Soon,
    /// Retry after this delay.
    After(Duration),
    /// Retry as the agent's failure demands.
    As(Failure),
}

impl Retry {
    /// Returns the least delay before the next attempt, or `None` if there must be none.
    pub(crate) fn wait(&self, attempts: u32, unit: Duration) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Soon => Some(Duration::ZERO),
            Self::After(wait) => Some(*wait),
            Self::As(failure) => Some(failure.backoff(attempts, unit)),
        }
    }
}

impl JobError {
    /// Returns an error of the orchestrator that a retry would meet again.
    pub(crate) fn harness(message: impl Into<String>) -> Self {
        Self::Failed {
            cause: FailureCause::Harness,
            retry: Retry::Never,
            message: message.into(),
            source: None,
        }
    }

    /// Returns the error of a limit that was reached.
    pub(crate) fn budget(message: impl Into<String>) -> Self {
        Self::Failed {
            cause: FailureCause::Budget,
            retry: Retry::Never,
            message: message.into(),
            source: None,
        }
    }

    /// Returns an error of the orchestrator that a retry may avoid.
    pub(crate) fn transient(
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
        Self::transient("a database operation failed", error)
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
        Self::transient("an artifact operation failed", error)
    }
}

impl From<prompts::PromptError> for JobError {
    fn from(error: prompts::PromptError) -> Self {
        Self::harness(chain(&error))
    }
}

impl From<serde_json::Error> for JobError {
    fn from(error: serde_json::Error) -> Self {
        Self::harness(format!("could not parse a stored document: {error}"))
    }
}

impl From<SourceError> for JobError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Cancelled => Self::Cancelled,
            SourceError::Refused(message) => Self::harness(message),
            SourceError::Git { .. } | SourceError::TimedOut { .. } | SourceError::Io { .. } => {
                Self::transient("could not read the repository", error)
            }
        }
    }
}

/// Converts a failure of an agent: its responsible party, and whether a retry may help.
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

/// Returns the error of a failed file operation.
pub(crate) fn io_error(doing: &str, path: &Path, error: std::io::Error) -> JobError {
    JobError::transient(format!("{doing} ({})", path.display()), error)
}
