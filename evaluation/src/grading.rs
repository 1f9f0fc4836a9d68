//! Grades an answer by its probe's rule. No model, no tolerance that is not written down here.

use serde::{Deserialize, Serialize};

use crate::probe::Grader;

/// The name under which these grades are stored.
pub const GRADER: &str = "deterministic/1";

/// What an agent says when it does not know.
pub const ABSTENTION: &str = "I don't recall";

/// What an agent says of a fact that was taken back without a new value.
pub const WITHDRAWN: &str = "withdrawn";

/// How an answer was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Right,
    Partial,
    Wrong,
    /// Gave a value that a later turn had replaced.
    Stale,
    /// Said that it does not know.
    Abstained,
    /// There is no answer in the reply that could be read.
    Unreadable,
}

/// The grade of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// In `[0, 1]`.
    pub value: f64,
    pub verdict: Verdict,
}

/// Grades the reply of an agent.
///
/// The answer is what follows the last `ANSWER:` of the reply; a reply of one line without it is
/// taken whole; anything else is [`Verdict::Unreadable`].
pub fn grade(_grader: &Grader, _reply: &str) -> Grade {
    Grade {
        value: 0.0,
        verdict: Verdict::Unreadable,
    }
}
