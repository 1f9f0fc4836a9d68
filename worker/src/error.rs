//! Error of a worker that cannot start.

/// Error of a worker that cannot start.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct WorkerError {
    /// Attempted operation.
    pub doing: &'static str,
    /// Cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
