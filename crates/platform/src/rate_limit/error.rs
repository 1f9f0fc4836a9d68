//! The error of a rate limit.

/// A request that could not be counted.
#[derive(Debug, thiserror::Error)]
#[error("could not count a request in Redis")]
pub struct RateLimitError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
