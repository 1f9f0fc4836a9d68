//! Size of the context at which a program compacts by itself.

use crate::adapter::SessionSpec;

/// Size of the context at which a program compacts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::adapters) enum CompactionSize {
    Never,
    /// At this number of tokens.
    At(u64),
    /// At the start of the next turn, whatever the size.
    AtOnce,
}

impl CompactionSize {
    /// Returns the size that a session asks for.
    pub(in crate::adapters) fn from_spec(spec: &SessionSpec) -> Self {
        spec.compact_at().map_or(Self::Never, Self::At)
    }
}
