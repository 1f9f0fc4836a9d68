//! Events inside a turn. They stay in this process and may change with any program.

use serde::{Deserialize, Serialize};

/// Something that an agent did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentEvent {
    /// Text of an answer, possibly a piece of a longer text.
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
    /// A request to the provider was repeated.
    Retry {
        attempt: u32,
        why: String,
    },
    Error {
        message: String,
    },
}

/// A tool call of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: String,
    pub tool: String,
    /// Target of the call, such as a path, for people. Long targets are cut.
    pub target: String,
}

/// Size of the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens in the context.
    pub context: u64,
    /// Tokens that fit into the context, if the program reports it.
    pub window: Option<u64>,
}

/// Trigger of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactionTrigger {
    Auto,
    Manual,
}

/// A compaction that the program proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    pub trigger: CompactionTrigger,
    pub tokens_before: Option<u64>,
    pub tokens_after: Option<u64>,
    /// The summary that replaced the conversation, if the program shows it.
    pub summary: Option<String>,
    /// How the compaction was proved.
    pub proof: Proof,
    /// Parts of the conversation that the program reinjected beside the summary, as far as it shows
    /// them.
    pub reinjected: Vec<Reinjected>,
}

/// Proof of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The program reported it in a place that it uses only for applied compactions.
    Reported,
    /// The program reported nothing, but the size of the context fell sharply and stayed low.
    Structural,
}

/// A part of the conversation that a program reinjected after a compaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reinjected {
    pub kind: ReinjectedKind,
    /// The file that it comes from, if any.
    pub name: Option<String>,
    pub text: String,
}

impl Reinjected {
    /// Returns messages that were kept word for word as one part. Returns `None` if they contain no
    /// text.
    pub fn tail(messages: &[String]) -> Option<Self> {
        let text = messages.join("\n\n");
        (!text.trim().is_empty()).then_some(Self {
            kind: ReinjectedKind::Tail,
            name: None,
            text,
        })
    }
}

/// Source of a reinjected part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReinjectedKind {
    /// A file that was read again from disk at the compaction.
    File,
    /// The end of the conversation, kept word for word.
    Tail,
    /// A memory file of the program.
    Memory,
}
