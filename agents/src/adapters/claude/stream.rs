//! Event stream of Claude Code.

use std::time::Duration;

use domain::vocabulary::CostSource;
use domain::{Cost, Tokens};
use serde_json::{Value, json};

use crate::adapters::cli_adapter::json::{elements, stream_line, text, tool_target};
use crate::event::{AgentEvent, Compaction, CompactionTrigger, Proof, Reinjected, ToolCall, Usage};
use crate::failure::{Cause, Failure};
use crate::process::Line;
use crate::turn_builder::TurnBuilder;

/// Id of the only control request that is sent.
const USAGE_REQUEST: &str = "usage";
/// Arguments of tools that name their target.
const TARGET_ARGUMENTS: [&str; 4] = ["file_path", "path", "pattern", "command"];

/// Returns a prompt as a line of the program's input.
pub(super) fn user_line(prompt: &str) -> String {
    json!({
        "type": "user",
        "message": {"role": "user", "content": [{"type": "text", "text": prompt}]},
        "parent_tool_use_id": null,
        "session_id": "",
    })
    .to_string()
}

/// Returns the request for the size of the context.
pub(super) fn usage_request() -> String {
    json!({
        "type": "control_request",
        "request_id": USAGE_REQUEST,
        "request": {"subtype": "get_context_usage"},
    })
    .to_string()
}

/// Reader for the lines of one turn.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    turn: TurnBuilder,
    compactions: Vec<Compaction>,
    /// Size of the last request, as the provider counted it.
    context: Option<u64>,
    window: Option<u64>,
    result: Option<Value>,
    usage_answered: bool,
    /// The program printed something that belongs to a conversation.
    had_conversation: bool,
    unreadable: u32,
    retry_after: Option<Duration>,
}

/// A successful turn whose compactions are not yet complete.
#[derive(Debug)]
pub(super) struct Outcome {
    turn: TurnBuilder,
    pub(super) compactions: Vec<Compaction>,
}

impl StreamReader {
    /// Reads a line. A line that is not JSON is counted and skipped: the result at the end shows
    /// whether the turn is complete.
    pub(super) fn line(&mut self, line: &Line) -> Vec<AgentEvent> {
        if let Some(event) = stream_line(&line.bytes, &mut self.unreadable) {
            self.event(&event);
        }
        self.turn.drain_events()
    }

    fn event(&mut self, event: &Value) {
        match (event["type"].as_str(), event["subtype"].as_str()) {
            (Some("assistant"), _) => self.assistant(event),
            (Some("user"), _) => self.user(event),
            (Some("system"), Some("init")) => self.had_conversation = true,
            (Some("system"), Some("api_retry")) => self.retry(event),
            (Some("system"), Some("status")) => {
                if let Some(error) = event["compact_error"].as_str() {
                    self.turn.error(&format!("compaction failed: {error}"));
                }
            }
            (Some("system"), Some("compact_boundary")) => self.boundary(event),
            (Some("result"), _) => self.result(event),
            (Some("control_response"), _) => self.control_response(event),
            _ => {}
        }
    }

    fn assistant(&mut self, event: &Value) {
        // Sub-agents are not offered. Their messages are not the agent's.
        if !event["parent_tool_use_id"].is_null() {
            return;
        }
        let message = &event["message"];
        for block in elements(&message["content"]) {
            match block["type"].as_str() {
                Some("text") if message["model"] != "<synthetic>" => {
                    self.turn.text(block["text"].as_str().unwrap_or_default());
                }
                Some("tool_use") => self.turn.tool_call(ToolCall {
                    id: text(&block["id"]),
                    tool: text(&block["name"]),
                    target: tool_target(&block["input"], &TARGET_ARGUMENTS),
                }),
                _ => {}
            }
        }
        if message["model"] != "<synthetic>"
            && let Some(size) = request_size(&message["usage"])
        {
            self.context = Some(size);
        }
    }

