//! What was asked for wrongly, kept apart from what failed: the exit status is 2.

use std::fmt;

/// The program was called with something that it cannot work with. Names what was refused.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}
