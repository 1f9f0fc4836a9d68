//! The rate limit of a build without Redis.

use std::convert::Infallible;
use std::time::Duration;

use super::error::RateLimitError;

/// A shared rate limit. It cannot exist without Redis.
#[derive(Clone, Debug)]
pub struct SharedRateLimit(Infallible);

impl SharedRateLimit {
    /// Never called, because there is no value of the type.
    #[expect(clippy::unused_async, reason = "the signature of the limit in Redis")]
    pub async fn check(&self, _: &str, _: u32) -> Result<Option<Duration>, RateLimitError> {
        match self.0 {}
    }
}
