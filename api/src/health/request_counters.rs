//! Counters of the requests that this process has answered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Labels of a counter. A route is its template, so their number is limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Answered {
    pub(crate) count: u64,
    /// Total time until the response headers.
    pub(crate) took: Duration,
}

/// The requests that were answered.
#[derive(Default)]
pub(crate) struct RequestCounters(Mutex<HashMap<Kind, Answered>>);

impl RequestCounters {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn note(&self, kind: Kind, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = all.entry(kind).or_default();
        answered.count += 1;
        answered.took += took;
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<(Kind, Answered)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all
            .iter()
            .map(|(kind, answered)| (kind.clone(), *answered))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}
