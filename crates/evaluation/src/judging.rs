//! Judges that are models: what they are asked, how their replies are read, how votes are counted,
//! and how good a judge one is.
//!
//! A judge is asked pointwise: one text against atomic facts, three booleans each. A reply that
//! cannot be read is no vote, and never a default.

mod battery;
mod families;
mod identity;
mod reply;

use serde::{Deserialize, Serialize};

use crate::claims::Finding;

pub use battery::{
    BatteryCase, BatteryKind, BatteryResult, BatteryText, Gate, Rate, battery, battery_version,
    gate, jury_findings, run_result, sample_facts,
};
pub use families::{Juror, LeftOut, family, left_out, same_model};
pub use identity::{aliases, strip_identity};
pub use reply::{read_reply, reply_schema};

/// Facts of one request to a judge, also in its battery. More would be cheaper, and would let
/// verdicts lean on each other.
pub const FACTS_AT_ONCE: usize = 8;

/// The share of a battery's wrong claims that a judge may accept and still rank agents.
pub const FALSE_ACCEPT_LIMIT: f64 = 0.05;

/// The share of right claims that it may reject. A judge that rejects everything accepts nothing
/// wrong either: it would measure nothing.
pub const FALSE_REJECT_LIMIT: f64 = 0.2;

/// The share of cases that it may leave without a readable verdict.
pub const UNREAD_LIMIT: f64 = 0.05;

/// What one judge found of one fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    pub judge: String,
    pub model: Option<String>,
    /// None: it could not be read, or the judge could not be asked.
    pub finding: Option<Finding>,
}

/// The finding that more than half of the votes that could be read agree on; none without votes.
///
/// Each boolean is counted by itself. Where they are split evenly the answer is no: a claim counts as
/// made, and as right, only where most judges say so.
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

/// Words around a text that a judge reads as data. They are drawn by a seed and do not stand in the
/// text, so that the text cannot end them.
pub fn fence(text: &str, seed: u64) -> String {
    let mut draw = crate::draw::Draw::new(seed, "fence");
    loop {
        let word: String = (0..16)
            .map(|_| char::from(b'a' + u8::try_from(draw.below(26)).unwrap_or_default()))
            .collect();
        if !text.contains(&word) {
            return word;
        }
    }
}
