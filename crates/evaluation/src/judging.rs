//! Judges that are models: their questions, their replies, their votes, and their quality.
//!
//! A judge grades pointwise: one text against atomic facts, three booleans each. An unreadable
//! reply is not a vote, and never a default.

mod limits;
mod votes;
mod battery;
mod families;
mod identity;
mod reply;

pub use battery::{
    BatteryCase, BatteryKind, BatteryResult, BatteryText, Gate, Rate, battery, battery_version,
    gate, jury_findings, run_result, sample_facts,
};
pub use families::{Exclusion, Juror, exclusion, family, same_model};
pub use identity::{aliases, strip_identity};
pub use limits::{FACTS_AT_ONCE, FALSE_ACCEPT_LIMIT, FALSE_REJECT_LIMIT, UNREAD_LIMIT};
pub use reply::{read_reply, reply_schema};
pub use votes::{Vote, majority};

/// Returns a delimiter around a text that a judge reads as data. It is drawn by a seed and does not
/// occur in the text, so that the text cannot end it.
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
