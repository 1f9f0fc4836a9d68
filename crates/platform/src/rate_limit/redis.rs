//! The rate limit in Redis.

use std::time::Duration;

use redis::Script;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use super::error::RateLimitError;
use crate::settings::{ExposeSecret, SecretString};

/// Timeout for counting one request.
const TIMEOUT: Duration = Duration::from_millis(250);

/// The generic cell rate algorithm (ITU-T I.371): one time per caller, at which its bucket is empty
/// again. It uses the clock of Redis, so replicas need no common clock.
const GCRA_SCRIPT: &str = "
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local free = tonumber(redis.call('GET', KEYS[1]) or now)
if free < now then free = now end
local wait = free - now - interval * (burst - 1)
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', free + interval), 'PX', math.ceil((free + interval - now) / 1000) + 1)
return 0
";

/// Counts requests in Redis. Cheap to clone.
#[derive(Clone)]
pub struct SharedRateLimit {
    connection: ConnectionManager,
    prefix: String,
    script: std::sync::Arc<Script>,
}

impl std::fmt::Debug for SharedRateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedRateLimit")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl SharedRateLimit {
    /// Prepares a connection, which is made on first use.
    ///
    /// # Errors
    /// The address is malformed.
    pub fn connect(url: &SecretString, prefix: &str) -> Result<Self, RateLimitError> {
        let client = redis::Client::open(url.expose_secret()).map_err(failed)?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(TIMEOUT))
            .set_connection_timeout(Some(TIMEOUT))
            .set_number_of_retries(0);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, config).map_err(failed)?,
            prefix: prefix.to_owned(),
            script: std::sync::Arc::new(Script::new(GCRA_SCRIPT)),
        })
    }

    /// Counts one request of `key` against `per_minute`, all of which may come in one burst.
    ///
    /// Returns `None` if the request is allowed, otherwise the time until it would be.
    ///
    /// # Errors
    /// Redis does not answer within a quarter of a second.
    pub async fn check(
        &self,
        key: &str,
        per_minute: u32,
    ) -> Result<Option<Duration>, RateLimitError> {
        let interval = 60_000_000 / u64::from(per_minute.max(1));
        let mut connection = self.connection.clone();
        let mut call = self.script.key(format!("{}:rate:{key}", self.prefix));
        call.arg(interval).arg(per_minute.max(1));
        let query = call.invoke_async::<i64>(&mut connection);
        let wait = tokio::time::timeout(TIMEOUT, query)
            .await
            .map_err(failed)?
            .map_err(failed)?;
        Ok(u64::try_from(wait)
            .ok()
            .filter(|wait| *wait > 0)
            .map(Duration::from_micros))
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RateLimitError {
    RateLimitError(error.into())
}
