//! Rate limit of requests per caller.
//!
//! Redis counts for all replicas, if it is configured. Without it, and while it does not respond,
//! each process counts for itself.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::vocabulary::ActorKind;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use platform::rate_limit::SharedRateLimit;
use platform::telemetry::chain;

use crate::caller::Caller;
use crate::http::error::ApiError;

/// Number of requests between two removals of idle callers.
const CLEANUP_INTERVAL: u32 = 10_000;
/// Files of a task are fetched one by one; they are not counted, as before.
const ARTIFACTS_PATH: &str = "/api/v1/artifacts/";

/// Counts.
pub(crate) struct RequestRateLimit {
    per_minute: u32,
    local: Option<DefaultKeyedRateLimiter<String>>,
    shared: Option<SharedRateLimit>,
    counted: AtomicU32,
}

impl RequestRateLimit {
    /// 0 per minute: no limit.
    pub(crate) fn new(per_minute: u32, shared: Option<SharedRateLimit>) -> Self {
        let quota = NonZeroU32::new(per_minute).map(Quota::per_minute);
        Self {
            per_minute,
            local: quota.map(RateLimiter::keyed),
            shared,
            counted: AtomicU32::new(0),
        }
    }

    /// Counts a request of a caller.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        peer: Option<SocketAddr>,
        path: &str,
    ) -> Result<(), ApiError> {
        let Some(local) = &self.local else {
            return Ok(());
        };
        if is_file(path) {
            return Ok(());
        }
        let key = key(caller, peer);
        if let Some(shared) = &self.shared {
            match shared.check(&key, self.per_minute).await {
                Ok(None) => return Ok(()),
                Ok(Some(wait)) => return Err(ApiError::TooMany(wait)),
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "Redis does not respond; counting requests in this process"
                    );
                }
            }
        }
        if self.counted.fetch_add(1, Ordering::Relaxed) % CLEANUP_INTERVAL == CLEANUP_INTERVAL - 1 {
            local.retain_recent();
        }
        local.check_key(&key).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            ApiError::TooMany(wait.max(Duration::from_millis(1)))
        })
    }
}

/// Whether a path leads to files that are not counted: all but bundles, which are all files of a task at
/// once.
fn is_file(path: &str) -> bool {
    path.strip_prefix(ARTIFACTS_PATH).is_some_and(|rest| {
        let mut parts = rest.split('/').filter(|part| !part.is_empty()).skip(1);
        (parts.next(), parts.next()) != (Some("bundle"), None)
    })
}

/// Returns the key that identifies a caller. Forwarded addresses are ignored, because clients can
/// forge them.
fn key(caller: &Caller, peer: Option<SocketAddr>) -> String {
    let id = caller.id.as_deref().unwrap_or_default();
    match caller.kind {
        ActorKind::Token => format!("token:{id}"),
        ActorKind::User => format!("user:{}:{id}", caller.org),
        ActorKind::Local | ActorKind::System => match peer {
            Some(peer) => format!("peer:{}", peer.ip().to_canonical()),
            None => "local".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_artifacts_only_bundles_are_counted() {
        assert!(is_file("/api/v1/artifacts/id/list"));
        assert!(is_file("/api/v1/artifacts/id/claude/transcript"));
        assert!(is_file("/api/v1/artifacts/id/task/bundle"));
        for counted in [
            "/api/v1/artifacts/id/bundle",
            "/api/v1/artifacts/id/bundle/",
            "/api/v1/artifacts/id//bundle",
            "/api/v1/tasks/a/b/c",
        ] {
            assert!(!is_file(counted), "{counted}");
        }
    }
}
