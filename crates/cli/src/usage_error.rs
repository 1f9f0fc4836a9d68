//! Usage errors. Their exit status is 2, that of other failures is 1.

use std::fmt;

/// The program was called with an invalid argument, which the message names.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}
