//! Counts requests of callers where all replicas see it: in Redis.

use std::time::Duration;

use redis::Script;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use crate::settings::Secret;

/// How long a request may wait to be counted.
const PATIENCE: Duration = Duration::from_millis(250);

/// The generic cell rate algorithm: one time per caller, the one at which its bucket is empty again.
/// Redis's own clock counts, so that replicas need not agree on theirs.
const TAKE: &str = "
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

/// Counts in Redis. Cheap to clone.
#[derive(Clone)]
pub struct SharedRates {
    connection: ConnectionManager,
    prefix: String,
    take: std::sync::Arc<Script>,
}

impl std::fmt::Debug for SharedRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedRates")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl SharedRates {
    /// Connects when it is first used. Only a malformed address is an error.
    pub fn connect(url: &Secret, prefix: &str) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(url.expose())?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(PATIENCE))
            .set_connection_timeout(Some(PATIENCE))
            .set_number_of_retries(0);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, config)?,
            prefix: prefix.to_owned(),
            take: std::sync::Arc::new(Script::new(TAKE)),
        })
    }

    /// Takes one of `per_minute` for `key`, all of which may be taken at once. Some: it is refused,
    /// and may be had after this wait.
    ///
    /// # Errors
    /// Redis does not answer within a quarter of a second.
    pub async fn take(
        &self,
        key: &str,
        per_minute: u32,
    ) -> Result<Option<Duration>, redis::RedisError> {
        let interval = 60_000_000 / u64::from(per_minute.max(1));
        let mut connection = self.connection.clone();
        let mut call = self.take.key(format!("{}:rate:{key}", self.prefix));
        call.arg(interval).arg(per_minute.max(1));
        let asked = call.invoke_async::<i64>(&mut connection);
        let wait = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(wait) => wait?,
            Err(_) => {
                return Err(redis::RedisError::from(std::io::Error::from(
                    std::io::ErrorKind::TimedOut,
                )));
            }
        };
        Ok(u64::try_from(wait)
            .ok()
            .filter(|wait| *wait > 0)
            .map(Duration::from_micros))
    }
}
