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
            Self::As(failure) => Some(failure.backoff(attempts, unit)),
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
        Self::transient("the database did not do what was asked", error)
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
        Self::transient("the artifact store did not do what was asked", error)
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
                Self::transient("getting the source failed", error)
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
pub(crate) fn io_error(doing: &str, path: &Path, error: std::io::Error) -> JobError {
    JobError::transient(format!("{doing} ({})", path.display()), error)
}
