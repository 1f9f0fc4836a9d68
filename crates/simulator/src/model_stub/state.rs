//! State of a running stub.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::configuration::Rules;
use super::faults::Fault;
use super::recorded::Recorded;

/// State that the server and its owner share.
pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) key: String,
    recorded: Mutex<Vec<Recorded>>,
    faults: Mutex<Option<(Fault, usize)>>,
}

impl State {
    pub(super) fn new(rules: Rules, key: String) -> Self {
        Self {
            rules,
            key,
            recorded: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub(super) fn recorded(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Option<(Fault, usize)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
