//! Recorded requests.

use serde::Serialize;
use serde_json::Value;

use super::conversation::Message;
use super::protocol::Protocol;
use super::rules::Purpose;

/// A request with its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Number of the request, from 1.
    pub number: u64,
    pub protocol: Option<Protocol>,
    pub purpose: Purpose,
    pub path: String,
    pub model: Option<String>,
    pub stream: bool,
    pub system: String,
    /// All messages, including tool results.
    pub messages: Vec<Message>,
    /// Names of the offered tools.
    pub tools: Vec<String>,
    pub status: u16,
    /// Text of the answer, with the names of the tools that it calls.
    pub answer: String,
    pub input_tokens: u64,
    /// The request as it was sent.
    pub body: Value,
}

impl Recorded {
    /// Returns whether the request contains a text.
    pub fn contains(&self, needle: &str) -> bool {
        self.system.contains(needle)
            || self
                .messages
                .iter()
                .any(|message| message.text.contains(needle))
    }

    /// Returns all texts of the request, one after the other.
    pub fn full_text(&self) -> String {
        let mut text = self.system.clone();
        for message in &self.messages {
            text.push('\n');
            text.push_str(&message.text);
        }
        text
    }
}
