//! Configuration of the answers: answer key, and memory of summaries.

use std::sync::Arc;

use agents::control::key::AnswerKey;
use futures::future::BoxFuture;

/// Evidence that a summary keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    Everything,
    Nothing,
    /// Keeps each entry with this probability. The draw depends on the seed and the label of the
    /// entry, as for the lossy control.
    Share {
        share: f64,
        seed: u64,
    },
}

/// Function that returns the answer key. It is called at every request.
pub type KeyProvider = Arc<dyn Fn() -> BoxFuture<'static, Option<AnswerKey>> + Send + Sync>;

/// Source of the answer key.
#[derive(Clone)]
pub enum KeySource {
    Fixed(AnswerKey),
    /// A key that is created while the stub runs. `None` until then.
    Provider(KeyProvider),
}

/// Configuration of the answers.
#[derive(Clone)]
pub struct Rules {
    pub key: KeySource,
    pub keep: Keep,
}

impl Rules {
    /// Returns a configuration without an answer key.
    pub fn keeping(keep: Keep) -> Self {
        Self {
            key: KeySource::Fixed(AnswerKey::default()),
            keep,
        }
    }
}
