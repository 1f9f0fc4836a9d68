//! Counts proofs that were refused, by the address they came from: every guess at a token costs a look
//! into the database, and nobody who guesses is a caller whose requests could be counted.
//!
//! Counted in this process. What gives a right proof is never refused for what others behind the same
//! gateway do: a token that was good lately is always looked up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::http::error::ApiError;

const MINUTE: Duration = Duration::from_secs(60);
/// So many addresses, and so many tokens, are remembered at most.
const MOST: usize = 10_000;
/// How long a token counts as one that was good lately.
const LATELY: Duration = Duration::from_secs(600);

/// What is remembered.
pub(crate) struct Refusals {
    per_minute: u32,
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    /// When each address has paid for what it did.
    paid: HashMap<IpAddr, Instant>,
    /// Tokens that were good, by their hash.
    good: HashMap<[u8; 32], Instant>,
}

impl Refusals {
    /// 0 per minute: they are not counted.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            remembered: Mutex::default(),
        }
    }

    /// Whether a token from an address may be looked up.
    ///
    /// # Errors
    /// Too many were refused that came from there, and this one is not known.
    pub(crate) fn may_try(&self, peer: Option<SocketAddr>, token: &str) -> Result<(), ApiError> {
        let now = Instant::now();
        let remembered = self.remembered();
        let Some(wait) = self.wait(&remembered, address(peer), now) else {
            return Ok(());
        };
        let good = remembered.good.get(&hash(token));
        if good.is_some_and(|at| now - *at < LATELY) {
            return Ok(());
        }
        Err(ApiError::TooMany(wait))
    }

    /// Remembers that a token is good.
    pub(crate) fn was_good(&self, token: &str) {
        if self.per_minute == 0 {
            return;
        }
        let now = Instant::now();
        let mut remembered = self.remembered();
        if remembered.good.len() >= MOST {
            remembered.good.retain(|_, at| now - *at < LATELY);
        }
        if remembered.good.len() < MOST {
            remembered.good.insert(hash(token), now);
        }
    }

    /// Counts a proof that was refused, and says how: beyond the limit it is one too many.
    pub(crate) fn refuse(&self, peer: Option<SocketAddr>, why: ApiError) -> ApiError {
        if self.per_minute == 0 {
            return why;
        }
        let now = Instant::now();
        let address = address(peer);
        let mut remembered = self.remembered();
        if let Some(wait) = self.wait(&remembered, address, now) {
            return ApiError::TooMany(wait);
        }
        if remembered.paid.len() >= MOST {
            remembered.paid.retain(|_, paid| *paid > now);
        }
        // Whoever comes from that many addresses at once cannot be counted by address.
        if remembered.paid.len() < MOST || remembered.paid.contains_key(&address) {
            let paid = remembered.paid.entry(address).or_insert(now);
            *paid = (*paid).max(now) + MINUTE / self.per_minute;
        }
        why
    }

    /// How long an address that has used everything up has to wait.
    fn wait(&self, remembered: &Remembered, address: IpAddr, now: Instant) -> Option<Duration> {
        if self.per_minute == 0 {
            return None;
        }
        let paid = remembered.paid.get(&address)?;
        let free = MINUTE - MINUTE / self.per_minute;
        let owed = paid.saturating_duration_since(now);
        (owed > free).then(|| owed - free)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Of IPv6 the network: whoever has one address has all of it.
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
    fn who_guesses_is_stopped_and_who_was_right_is_not() {
        let refusals = Refusals::new(3);
        let here = peer("[2001:db8:1:2::1]:1");
        refusals.was_good("right");
        for _ in 0..3 {
            assert!(refusals.may_try(here, "guess").is_ok());
            assert!(matches!(
                refusals.refuse(here, WRONG),
                ApiError::Unauthorized(_)
            ));
        }
        // From everywhere in the same network.
        let near = peer("[2001:db8:1:2:ffff::9]:1");
        let ApiError::TooMany(wait) = refusals.may_try(near, "guess").unwrap_err() else {
            panic!("another refusal")
        };
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert!(matches!(refusals.refuse(near, WRONG), ApiError::TooMany(_)));
        assert!(refusals.may_try(near, "right").is_ok());
        assert!(
            refusals
                .may_try(peer("[2001:db8:1:3::1]:1"), "guess")
                .is_ok()
        );
    }

    #[test]
    fn nothing_is_counted_where_nothing_is_limited() {
        let refusals = Refusals::new(0);
        for _ in 0..10_000 {
            assert!(matches!(
                refusals.refuse(None, WRONG),
                ApiError::Unauthorized(_)
            ));
        }
        assert!(refusals.may_try(None, "guess").is_ok());
    }
}
