//! Kinds of questions and the dimensions that they measure.

use domain::vocabulary::Dimension;

use crate::probe::ProbeKind;

/// Returns the dimension that a kind of question measures.
pub(super) fn dimension_of(kind: ProbeKind) -> Dimension {
    match kind {
        ProbeKind::ChangedFiles
        | ProbeKind::SymbolFile
        | ProbeKind::SymbolSignature
        | ProbeKind::ConstantValue
        | ProbeKind::CoveringTest
        | ProbeKind::FileStatus => Dimension::Ar,
        ProbeKind::HunkLabel | ProbeKind::TaughtRule => Dimension::Ttl,
        ProbeKind::SymbolUsers
        | ProbeKind::FlowOrder
        | ProbeKind::ChangeTogether
        | ProbeKind::BehaviourHunk => Dimension::Lru,
        ProbeKind::CorrectedFact | ProbeKind::RetractedFact => Dimension::Sf,
    }
}
