//! A turn while it is read: what every adapter does with what its program tells.

use std::time::Duration;

use domain::{Cost, Tokens};

use crate::adapter::Turn;
use crate::event::{AgentEvent, Compaction, ToolCall, Usage};

/// The turn as far as it was read, and the events that are not yet handed on.
#[derive(Debug, Default)]
pub struct Gathering {
    turn: Turn,
    events: Vec<AgentEvent>,
}

impl Gathering {
    /// The agent said something, whole: apart from what it said before.
    pub fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.turn.text.is_empty() {
            self.turn.text.push('\n');
        }
        self.chunk(text);
    }

    /// The agent went on saying something.
    pub fn chunk(&mut self, text: &str) {
        self.turn.text.push_str(text);
        self.events.push(AgentEvent::Text {
            text: text.to_owned(),
        });
    }

    /// What the agent said in all, where the program tells it at the end.
    pub fn whole_text(&mut self, text: String) {
        self.turn.text = text;
    }

    /// The agent used a tool.
    pub fn tool_call(&mut self, call: ToolCall) {
        self.turn.tool_calls.push(call.clone());
        self.events.push(AgentEvent::ToolCall(call));
    }

    /// A tool answered.
    pub fn tool_result(&mut self, id: &str, is_error: bool, bytes: u64) {
        self.events.push(AgentEvent::ToolResult {
            id: id.to_owned(),
            is_error,
            bytes,
        });
    }

    /// The program told how full its context is.
    pub fn usage(&mut self, usage: Usage) {
        self.turn.usage = Some(usage);
        self.events.push(AgentEvent::Usage(usage));
    }

    /// The program compacted.
    pub fn compacted(&mut self, compaction: Compaction) {
        self.turn.compactions.push(compaction.clone());
        self.events.push(AgentEvent::Compacted(compaction));
    }

    /// The provider was asked again.
    pub fn retry(&mut self, attempt: u32, why: &str) {
        self.events.push(AgentEvent::Retry {
            attempt,
            why: why.to_owned(),
        });
    }

    /// The program told of a problem.
    pub fn error(&mut self, message: &str) {
        self.events.push(AgentEvent::Error {
            message: message.to_owned(),
        });
    }

    /// What the turn was billed for; none where the program did not tell all of it.
    pub fn billed(&mut self, tokens: Option<Tokens>, cost: Option<Cost>) {
        self.turn.tokens = tokens;
        self.turn.cost = cost;
    }

    /// The turn as it is now.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// The events since the last time.
    pub fn take_events(&mut self) -> Vec<AgentEvent> {
        std::mem::take(&mut self.events)
    }

    /// The turn, when it is over.
    pub fn finish(self, duration: Duration) -> Turn {
        Turn {
            duration,
            ..self.turn
        }
    }
}
