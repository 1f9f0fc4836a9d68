//! Answers in the form of a protocol.

use serde_json::Value;

/// Token counts of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Billed {
    /// Number of the request.
    pub(super) number: u64,
    pub(super) input: u64,
    pub(super) output: u64,
}

/// An answer in its protocol, before it is sent.
pub(super) enum Answer {
    Whole(Value),
    /// Server-sent events, with optional names.
    Events(Vec<(Option<&'static str>, Value)>),
    /// Server-sent events that end with the line `[DONE]`.
    Chunks(Vec<Value>),
}
