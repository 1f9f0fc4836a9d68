//! What happens inside a turn. In-process only: it may change with any program.

use serde::{Deserialize, Serialize};

/// Something an agent did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentEvent {
    /// It said something; possibly a piece of a longer text.
    Text {
        text: String,
    },
    ToolCall(ToolCall),
    ToolResult {
        id: String,
        is_error: bool,
        bytes: u64,
    },
    Usage(Usage),
    Compacted(Compaction),
    /// The provider was asked again.
    Retry {
        attempt: u32,
        why: String,
    },
    Error {
        message: String,
    },
}

/// The agent used a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: String,
    pub tool: String,
    /// What it was used on, for people; cut to a sensible length.
    pub target: String,
}

/// How full the context is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens in the context.
    pub context: u64,
    /// Tokens that fit, where the program tells.
    pub window: Option<u64>,
}

/// What brought a compaction about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactionTrigger {
    Auto,
    Manual,
}

/// The program's own proof that it compacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    pub trigger: CompactionTrigger,
    pub tokens_before: Option<u64>,
    pub tokens_after: Option<u64>,
    /// What it kept, where the program shows it.
    pub summary: Option<String>,
    /// How we know.
    pub proof: Proof,
    /// What the program put back beside the summary, as far as it can be seen.
    pub reinjected: Vec<Reinjected>,
}

/// How a compaction is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The program says so, in a place where it says so only of a compaction that was applied.
    Reported,
    /// The program says nothing; the size of the context fell by much, and stayed there.
    Structural,
}

/// Something of the conversation that a program put back after a compaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reinjected {
    pub kind: ReinjectedKind,
    /// The file it is from, where it is from one.
    pub name: Option<String>,
    pub text: String,
}

/// Where something that was put back comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReinjectedKind {
    /// A file, read again from the disk at the compaction.
    File,
    /// The end of the conversation, kept word for word.
    Tail,
    /// A memory file of the program.
    Memory,
}
