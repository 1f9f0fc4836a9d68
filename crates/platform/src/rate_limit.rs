//! Rate limit shared by all replicas, in Redis.
//!
//! A build without the feature `redis` has the type, but no value of it.

mod error;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
mod unavailable;

pub use error::RateLimitError;
#[cfg(feature = "redis")]
pub use redis::SharedRateLimit;
#[cfg(not(feature = "redis"))]
pub use unavailable::SharedRateLimit;
