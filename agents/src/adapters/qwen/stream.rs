//! The event stream of Qwen Code.

use serde_json::{Value, json};

use super::session::cause;
use crate::event::{AgentEvent, ToolCall};
use crate::failure::{Cause, Failure};
use crate::gathering::Gathering;
use crate::process::{Ended, Line};

/// How much of what a tool is used on is told.
const TARGET_CHARS: usize = 200;

/// A turn as far as it was read.
#[derive(Debug)]
pub(super) struct Reading {
    gathering: Gathering,
    sealed: bool,
    /// The program says that it offers these although it is sealed.
    offered: Vec<String>,
    /// The last message says that the provider refused.
    refused: Option<Failure>,
    result: Option<Value>,
}

impl Reading {
    pub(super) fn new(sealed: bool) -> Self {
        Self {
            gathering: Gathering::default(),
            sealed,
            offered: Vec::new(),
            refused: None,
            result: None,
        }
    }

    /// Reads a line. One that is no JSON is no event: whether the turn is whole shows at its end.
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
        Ok(self.gathering.take_events())
    }

    fn init(&mut self, event: &Value) -> Result<(), Failure> {
        if !self.sealed {
            return Ok(());
        }
        self.offered = elements(&event["tools"])
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if self.offered.is_empty() {
            return Ok(());
        }
        Err(Failure::harness(format!(
            "Qwen Code offers tools although it is sealed: {}",
            self.offered.join(", ")
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
                    let said = block["text"].as_str().unwrap_or_default();
                    let unpaid = message["usage"]["input_tokens"] == json!(0);
                    match refusal(said).filter(|_| unpaid) {
                        Some(refusal) => self.refused = Some(refusal),
                        None => self.gathering.text(said),
                    }
                }
                Some("tool_use") => self.gathering.tool_call(ToolCall {
                    id: text(&block["id"]),
                    tool: text(&block["name"]),
                    target: target(&block["input"]),
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
                self.gathering
                    .tool_result(&text(&block["tool_use_id"]), is_error, bytes);
            }
        }
    }

    /// What came of the turn.
    pub(super) fn outcome(self, ended: &Ended) -> Result<Gathering, Failure> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let Some(result) = self.result else {
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!(
                    "Qwen Code ended with {} in the middle of a turn: {}",
                    ended.status, ended.stderr
                ),
            ));
        };
        if result["is_error"] == json!(true) {
            let said = result["error"]["message"]
                .as_str()
                .or_else(|| result["result"].as_str())
                .unwrap_or("no reason is given");
            return Err(refusal(said).unwrap_or_else(|| {
                Failure::new(Cause::AgentCrashed, format!("Qwen Code: {said}"))
            }));
        }
        Ok(self.gathering)
    }
}

/// A message of the form in which the program reports an error of the provider, in the place of an
/// answer and with an exit status of 0.
fn refusal(said: &str) -> Option<Failure> {
    let error = said
        .trim()
        .strip_prefix("[API Error: ")?
        .strip_suffix(']')?;
    let status = error
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok());
    Some(Failure::new(cause(status), format!("Qwen Code: {error}")))
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a tool is used on, for people.
fn target(input: &Value) -> String {
    let named = ["file_path", "path", "pattern"]
        .iter()
        .find_map(|name| input.get(*name)?.as_str());
    named.map_or_else(
        || input.to_string().chars().take(TARGET_CHARS).collect(),
        |target| target.chars().take(TARGET_CHARS).collect(),
    )
}
