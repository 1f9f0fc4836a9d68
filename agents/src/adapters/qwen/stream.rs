//! Event stream of Qwen Code.

use serde_json::{Value, json};

use super::session_file::cause;
use crate::adapters::cli_adapter::api_error;
use crate::adapters::cli_adapter::json::{elements, text, tool_target};
use crate::event::{AgentEvent, ToolCall};
use crate::failure::{Cause, Failure};
use crate::process::{Line, ProgramExit};
use crate::turn_builder::TurnBuilder;

/// Arguments of tools that name their target.
const TARGET_ARGUMENTS: [&str; 3] = ["file_path", "path", "pattern"];

/// Reader for the lines of one turn.
#[derive(Debug)]
pub(super) struct StreamReader {
    turn: TurnBuilder,
    sealed: bool,
    /// The last message reports a refusal of the provider.
    refused: Option<Failure>,
    result: Option<Value>,
}

impl StreamReader {
    pub(super) fn new(sealed: bool) -> Self {
        Self {
            turn: TurnBuilder::default(),
            sealed,
            refused: None,
            result: None,
        }
    }

    /// Reads a line. A line that is not JSON is skipped: the result at the end shows whether the
    /// turn is complete.
    pub(super) fn line(&mut self, line: &Line) -> Result<Vec<AgentEvent>, Failure> {
        let Ok(event) = serde_json::from_slice::<Value>(&line.bytes) else {
            return Ok(Vec::new());
        };
        match (event["type"].as_str(), event["subtype"].as_str()) {
            (Some("system"), Some("init")) => self.init(&event)?,
            (Some("assistant"), _) => self.assistant(&event),
            (Some("user"), _) => self.user(&event),
            (Some("result"), _) => self.result = Some(event),
            _ => {}
        }
        Ok(self.turn.drain_events())
    }

    fn init(&mut self, event: &Value) -> Result<(), Failure> {
        if !self.sealed {
            return Ok(());
        }
        let tools: Vec<&str> = elements(&event["tools"])
            .filter_map(Value::as_str)
            .collect();
        if tools.is_empty() {
            return Ok(());
        }
        Err(Failure::harness(format!(
            "Qwen Code offered tools in a sealed session: {}",
            tools.join(", ")
        )))
    }

    fn assistant(&mut self, event: &Value) {
        if !event["parent_tool_use_id"].is_null() {
            return;
        }
        let message = &event["message"];
        self.refused = None;
        for block in elements(&message["content"]) {
            match block["type"].as_str() {
                Some("text") => {
                    let answer = block["text"].as_str().unwrap_or_default();
                    let is_free = message["usage"]["input_tokens"] == json!(0);
                    match refusal(answer).filter(|_| is_free) {
                        Some(refusal) => self.refused = Some(refusal),
                        None => self.turn.text(answer),
                    }
                }
                Some("tool_use") => self.turn.tool_call(ToolCall {
                    id: text(&block["id"]),
                    tool: text(&block["name"]),
                    target: tool_target(&block["input"], &TARGET_ARGUMENTS),
                }),
                _ => {}
            }
        }
    }

    fn user(&mut self, event: &Value) {
        for block in elements(&event["message"]["content"]) {
            if block["type"] == "tool_result" {
                let bytes = block["content"].to_string().len() as u64;
                let is_error = block["is_error"] == json!(true);
                self.turn
                    .tool_result(&text(&block["tool_use_id"]), is_error, bytes);
            }
        }
    }

    /// Returns the result of the turn.
    pub(super) fn outcome(self, exit: &ProgramExit) -> Result<TurnBuilder, Failure> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let Some(result) = self.result else {
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!(
                    "Qwen Code exited with {} in the middle of a turn: {}",
                    exit.status, exit.stderr
                ),
            ));
        };
        if result["is_error"] == json!(true) {
            let message = result["error"]["message"]
                .as_str()
                .or_else(|| result["result"].as_str())
                .unwrap_or("no reason is given");
            return Err(refusal(message).unwrap_or_else(|| {
                Failure::new(Cause::AgentCrashed, format!("Qwen Code: {message}"))
            }));
        }
        Ok(self.turn)
    }
}

/// Returns the error of the provider that the program printed in place of an answer. It exits with
/// 0 then.
fn refusal(answer: &str) -> Option<Failure> {
    let error = api_error(answer)?;
    let status = error
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok());
    Some(Failure::new(cause(status), format!("Qwen Code: {error}")))
}
