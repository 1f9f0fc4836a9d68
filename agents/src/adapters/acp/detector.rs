//! The structural detector: finds compactions that are not reported, by the size of the context.

use crate::event::{Compaction, CompactionTrigger, Proof};

/// Share of its earlier size below which a context must fall. A long tool result alone is smaller:
/// summaries are a tenth of the text that they replace, and programs keep a third at most.
const MAX_SHARE: f64 = 0.5;
/// Smallest context, in tokens, that is checked. Smaller contexts rise and fall with every turn.
const MIN_CONTEXT: u64 = 2_000;

/// Returns whether a fall from one size to another may be a compaction. It is one if the size stays
/// low in a turn without content.
pub(super) fn falls(before: Option<u64>, after: Option<u64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            before >= MIN_CONTEXT && (after as f64) < (before as f64) * MAX_SHARE
        }
        _ => false,
    }
}

/// Returns the compaction that a lasting fall proves.
pub(super) fn structural(
    trigger: CompactionTrigger,
    before: Option<u64>,
    after: Option<u64>,
) -> Compaction {
    Compaction {
        trigger,
        tokens_before: before,
        tokens_after: after,
        summary: None,
        proof: Proof::Structural,
        reinjected: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_fall_of_a_large_context_may_be_a_compaction() {
        assert!(falls(Some(40_000), Some(6_000)));
        assert!(!falls(Some(40_000), Some(21_000)));
        assert!(!falls(Some(1_500), Some(100)));
        assert!(!falls(None, Some(100)));
        assert!(!falls(Some(40_000), None));
        assert!(!falls(Some(6_000), Some(40_000)));
    }
}
