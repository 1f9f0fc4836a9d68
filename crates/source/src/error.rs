//! Errors of reading a repository or a forge.

/// Error of reading a repository or a forge.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The request is not allowed or not possible. Retrying does not help.
    #[error("{0}")]
    Refused(String),
    /// git failed. Retrying may help.
    #[error("git {action} failed: {message}")]
    Git {
        /// Subcommand of git.
        action: &'static str,
        /// Error output of git, without credentials.
        message: String,
    },
    /// git exceeded `GIT_TIMEOUT_SECONDS`.
    #[error("git {action} took longer than {seconds} s")]
    TimedOut {
        /// Subcommand of git.
        action: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// A file or process operation failed.
    #[error("{doing}")]
    Io {
        /// Attempted operation.
        doing: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
}

impl SourceError {
    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            doing: doing.into(),
            source,
        }
    }
}
