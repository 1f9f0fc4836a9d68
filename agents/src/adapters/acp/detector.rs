//! Compactions that nobody reports, seen by the size of the context: the structural detector.

use crate::event::{Compaction, CompactionTrigger, Proof};

/// A context that falls below this share of what it was did not only lose a long answer of a tool:
/// summaries are a tenth of what they replace, and programs keep a third at most.
const SHARE: f64 = 0.5;
/// Smaller contexts rise and fall with every turn.
const LEAST: u64 = 2_000;

/// Whether a fall from one size to another may be a compaction. It is one if the size stays there
/// in a turn that says nothing.
pub(super) fn falls(before: Option<u64>, after: Option<u64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => before >= LEAST && (after as f64) < (before as f64) * SHARE,
        _ => false,
    }
}

/// The compaction that a lasting fall is taken for.
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
    fn only_a_large_fall_of_a_large_context_is_suspicious() {
        assert!(falls(Some(40_000), Some(6_000)));
        assert!(!falls(Some(40_000), Some(21_000)));
        assert!(!falls(Some(1_500), Some(100)));
        assert!(!falls(None, Some(100)));
        assert!(!falls(Some(40_000), None));
        assert!(!falls(Some(6_000), Some(40_000)));
    }
}