    fn user(&mut self, event: &Value) {
        let content = &event["message"]["content"];
        if event["isSynthetic"] == json!(true)
            && let Some(compaction) = self.compactions.last_mut()
            && compaction.summary.is_none()
        {
            compaction.summary = extract_summary(&content_text(content));
        }
        for block in elements(content) {
            if block["type"] == "tool_result" {
                let bytes = block["content"].to_string().len() as u64;
                let is_error = block["is_error"] == json!(true);
                self.turn
                    .tool_result(&text(&block["tool_use_id"]), is_error, bytes);
            }
        }
    }

    fn retry(&mut self, event: &Value) {
        let attempt = event["attempt"]
            .as_u64()
            .and_then(|n| u32::try_from(n).ok());
        let status = event["error_status"].as_u64();
        let why = format!(
            "{}{}",
            event["error"].as_str().unwrap_or("unknown"),
            status
                .map(|status| format!(" ({status})"))
                .unwrap_or_default()
        );
        if status == Some(429) {
            let wait = event["retry_delay_ms"].as_f64().filter(|ms| *ms >= 0.0);
            self.retry_after = wait.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        }
        self.turn.retry(attempt.unwrap_or_default(), &why);
    }

    fn boundary(&mut self, event: &Value) {
        let about = &event["compact_metadata"];
        self.compactions.push(Compaction {
            trigger: if about["trigger"] == "manual" {
                CompactionTrigger::Manual
            } else {
                CompactionTrigger::Auto
            },
            tokens_before: about["pre_tokens"].as_u64(),
            tokens_after: about["post_tokens"].as_u64(),
            summary: None,
            proof: Proof::Reported,
            reinjected: Vec::new(),
        });
        // The context of the last request no longer exists.
        self.context = None;
    }

    fn result(&mut self, event: &Value) {
        self.had_conversation |= event["num_turns"].as_u64().is_some_and(|turns| turns > 0);
        self.window = event["modelUsage"].as_object().and_then(|models| {
            let windows = models
                .values()
                .filter_map(|model| model["contextWindow"].as_u64());
            windows.max()
        });
        if event["is_error"] != json!(true) {
            let cost = event["total_cost_usd"].as_f64().map(|usd| Cost {
                usd,
                source: CostSource::Program,
            });
            self.turn.billed(tokens(&event["modelUsage"]), cost);
            if event["num_turns"].as_u64() == Some(0) {
                let answer = event["result"].as_str().unwrap_or_default();
                if !answer.is_empty() {
                    self.turn.error(answer);
                }
            }
        }
        self.result = Some(event.clone());
    }

    fn control_response(&mut self, event: &Value) {
        let response = &event["response"];
        if response["request_id"] != USAGE_REQUEST {
            return;
        }
        self.usage_answered = true;
        let usage = &response["response"];
        if let Some(tokens) = usage["totalTokens"].as_u64() {
            self.context = Some(tokens);
            self.window = usage["maxTokens"].as_u64().or(self.window);
        }
    }

    /// Returns whether the turn is over.
    pub(super) fn has_result(&self) -> bool {
        self.result.is_some()
    }

    /// Returns whether the turn is over and the size of the context is known.
    pub(super) fn has_usage(&self) -> bool {
        self.has_result() && self.usage_answered
    }

    /// Returns whether the turn ended with an error.
    pub(super) fn failed(&self) -> bool {
        self.result
            .as_ref()
            .is_some_and(|result| result["is_error"] == json!(true))
    }

    /// Returns whether there is a conversation to continue.
    pub(super) fn had_conversation(&self) -> bool {
        self.had_conversation
    }

    /// Returns the result of the turn.
    pub(super) fn outcome(mut self, stderr: &str) -> Result<Outcome, Failure> {
        let Some(result) = &self.result else {
            let unreadable = if self.unreadable > 0 {
                format!("{} lines could not be parsed; ", self.unreadable)
            } else {
                String::new()
            };
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!("Claude Code exited in the middle of a turn; {unreadable}{stderr}"),
            ));
        };
        if self.failed() {
            return Err(failure(result, stderr).with_retry_after(self.retry_after));
        }
        if let Some(context) = self.context {
            self.turn.usage(Usage {
                context,
                window: self.window,
            });
        }
        Ok(Outcome {
            turn: self.turn,
            compactions: self.compactions,
        })
    }
}

