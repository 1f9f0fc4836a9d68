//! Delay between two attempts at a job, and the error that is stored.

use std::time::Duration;

use crate::redaction::Redactor;

/// Upper bound of the backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// Characters of an error that are stored.
const MAX_ERROR_CHARS: usize = 4000;

/// Returns the delay after an attempt: `first` after the first one, doubled after each.
///
/// `jitter` is a factor close to 1.
pub(super) fn backoff(first: Duration, attempt: i32, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(20);
    first
        .min(MAX_BACKOFF)
        .saturating_mul(1 << doublings)
        .min(MAX_BACKOFF)
        .mul_f64(jitter)
        .min(MAX_BACKOFF)
}

/// Returns an error text that may be stored: redacted and truncated.
pub(super) fn storable_error(error: &str) -> String {
    Redactor::default()
        .redact(error)
        .chars()
        .take(MAX_ERROR_CHARS)
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
        assert_eq!(backoff(first, 9, 1.2), MAX_BACKOFF);
        assert_eq!(backoff(first, 1, 0.8), Duration::from_millis(1600));
    }

    #[test]
    fn a_stored_error_is_short_and_holds_no_key() {
        let error = format!("sk-{} {}", "a1B2".repeat(10), "x".repeat(10_000));
        let stored = storable_error(&error);
        assert!(stored.starts_with("[redacted] x"), "{stored}");
        assert_eq!(stored.chars().count(), MAX_ERROR_CHARS);
    }
}
