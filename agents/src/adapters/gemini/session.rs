//! The file in which the program keeps a session: JSON lines, each a message or a change.
//!
//! A change of all messages (`$set`) is written when a session is resumed and when a turn fails, and
//! when a compression was applied. Only the last puts two messages that were never there before,
//! the summary and the model's word for it, in the place of earlier ones.
//!
//! The program keeps a tool's answer twice, as a message and with the call, and makes of both one
//! answer each when it resumes the session, in which every resumption adds another. Gemini's API
//! refuses a conversation with more answers than calls. Hence [`settled`].

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

/// Whether the program would find something to resume.
pub(super) fn has_conversation(file: &[u8]) -> bool {
    let session = Session::read(file);
    session.messages.iter().any(|message| !is_own(message))
}

/// The compressions that were applied since the file was `before`.
pub(super) fn applied(before: &[u8], after: &[u8]) -> Vec<Applied> {
    let mut session = Session::read(before);
    // The program only ever appends; were it another file, all of it would be new.
    let new = after.strip_prefix(before).unwrap_or(after);
    lines(new).filter_map(|line| session.change(line)).collect()
}

/// The file with the session as it is in the end, and nothing of how it came about, each tool's
/// answer in it once; none where it is no session's file.
pub(super) fn settled(file: &[u8]) -> Option<Vec<u8>> {
    let mut session = Session::read(file);
    let mut answered = BTreeSet::new();
    session.messages.retain(|message| {
        let answers = answers(message);
        let is_again = !answers.is_empty() && answers.iter().all(|id| answered.contains(id));
        answered.extend(answers);
        !is_again
    });
    for message in &mut session.messages {
        let calls = message.get_mut("toolCalls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            if id(call).is_some_and(|id| answered.contains(id))
                && let Some(call) = call.as_object_mut()
            {
                call.remove("result");
            }
        }
    }
    let mut settled = Vec::new();
    for line in std::iter::once(session.header?).chain(session.messages) {
        settled.extend_from_slice(line.to_string().as_bytes());
        settled.push(b'\n');
    }
    Some(settled)
}

/// The session, as far as the file was read.
#[derive(Debug, Default)]
struct Session {
    header: Option<Value>,
    /// Those that the conversation has now, in order.
    messages: Vec<Value>,
    /// The ids of all that there ever were.
    ever: BTreeSet<String>,
}

impl Session {
    fn read(file: &[u8]) -> Self {
        let mut session = Self::default();
        for line in lines(file) {
            session.change(line);
        }
        session
    }

    fn change(&mut self, mut line: Value) -> Option<Applied> {
        let all = line.pointer_mut("/$set/messages").map(Value::take);
        if let Some(Value::Array(all)) = all {
            return self.replace(all);
        }
        if let Some(from) = line.get("$rewindTo").and_then(Value::as_str) {
            let at = self.position(from).unwrap_or_default();
            self.messages.truncate(at);
        } else if let Some(id) = id(&line) {
            self.ever.insert(id.to_owned());
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

    fn replace(&mut self, all: Vec<Value>) -> Option<Applied> {
        let applied = self.as_compression(&all);
        self.ever
            .extend(all.iter().filter_map(id).map(str::to_owned));
        self.messages = all;
        applied
    }

    fn as_compression(&self, all: &[Value]) -> Option<Applied> {
        let all: Vec<&Value> = all.iter().filter(|message| !is_own(message)).collect();
        let [summary, word, tail @ ..] = &all[..] else {
            return None;
        };
        let is_new = |message| id(message).is_some_and(|id| !self.ever.contains(id));
        let mut earlier = self.messages.iter().filter(|message| !is_own(message));
        let replaced = earlier.any(|old| !all.iter().any(|message| id(message) == id(old)));
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

/// The calls that a message is the answer to.
fn answers(message: &Value) -> Vec<String> {
    let parts = message.get("content").and_then(Value::as_array);
    let ids = parts.into_iter().flatten().filter_map(|part| {
        let id = part.pointer("/functionResponse/id")?;
        id.as_str().map(str::to_owned)
    });
    ids.collect()
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
