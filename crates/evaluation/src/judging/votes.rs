//! Votes of judges, and their majority.

use serde::{Deserialize, Serialize};

use crate::claims::Finding;

/// Finding of one judge about one fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    pub judge: String,
    pub model: Option<String>,
    /// `None` if the reply was unreadable, or the judge could not be asked.
    pub finding: Option<Finding>,
}

/// Returns the finding on which more than half of the readable votes agree. Returns `None` without
/// votes.
///
/// Each boolean is counted by itself. A tie counts as no: a claim counts as made, and as right,
/// only if most judges say so.
pub fn majority(votes: &[Option<Finding>]) -> Option<Finding> {
    let read: Vec<Finding> = votes.iter().flatten().copied().collect();
    if read.is_empty() {
        return None;
    }
    let most = |of: fn(&Finding) -> bool| {
        2 * read.iter().filter(|finding| of(finding)).count() > read.len()
    };
    let claimed = most(|finding| finding.claimed);
    Some(Finding {
        claimed,
        value_right: claimed && most(|finding| finding.claimed && finding.value_right),
        abstained: !claimed && most(|finding| finding.abstained),
    })
}
