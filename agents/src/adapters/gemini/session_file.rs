//! The program's session file: JSON lines, each a message or a change.
//!
//! The program writes a change of all messages (`$set`) when it resumes a session, when a turn
//! fails, and when it applied a compression. Only an applied compression replaces earlier messages
//! by two new ones: the summary and the model's acknowledgement.
//!
//! The program stores the result of a tool twice, as a message and with the call. When it resumes
//! the session, it turns each into a result, so every resumption adds another. Gemini's API refuses
//! a conversation with more results than calls. Hence [`normalized`].

use std::collections::BTreeSet;

use serde_json::Value;

use crate::adapters::cli_adapter::json::{elements, lines};

/// Prefixes of messages that the program itself adds.
const PROGRAM_MESSAGES: [&str; 2] = ["<session_context>", "<hook_context>"];

/// A compression that was applied according to the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AppliedCompression {
    pub(super) summary: String,
    /// The end of the conversation that was kept. May be empty.
    pub(super) tail: String,
}

/// Returns whether the program would find a conversation to resume.
pub(super) fn has_conversation(file: &[u8]) -> bool {
    let session = Session::read(file);
    session.messages.iter().any(|message| !is_own(message))
}

/// Returns the compressions that were applied since the file was `before`.
pub(super) fn applied(before: &[u8], after: &[u8]) -> Vec<AppliedCompression> {
    let mut session = Session::read(before);
    // The program only appends. If it is another file, all of its lines are new.
    let new = after.strip_prefix(before).unwrap_or(after);
    lines(new).filter_map(|line| session.change(line)).collect()
}

/// Returns a file with only the final state of the session, in which each tool result occurs once.
/// Returns `None` if it is not the file of a session.
pub(super) fn normalized(file: &[u8]) -> Option<Vec<u8>> {
    let mut session = Session::read(file);
    let mut answered_calls = BTreeSet::new();
    session.messages.retain(|message| {
        let calls = answered_calls_of(message);
        let is_repeated = !calls.is_empty() && calls.iter().all(|id| answered_calls.contains(id));
        answered_calls.extend(calls);
        !is_repeated
    });
    for message in &mut session.messages {
        let calls = message.get_mut("toolCalls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            if id(call).is_some_and(|id| answered_calls.contains(id))
                && let Some(call) = call.as_object_mut()
            {
                call.remove("result");
            }
        }
    }
    let mut normalized = Vec::new();
    for line in std::iter::once(session.header?).chain(session.messages) {
        normalized.extend_from_slice(line.to_string().as_bytes());
        normalized.push(b'\n');
    }
    Some(normalized)
}

/// State of the session up to the line that was read last.
#[derive(Debug, Default)]
struct Session {
    header: Option<Value>,
    /// Current messages of the conversation, in order.
    messages: Vec<Value>,
    /// Ids of all messages that ever existed.
    all_ids: BTreeSet<String>,
}

impl Session {
    fn read(file: &[u8]) -> Self {
        let mut session = Self::default();
        for line in lines(file) {
            session.change(line);
        }
        session
    }

    fn change(&mut self, mut line: Value) -> Option<AppliedCompression> {
        let all = line.pointer_mut("/$set/messages").map(Value::take);
        if let Some(Value::Array(all)) = all {
            return self.replace(all);
        }
        if let Some(from) = line.get("$rewindTo").and_then(Value::as_str) {
            let at = self.position(from).unwrap_or_default();
            self.messages.truncate(at);
        } else if let Some(id) = id(&line) {
            self.all_ids.insert(id.to_owned());
            match self.position(id) {
                Some(at) => self.messages[at] = line,
                None => self.messages.push(line),
            }
        } else if line.get("sessionId").is_some() && self.header.is_none() {
            self.header = Some(line);
        }
        None
    }

    fn position(&self, wanted: &str) -> Option<usize> {
        let mut messages = self.messages.iter();
        messages.position(|message| id(message) == Some(wanted))
    }

    fn replace(&mut self, all: Vec<Value>) -> Option<AppliedCompression> {
        let applied = self.as_compression(&all);
        self.all_ids
            .extend(all.iter().filter_map(id).map(str::to_owned));
        self.messages = all;
        applied
    }

    fn as_compression(&self, all: &[Value]) -> Option<AppliedCompression> {
        let all: Vec<&Value> = all.iter().filter(|message| !is_own(message)).collect();
        let [summary, acknowledgement, tail @ ..] = &all[..] else {
            return None;
        };
        let is_new = |message| id(message).is_some_and(|id| !self.all_ids.contains(id));
        let mut earlier = self.messages.iter().filter(|message| !is_own(message));
        let replaced = earlier.any(|old| !all.iter().any(|message| id(message) == id(old)));
        let is_compression = kind(summary) == "user"
            && kind(acknowledgement) == "gemini"
            && is_new(summary)
            && is_new(acknowledgement)
            && replaced;
        let summary = text(summary);
        (is_compression && !summary.trim().is_empty()).then(|| AppliedCompression {
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

fn id(message: &Value) -> Option<&str> {
    message.get("id")?.as_str()
}

fn kind(message: &Value) -> &str {
    message.get("type").and_then(Value::as_str).unwrap_or("")
}

fn is_own(message: &Value) -> bool {
    let text = text(message);
    !matches!(kind(message), "user" | "gemini")
        || PROGRAM_MESSAGES.iter().any(|sign| text.starts_with(sign))
}

/// Returns the ids of the calls that a message contains results of.
fn answered_calls_of(message: &Value) -> Vec<String> {
    let ids = elements(&message["content"]).filter_map(|part| {
        let id = part.pointer("/functionResponse/id")?;
        id.as_str().map(str::to_owned)
    });
    ids.collect()
}

/// Returns the text of a message, and of the tool results in it.
fn text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<String> = parts.iter().filter_map(part_text).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn part_text(part: &Value) -> Option<String> {
    if let Some(text) = part.get("text").and_then(Value::as_str) {
        return Some(text.to_owned());
    }
    let response = part.pointer("/functionResponse/response")?;
    Some(match response.get("output").and_then(Value::as_str) {
        Some(output) => output.to_owned(),
        None => response.to_string(),
    })
}
