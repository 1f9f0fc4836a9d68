//! Lines that a control agent writes.

use serde::{Deserialize, Serialize};

/// One line of a control's standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum WireEvent {
    /// First line of a turn.
    Init {
        session: String,
        version: String,
    },
    Text {
        text: String,
    },
    ToolCall {
        id: String,
        tool: String,
        target: String,
    },
    ToolResult {
        id: String,
        is_error: bool,
        bytes: u64,
    },
    Compacted {
        trigger: WireTrigger,
        tokens_before: u64,
        tokens_after: u64,
        summary: String,
    },
    Usage {
        context: u64,
        window: u64,
    },
    /// Last line of a turn.
    Result {
        is_error: bool,
        message: Option<String>,
    },
    /// A kind that this version does not support.
    #[serde(other)]
    Other,
}

/// Trigger of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireTrigger {
    Auto,
    Manual,
}
