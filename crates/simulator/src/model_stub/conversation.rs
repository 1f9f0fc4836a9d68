//! What a model is asked, whichever protocol it came by.

use serde::Serialize;
use serde_json::Value;

/// Whose words a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
    /// What a tool answered.
    Tool,
}

/// One piece of a conversation: text, or the result of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    pub role: Role,
    pub text: String,
}

/// A piece of a conversation as the rules read it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    Text {
        role: Role,
        text: String,
    },
    /// The model used a tool.
    Call {
        args: Value,
    },
    /// The tool answered.
    Result {
        text: String,
    },
}

/// A tool that is offered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    pub(super) name: String,
    /// The JSON schema of its arguments.
    pub(super) schema: Value,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conversation {
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) system: String,
    pub(super) blocks: Vec<Block>,
    pub(super) tools: Vec<Tool>,
}

impl Conversation {
    /// The last thing that a user said: not what a program puts beside it in brackets of its own.
    pub(super) fn prompt(&self) -> Option<(usize, &str)> {
        self.blocks
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, block)| match block {
                Block::Text {
                    role: Role::User,
                    text,
                } if !is_aside(text) => Some((at, text.as_str())),
                Block::Text { .. } | Block::Call { .. } | Block::Result { .. } => None,
            })
    }

    /// Everything that can be read in it, apart from one block.
    pub(super) fn texts_without(&self, left_out: Option<usize>) -> impl Iterator<Item = &str> {
        let blocks = self
            .blocks
            .iter()
            .enumerate()
            .filter(move |(at, _)| Some(*at) != left_out)
            .filter_map(|(_, block)| match block {
                Block::Text { text, .. } | Block::Result { text } => Some(text.as_str()),
                Block::Call { .. } => None,
            });
        std::iter::once(self.system.as_str()).chain(blocks)
    }

    /// As it is shown to tests.
    pub(super) fn messages(&self) -> Vec<Message> {
        self.blocks
            .iter()
            .map(|block| match block {
                Block::Text { role, text } => Message {
                    role: *role,
                    text: text.clone(),
                },
                Block::Call { args } => Message {
                    role: Role::Assistant,
                    text: args.to_string(),
                },
                Block::Result { text } => Message {
                    role: Role::Tool,
                    text: text.clone(),
                },
            })
            .collect()
    }
}

/// Whether a text of a user's message was put there by the program: Claude Code and Gemini CLI
/// wrap what they add in tags.
fn is_aside(text: &str) -> bool {
    let text = text.trim_start();
    [
        "<system-reminder>",
        "<environment_context>",
        "<command-name>",
        "<local-command-",
        "<session_context>",
        "<user_instructions>",
        "<permissions instructions>",
        "<hook_context>",
        // What Codex puts before a summary.
        "Another language model started",
    ]
    .iter()
    .any(|tag| text.starts_with(tag))
        || text.trim().is_empty()
}

/// The text of a content field: a string, or a list of parts of which some have text.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .map(text_of)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        Value::Object(fields) => fields.get("text").map(text_of).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// Every string in a JSON value, one after the other: results of tools come wrapped.
pub(super) fn strings_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(strings_of).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => fields
            .values()
            .map(strings_of)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}
