//! What happens between two attempts at a job.

use std::time::Duration;

use crate::redaction::Redactor;

/// No attempt waits longer than this for its turn.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// How many characters of an error are kept.
const LONGEST_ERROR: usize = 4000;

/// How long to wait after this attempt: `first` after the first one, doubled after each; `jitter` is a factor about 1.
pub(super) fn backoff(first: Duration, attempt: i32, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(20);
    first
        .min(LONGEST_BACKOFF)
        .saturating_mul(1 << doublings)
        .min(LONGEST_BACKOFF)
        .mul_f64(jitter)
        .min(LONGEST_BACKOFF)
}

/// An error as it may be stored: without secrets and not without end.
pub(super) fn storable(error: &str) -> String {
    Redactor::default()
        .redact(error)
        .chars()
        .take(LONGEST_ERROR)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_and_ends_at_five_minutes() {
        let first = Duration::from_secs(2);
        let seconds = |attempt| backoff(first, attempt, 1.0).as_secs();
        assert_eq!([2, 4, 8, 256, 300, 300], [1, 2, 3, 8, 9, 1000].map(seconds));
        assert_eq!(backoff(first, 9, 1.2), LONGEST_BACKOFF);
        assert_eq!(backoff(first, 1, 0.8), Duration::from_millis(1600));
    }

    #[test]
    fn a_stored_error_is_short_and_holds_no_key() {
        let error = format!("sk-{} {}", "a1B2".repeat(10), "x".repeat(10_000));
        let stored = storable(&error);
        assert!(stored.starts_with("[redacted] x"), "{stored}");
        assert_eq!(stored.chars().count(), LONGEST_ERROR);
    }
}
