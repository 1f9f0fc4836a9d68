//! The lines that the program writes with `--output-format stream-json`.

use serde::Deserialize;

use crate::event::{AgentEvent, ToolCall};
use crate::failure::Failure;
use crate::gathering::Gathering;
use crate::process::Line;

/// How much of what a tool was used on is shown.
const TARGET_SHOWN: usize = 200;

/// The turn as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) gathering: Gathering,
    /// The last line of a turn that came to an end.
    pub(super) outcome: Option<Outcome>,
    /// What the program told as a problem in the middle of the turn.
    pub(super) complaint: Option<String>,
    /// The answer goes on in the middle of a text.
    in_text: bool,
}

/// How a turn ended, by the program's own account.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Outcome {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) error: Option<Complaint>,
    #[serde(default)]
    pub(super) stats: Option<Stats>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Complaint {
    #[serde(default)]
    pub(super) message: String,
}

/// What all requests of the process were billed for, those of the compressor included; without
/// what was thought.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Stats {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Message {
        #[serde(default)]
        role: String,
        #[serde(default)]
        content: String,
    },
    ToolUse {
        tool_name: String,
        tool_id: String,
        #[serde(default)]
        parameters: serde_json::Value,
    },
    ToolResult {
        tool_id: String,
        #[serde(default)]
        status: String,
        #[serde(default)]
        output: Option<String>,
    },
    Error {
        #[serde(default)]
        message: String,
    },
    Result(Outcome),
    #[serde(other)]
    Other,
}

impl Reading {
    /// Reads a line of standard output.
    ///
    /// # Errors
    ///
    /// An event that is cut or cannot be read. A line that is no event at all, such as a warning of
    /// the runtime, is told as a problem and passed over.
    pub(super) fn line(&mut self, line: &Line) -> Result<Vec<AgentEvent>, Failure> {
        if line.cut {
            return Err(Failure::harness("a line of Gemini CLI is too long"));
        }
        if !line.bytes.trim_ascii_start().starts_with(b"{") {
            if !line.bytes.trim_ascii().is_empty() {
                self.gathering
                    .error("Gemini CLI wrote a line that is no event");
            }
            return Ok(self.gathering.take_events());
        }
        let event = serde_json::from_slice(&line.bytes).map_err(|error| {
            Failure::harness(format!("a line of Gemini CLI cannot be read: {error}"))
        })?;
        self.event(event);
        Ok(self.gathering.take_events())
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Message { role, content } if role == "assistant" => {
                if self.in_text {
                    self.gathering.chunk(&content);
                } else {
                    self.gathering.text(&content);
                }
                self.in_text |= !content.is_empty();
            }
            // The prompt, said again.
            Event::Message { .. } | Event::Other => {}
            Event::ToolUse {
                tool_name,
                tool_id,
                parameters,
            } => {
                self.in_text = false;
                self.gathering.tool_call(ToolCall {
                    id: tool_id,
                    tool: tool_name,
                    target: target(&parameters),
                });
            }
            Event::ToolResult {
                tool_id,
                status,
                output,
            } => {
                let bytes = output.map_or(0, |output| output.len() as u64);
                self.gathering
                    .tool_result(&tool_id, status != "success", bytes);
            }
            Event::Error { message } => {
                self.gathering.error(&message);
                self.complaint = Some(message);
            }
            Event::Result(outcome) => self.outcome = Some(outcome),
        }
    }
}

/// What a tool was used on: the path or the pattern, or all of its parameters.
fn target(parameters: &serde_json::Value) -> String {
    let told = ["file_path", "dir_path", "path", "pattern", "query"]
        .into_iter()
        .find_map(|name| parameters.get(name)?.as_str().map(str::to_owned))
        .unwrap_or_else(|| parameters.to_string());
    told.chars().take(TARGET_SHOWN).collect()
}
