//! Settings of leases and attempts.

use std::time::Duration;

use crate::settings::Reader;

/// Durations and limits of leases and attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `LEASE_SECONDS`, 60: a lease without a renewal expires after this time.
    pub lease: Duration,
    /// `RENEW_SECONDS`, 10: interval between two renewals.
    pub renew: Duration,
    /// `JOB_MAX_ATTEMPTS`, 3.
    pub max_attempts: i32,
    /// `JOB_BACKOFF_SECONDS`, 2: delay before the second attempt. Doubles, with jitter, up to 5
    /// minutes.
    pub backoff: Duration,
    /// `NOTIFY_AGAIN_SECONDS`, 2: time after which the notification of a due job is repeated.
    pub notify_again: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            renew: Duration::from_secs(10),
            max_attempts: 3,
            backoff: Duration::from_secs(2),
            notify_again: Duration::from_secs(2),
        }
    }
}

impl QueueSettings {
    /// Reads `LEASE_SECONDS`, `RENEW_SECONDS`, `JOB_MAX_ATTEMPTS`, `JOB_BACKOFF_SECONDS` and
    /// `NOTIFY_AGAIN_SECONDS`. Problems are collected in `reader`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let defaults = Self::default();
        reader.renamed("RING_AGAIN_SECONDS", "NOTIFY_AGAIN_SECONDS");
        let settings = Self {
            lease: reader.seconds("LEASE_SECONDS", defaults.lease),
            renew: reader.seconds("RENEW_SECONDS", defaults.renew),
            max_attempts: reader.parsed("JOB_MAX_ATTEMPTS", defaults.max_attempts),
            backoff: reader.seconds("JOB_BACKOFF_SECONDS", defaults.backoff),
            notify_again: reader.seconds("NOTIFY_AGAIN_SECONDS", defaults.notify_again),
        };
        if settings.renew.is_zero() || settings.renew * 2 > settings.lease {
            reader.refuse(
                "RENEW_SECONDS",
                "must be more than 0 and at most half of LEASE_SECONDS",
            );
        }
        if settings.max_attempts < 1 {
            reader.refuse("JOB_MAX_ATTEMPTS", "must be at least 1");
        }
        settings
    }
}
