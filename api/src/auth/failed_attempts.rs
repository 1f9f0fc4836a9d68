//! Limit of failed authentications per address.
//!
//! Every guess of a token costs a query, and a guesser has no caller whose requests the rate limit
//! could count. Each process counts for itself. A token that was valid recently is always looked up,
//! because other callers behind the same gateway share its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::http::error::ApiError;

const MINUTE: Duration = Duration::from_secs(60);
/// Largest number of tracked addresses, and of remembered tokens.
const MAX_ENTRIES: usize = 10_000;
/// Time for which a valid token is remembered.
const TOKEN_REMEMBERED: Duration = Duration::from_secs(600);

type AddressLimiter =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// Failed authentications by address, and recently valid tokens.
pub(crate) struct FailedAttempts {
    /// `None` without a limit.
    limit: Option<Limit>,
}

struct Limit {
    failures: AddressLimiter,
    /// Time for one failure to be forgiven.
    interval: Duration,
    /// Addresses without remaining failures, and the time at which they may try again.
    blocked: Cache<IpAddr, Instant>,
    /// Hashes of tokens that were valid recently.
    valid_tokens: Cache<[u8; 32], ()>,
}

impl FailedAttempts {
    /// `per_minute` is the number of failures per address and minute. 0 means no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        let limit = NonZeroU32::new(per_minute).map(|per_minute| {
            let capacity = u64::try_from(MAX_ENTRIES).unwrap_or(u64::MAX);
            let quota = Quota::per_minute(per_minute);
            Limit {
                failures: RateLimiter::keyed(quota).with_middleware(),
                interval: quota.replenish_interval(),
                blocked: Cache::builder()
                    .max_capacity(capacity)
                    .time_to_live(MINUTE)
                    .build(),
                valid_tokens: Cache::builder()
                    .max_capacity(capacity)
                    .time_to_live(TOKEN_REMEMBERED)
                    .build(),
            }
        });
        Self { limit }
    }

    /// Checks whether a token from an address may be looked up.
    ///
    /// # Errors
    /// The address has too many failures, and the token was not valid recently.
    pub(crate) fn check(&self, peer: Option<SocketAddr>, token: &str) -> Result<(), ApiError> {
        let Some(limit) = &self.limit else {
            return Ok(());
        };
        match limit.wait(address(peer)) {
            Some(wait) if !limit.valid_tokens.contains_key(&hash(token)) => {
                Err(ApiError::TooMany(wait))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Remembers that a token is valid.
    pub(crate) fn record_valid(&self, token: &str) {
        if let Some(limit) = &self.limit {
            limit.valid_tokens.insert(hash(token), ());
        }
    }

    /// Counts a failure and returns its error: `error`, or the one for too many failures.
    pub(crate) fn record_failure(&self, peer: Option<SocketAddr>, error: ApiError) -> ApiError {
        let Some(limit) = &self.limit else {
            return error;
        };
        let address = address(peer);
        if limit.failures.len() >= MAX_ENTRIES {
            limit.failures.retain_recent();
            if limit.failures.len() >= MAX_ENTRIES {
                // An attacker with that many addresses cannot be limited by address.
                return error;
            }
        }
        match limit.failures.check_key(&address) {
            Ok(state) => {
                if state.remaining_burst_capacity() == 0 {
                    let until = Instant::now() + limit.interval;
                    limit.blocked.insert(address, until);
                }
                error
            }
            Err(refused) => {
                let wait = refused.wait_time_from(DefaultClock::default().now());
                ApiError::TooMany(wait.max(Duration::from_millis(1)))
            }
        }
    }
}

impl Limit {
    /// Returns the remaining time of a blocked address.
    fn wait(&self, address: IpAddr) -> Option<Duration> {
        let until = self.blocked.get(&address)?;
        let wait = until.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Returns the counted address. An IPv6 client owns its whole /64 network.
fn address(peer: Option<SocketAddr>) -> IpAddr {
    let Some(peer) = peer else {
        return Ipv4Addr::UNSPECIFIED.into();
    };
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: ApiError = ApiError::Unauthorized("wrong");

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_guesser_is_stopped_and_a_valid_token_is_not() {
        let attempts = FailedAttempts::new(3);
        let here = peer("[2001:db8:1:2::1]:1");
        attempts.record_valid("right");
        for _ in 0..3 {
            assert!(attempts.check(here, "guess").is_ok());
            assert!(matches!(
                attempts.record_failure(here, WRONG),
                ApiError::Unauthorized(_)
            ));
        }
        // From everywhere in the same network.
        let near = peer("[2001:db8:1:2:ffff::9]:1");
        let ApiError::TooMany(wait) = attempts.check(near, "guess").unwrap_err() else {
            panic!("another refusal")
        };
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert!(matches!(
            attempts.record_failure(near, WRONG),
            ApiError::TooMany(_)
        ));
        assert!(attempts.check(near, "right").is_ok());
        assert!(attempts.check(peer("[2001:db8:1:3::1]:1"), "guess").is_ok());
    }

    #[test]
    fn nothing_is_counted_without_a_limit() {
        let attempts = FailedAttempts::new(0);
        for _ in 0..10_000 {
            assert!(matches!(
                attempts.record_failure(None, WRONG),
                ApiError::Unauthorized(_)
            ));
        }
        assert!(attempts.check(None, "guess").is_ok());
    }
}
