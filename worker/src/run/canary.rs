//! The canary: a random token in a file of the sealed workspace. Only a forbidden read brings it
//! into a program's stream. Every raw line and every answer is searched for it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::job_error::{JobError, io_error};

/// Name of the file with the token. No such file existed before the seal, so no program has a
/// reason of its own to read it.
const FILE: &str = "REVIEW_ANSWERS.md";

/// A token, and whether it was seen.
#[derive(Debug)]
pub(crate) struct Canary {
    token: String,
    /// Whether the file has been written.
    set: AtomicBool,
    seen: AtomicBool,
}

impl Canary {
    /// Creates a token for one attempt of one run.
    pub(crate) fn new() -> Self {
        Self {
            token: format!("canary-{}", uuid::Uuid::new_v4().simple()),
            set: AtomicBool::new(false),
            seen: AtomicBool::new(false),
        }
    }

    /// Writes the file into an emptied workspace.
    pub(crate) async fn write(&self, workspace: &Path) -> Result<(), JobError> {
        let path = workspace.join(FILE);
        let text = format!("# Answers\n\n{}\n", self.token);
        tokio::fs::write(&path, text)
            .await
            .map_err(|error| io_error("writing the canary", &path, error))?;
        self.set.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Searches a program's output for the token.
    pub(crate) fn inspect(&self, written: &[u8]) {
        if !self.set.load(Ordering::Relaxed) {
            return;
        }
        let token = self.token.as_bytes();
        if written.windows(token.len()).any(|part| part == token) {
            self.seen.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether the token was seen, or `None` if the file was never written.
    pub(crate) fn seen(&self) -> Option<bool> {
        self.set
            .load(Ordering::Relaxed)
            .then(|| self.seen.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_seen_only_once_it_is_set_and_only_as_a_whole() {
        let canary = Canary::new();
        let token = canary.token.clone();
        canary.inspect(token.as_bytes());
        assert_eq!(canary.seen(), None);
        let folder = tempfile::tempdir().expect("a folder");
        canary.write(folder.path()).await.expect("a file");
        canary.inspect(&token.as_bytes()[1..]);
        assert_eq!(canary.seen(), Some(false));
        canary.inspect(format!("{{\"text\": \"{token}\"}}").as_bytes());
        assert_eq!(canary.seen(), Some(true));
    }
}
