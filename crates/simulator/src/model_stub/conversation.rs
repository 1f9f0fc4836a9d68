//! A request to a model, independent of its protocol.

use serde::Serialize;
use serde_json::Value;

/// Author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
    /// The result of a tool.
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
    /// A tool call of the model.
    Call {
        args: Value,
    },
    /// The result of a tool call.
    Result {
        text: String,
    },
}

/// An offered tool.
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
    /// Returns the last message of the user, without the texts that the program adds.
    pub(super) fn prompt(&self) -> Option<(usize, &str)> {
        self.blocks
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, block)| match block {
                Block::Text {
                    role: Role::User,
                    text,
                } if !is_added_by_program(text) => Some((at, text.as_str())),
                Block::Text { .. } | Block::Call { .. } | Block::Result { .. } => None,
            })
    }

    /// Returns all texts of the request, except one block.
    pub(super) fn texts_without(&self, excluded: Option<usize>) -> impl Iterator<Item = &str> {
        let blocks = self
            .blocks
            .iter()
            .enumerate()
            .filter(move |(at, _)| Some(*at) != excluded)
            .filter_map(|(_, block)| match block {
                Block::Text { text, .. } | Block::Result { text } => Some(text.as_str()),
                Block::Call { .. } => None,
            });
        std::iter::once(self.system.as_str()).chain(blocks)
    }

    /// Returns the messages as they are recorded.
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

/// Returns whether the program added a text to the user's message. Claude Code and Gemini CLI mark
/// such texts with tags.
fn is_added_by_program(text: &str) -> bool {
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
        // Codex adds this before a summary.
        "Another language model started",
    ]
    .iter()
    .any(|tag| text.starts_with(tag))
        || text.trim().is_empty()
}

/// Returns the elements of a field that is a list.
pub(super) fn elements<'a>(body: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    body.get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Parses arguments, which are JSON in a string.
pub(super) fn parse_arguments(text: &Value) -> Value {
    text.as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| text.clone())
}

/// Returns the text of a content field: a string, or a list of parts.
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

/// Returns all strings in a JSON value, one after the other. Tool results are nested.
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
