//! Builds a [`Turn`] from the output of a program, and collects the events of the turn.

use std::time::Duration;

use domain::{Cost, Tokens};

use crate::adapter::Turn;
use crate::event::{AgentEvent, Compaction, ToolCall, Usage};

/// The turn up to the line that was read last, and the events that were not yet sent.
#[derive(Debug, Default)]
pub struct TurnBuilder {
    turn: Turn,
    events: Vec<AgentEvent>,
}

impl TurnBuilder {
    /// Adds a complete text, on a line of its own.
    pub fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.turn.text.is_empty() {
            self.turn.text.push('\n');
        }
        self.chunk(text);
    }

    /// Adds a piece of the current text.
    pub fn chunk(&mut self, text: &str) {
        self.turn.text.push_str(text);
        self.events.push(AgentEvent::Text {
            text: text.to_owned(),
        });
    }

    /// Adds a tool call.
    pub fn tool_call(&mut self, call: ToolCall) {
        self.turn.tool_calls.push(call.clone());
        self.events.push(AgentEvent::ToolCall(call));
    }

    /// Adds the result of a tool call.
    pub fn tool_result(&mut self, id: &str, is_error: bool, bytes: u64) {
        self.events.push(AgentEvent::ToolResult {
            id: id.to_owned(),
            is_error,
            bytes,
        });
    }

    /// Sets the size of the context.
    pub fn usage(&mut self, usage: Usage) {
        self.turn.usage = Some(usage);
        self.events.push(AgentEvent::Usage(usage));
    }

    /// Adds a compaction.
    pub fn compacted(&mut self, compaction: Compaction) {
        self.turn.compactions.push(compaction.clone());
        self.events.push(AgentEvent::Compacted(compaction));
    }

    /// Adds a retry of a request to the provider.
    pub fn retry(&mut self, attempt: u32, why: &str) {
        self.events.push(AgentEvent::Retry {
            attempt,
            why: why.to_owned(),
        });
    }

    /// Adds a problem that the program reported.
    pub fn error(&mut self, message: &str) {
        self.events.push(AgentEvent::Error {
            message: message.to_owned(),
        });
    }

    /// Sets the billed tokens and their cost. `None` if the program did not report all of them.
    pub fn billed(&mut self, tokens: Option<Tokens>, cost: Option<Cost>) {
        self.turn.tokens = tokens;
        self.turn.cost = cost;
    }

    /// Returns the turn as it is now.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Removes and returns the events since the last call.
    pub fn drain_events(&mut self) -> Vec<AgentEvent> {
        std::mem::take(&mut self.events)
    }

    /// Returns the completed turn.
    pub fn finish(self, duration: Duration) -> Turn {
        Turn {
            duration,
            ..self.turn
        }
    }
}
