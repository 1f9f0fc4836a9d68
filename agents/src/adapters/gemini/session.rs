//! The file in which the program keeps a session: JSON lines, each a message or a change.
//!
//! A change of all messages (`$set`) is written when a session is resumed and when a turn fails, and
//! when a compression was applied. Only the last puts two messages that were never there before,
//! the summary and the model's word for it, in the place of earlier ones.

use std::collections::BTreeSet;

use serde_json::Value;

/// What a message of the program itself begins with.
const OWN: [&str; 2] = ["<session_context>", "<hook_context>"];

/// A compression that the file shows as applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) summary: String,
    /// The end of the conversation, as it was kept; empty where nothing was.
    pub(super) tail: String,
}

/// The messages, as far as the file was read.
#[derive(Debug, Default)]
struct Messages {
    /// The ids of those that the conversation has now, in order.
    now: Vec<String>,
    /// The ids of all that there ever were.
    ever: BTreeSet<String>,
}

/// Whether the program would find something to resume.
pub(super) fn has_conversation(file: &[u8]) -> bool {
    let mut messages = Messages::default();
    for line in lines(file) {
        messages.change(&line);
    }
    !messages.now.is_empty()
}

/// The compressions that were applied since the file was `before`.
pub(super) fn applied(before: &[u8], after: &[u8]) -> Vec<Applied> {
    let mut messages = Messages::default();
    for line in lines(before) {
        messages.change(&line);
    }
    // The program only ever appends; were it another file, all of it would be new.
    let new = after.strip_prefix(before).unwrap_or(after);
    lines(new)
        .filter_map(|line| messages.change(&line))
        .collect()
}

impl Messages {
    fn change(&mut self, line: &Value) -> Option<Applied> {
        if let Some(all) = line.pointer("/$set/messages").and_then(Value::as_array) {
            return self.replace(all);
        }
        if let Some(id) = id(line)
            && !is_own(line)
            && self.ever.insert(id.to_owned())
        {
            self.now.push(id.to_owned());
        }
        None
    }

    fn replace(&mut self, all: &[Value]) -> Option<Applied> {
        let all: Vec<&Value> = all.iter().filter(|message| !is_own(message)).collect();
        let applied = self.as_compression(&all);
        self.now = all
            .iter()
            .filter_map(|m| id(m))
            .map(str::to_owned)
            .collect();
        self.ever.extend(self.now.iter().cloned());
        applied
    }

    fn as_compression(&self, all: &[&Value]) -> Option<Applied> {
        let [summary, word, tail @ ..] = all else {
            return None;
        };
        let is_new = |message| id(message).is_some_and(|id| !self.ever.contains(id));
        let replaced = self
            .now
            .iter()
            .any(|old| !all.iter().any(|message| id(message) == Some(old)));
        let is_compression = kind(summary) == "user"
            && kind(word) == "gemini"
            && is_new(summary)
            && is_new(word)
            && replaced;
        let summary = text(summary);
        (is_compression && !summary.trim().is_empty()).then(|| Applied {
            summary,
            tail: tail
                .iter()
                .map(|message| text(message))
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("\n"),
        })
    }
}

/// The whole lines; half of one is what a stopped program leaves, and the program itself passes
/// over it.
fn lines(file: &[u8]) -> impl Iterator<Item = Value> {
    file.split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}

fn id(message: &Value) -> Option<&str> {
    message.get("id")?.as_str()
}

fn kind(message: &Value) -> &str {
    message.get("type").and_then(Value::as_str).unwrap_or("")
}

fn is_own(message: &Value) -> bool {
    let text = text(message);
    !matches!(kind(message), "user" | "gemini") || OWN.iter().any(|sign| text.starts_with(sign))
}

/// The words of a message, and what tools answered in it.
fn text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<String> = parts.iter().filter_map(part).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn part(part: &Value) -> Option<String> {
    if let Some(text) = part.get("text").and_then(Value::as_str) {
        return Some(text.to_owned());
    }
    let answer = part.pointer("/functionResponse/response")?;
    Some(match answer.get("output").and_then(Value::as_str) {
        Some(output) => output.to_owned(),
        None => answer.to_string(),
    })
}