impl Outcome {
    /// Completes the compactions with the raw summaries of the hook and with the parts of the
    /// transcript that were reinjected.
    pub(super) fn complete(
        mut self,
        summaries: Vec<String>,
        reinjected: Option<Vec<Reinjected>>,
    ) -> TurnBuilder {
        let count = self.compactions.len();
        // The last summaries belong to the last compactions.
        let first = count.saturating_sub(summaries.len());
        let unused = summaries.len().saturating_sub(count);
        for (compaction, raw) in self.compactions[first..]
            .iter_mut()
            .zip(summaries.into_iter().skip(unused))
        {
            compaction.summary = Some(tag_content(&raw, "summary").unwrap_or(raw));
        }
        if let (Some(last), Some(reinjected)) = (self.compactions.last_mut(), reinjected) {
            last.reinjected = reinjected;
        }
        for compaction in self.compactions {
            self.turn.compacted(compaction);
        }
        self.turn
    }
}

/// Classifies a failed turn by the program's own error fields. The exit status is always the same.
fn failure(result: &Value, stderr: &str) -> Failure {
    let errors: Vec<&str> = elements(&result["errors"])
        .filter_map(Value::as_str)
        .collect();
    let mut message = result["result"].as_str().unwrap_or_default().to_owned();
    for more in errors.iter().copied().chain([stderr]) {
        if !more.is_empty() && !message.contains(more) {
            message.push_str(if message.is_empty() { "" } else { "; " });
            message.push_str(more);
        }
    }
    let cause = match result["api_error_status"].as_u64() {
        Some(429) => Cause::RateLimited,
        Some(401 | 403 | 404) => Cause::Refused,
        Some(400) if message.contains("too long") => Cause::OutOfBudget,
        Some(400) => Cause::Refused,
        Some(500..) => Cause::ProviderDown,
        _ => match result["subtype"].as_str() {
            Some("error_max_budget_usd" | "error_max_turns") => Cause::OutOfBudget,
            Some("success") => Cause::ProviderDown,
            _ => Cause::AgentCrashed,
        },
    };
    Failure::new(cause, format!("Claude Code: {message}"))
}

/// Returns the tokens that were billed for the turn and its compactions. With one process per turn,
/// the program's running total is the turn's.
fn tokens(models: &Value) -> Option<Tokens> {
    let models = models.as_object().filter(|models| !models.is_empty())?;
    let mut sum = Tokens::default();
    for model in models.values() {
        let count = |field: &str| model[field].as_u64();
        let cached = count("cacheReadInputTokens")?;
        sum = sum.plus(Tokens {
            input: count("inputTokens")?
                .checked_add(cached)?
                .checked_add(count("cacheCreationInputTokens")?)?,
            cached,
            output: count("outputTokens")?,
        })?;
    }
    Some(sum)
}

/// Returns the tokens of a request and of its answer so far.
fn request_size(usage: &Value) -> Option<u64> {
    let count = |field: &str| usage[field].as_u64();
    count("input_tokens")?
        .checked_add(count("cache_creation_input_tokens").unwrap_or_default())?
        .checked_add(count("cache_read_input_tokens").unwrap_or_default())?
        .checked_add(count("output_tokens").unwrap_or_default())
        .filter(|&size| size > 0)
}

/// Returns the summary without the text around it.
fn extract_summary(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("Summary:\n")?;
    let summary = rest
        .split_once("\n\nIf you need specific details")
        .map_or(rest, |(summary, _)| summary);
    Some(summary.to_owned())
}

/// Returns the text between a tag and its end.
fn tag_content(text: &str, tag: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    let (inner, _) = rest.rsplit_once(&format!("</{tag}>"))?;
    Some(inner.trim().to_owned())
}

fn content_text(content: &Value) -> String {
    content.as_str().map_or_else(
        || {
            elements(content)
                .filter_map(|block| block["text"].as_str())
                .collect::<Vec<_>>()
                .join("\n")
        },
        str::to_owned,
    )
}
