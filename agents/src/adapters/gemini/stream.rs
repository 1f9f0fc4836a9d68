//! Lines that the program writes with `--output-format stream-json`.

use serde::Deserialize;

use crate::adapters::cli_adapter::json::tool_target;
use crate::event::{AgentEvent, ToolCall};
use crate::failure::Failure;
use crate::process::Line;
use crate::turn_builder::TurnBuilder;

/// Arguments of tools that name their target.
const TARGET_ARGUMENTS: [&str; 5] = ["file_path", "dir_path", "path", "pattern", "query"];

/// Reader for the lines of one turn.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    pub(super) turn: TurnBuilder,
    /// Last line of a turn that ended.
    pub(super) outcome: Option<Outcome>,
    /// Problem that the program reported during the turn.
    pub(super) problem: Option<String>,
    /// The next message continues the current text.
    in_text: bool,
}

/// End of a turn, as the program reports it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Outcome {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) error: Option<ReportedError>,
    #[serde(default)]
    pub(super) stats: Option<Stats>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ReportedError {
    #[serde(default)]
    pub(super) message: String,
}

/// Tokens billed for all requests of the process, including compressions and excluding thoughts.
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

impl StreamReader {
    /// Reads a line of standard output.
    ///
    /// # Errors
    ///
    /// Fails for an event that was cut or cannot be parsed. A line that is not an event, such as a
    /// warning of the runtime, is reported as a problem and skipped.
    pub(super) fn line(&mut self, line: &Line) -> Result<Vec<AgentEvent>, Failure> {
        if line.cut {
            return Err(Failure::harness("a line of Gemini CLI exceeds the limit"));
        }
        if !line.bytes.trim_ascii_start().starts_with(b"{") {
            if !line.bytes.trim_ascii().is_empty() {
                self.turn
                    .error("Gemini CLI wrote a line that is not an event");
            }
            return Ok(self.turn.drain_events());
        }
        let event = serde_json::from_slice(&line.bytes).map_err(|error| {
            Failure::harness(format!("could not parse a line of Gemini CLI: {error}"))
        })?;
        self.event(event);
        Ok(self.turn.drain_events())
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Message { role, content } if role == "assistant" => {
                if self.in_text {
                    self.turn.chunk(&content);
                } else {
                    self.turn.text(&content);
                }
                self.in_text |= !content.is_empty();
            }
            // The prompt, repeated.
            Event::Message { .. } | Event::Other => {}
            Event::ToolUse {
                tool_name,
                tool_id,
                parameters,
            } => {
                self.in_text = false;
                self.turn.tool_call(ToolCall {
                    id: tool_id,
                    tool: tool_name,
                    target: tool_target(&parameters, &TARGET_ARGUMENTS),
                });
            }
            Event::ToolResult {
                tool_id,
                status,
                output,
            } => {
                let bytes = output.map_or(0, |output| output.len() as u64);
                self.turn.tool_result(&tool_id, status != "success", bytes);
            }
            Event::Error { message } => {
                self.turn.error(&message);
                self.problem = Some(message);
            }
            Event::Result(outcome) => self.outcome = Some(outcome),
        }
    }
}
