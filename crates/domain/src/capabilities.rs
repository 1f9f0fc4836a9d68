//! Capabilities of agents.

use serde::{Deserialize, Serialize};

/// Capabilities of an agent. A capability that is not stated is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Capabilities {
    /// Can copy a conversation. Without it, the baseline is taken from a split.
    pub fork: bool,
    /// Has a compact command that works without a terminal.
    pub manual_compaction: bool,
    /// Compacts by itself when its context is full.
    pub auto_compaction: bool,
    /// Can be made to compact by itself at a chosen turn, by lowering its threshold.
    pub forced_compaction: bool,
    /// Can continue from a checkpoint in another process.
    pub resume: bool,
    /// Reports the size of its context.
    pub usage: bool,
    /// Offers no tools to its model while it is sealed. Without it, the seal depends on the sandbox
    /// and on refused permissions.
    pub tools_off: bool,
}

impl Capabilities {
    /// Every capability.
    pub const ALL: Self = Self {
        fork: true,
        manual_compaction: true,
        auto_compaction: true,
        forced_compaction: true,
        resume: true,
        usage: true,
        tools_off: true,
    };
}
