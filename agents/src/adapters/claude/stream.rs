//! The event stream of Claude Code.

use std::time::Duration;

use domain::vocabulary::CostSource;
use domain::{Cost, Tokens};
use serde_json::{Value, json};

use crate::adapter::Turn;
use crate::event::{AgentEvent, Compaction, CompactionTrigger, Proof, Reinjected, ToolCall, Usage};
use crate::failure::{Cause, Failure};
use crate::gathering::Gathering;
use crate::process::Line;

/// The id of our only control request.
const USAGE_REQUEST: &str = "usage";
/// How much of what a tool is used on is told.
const TARGET_CHARS: usize = 200;

/// A prompt, as a line of the program's input.
pub(super) fn user_line(prompt: &str) -> String {
    json!({
        "type": "user",
        "message": {"role": "user", "content": [{"type": "text", "text": prompt}]},
        "parent_tool_use_id": null,
        "session_id": "",
    })
    .to_string()
}

/// Asks how full the context is.
pub(super) fn usage_request() -> String {
    json!({
        "type": "control_request",
        "request_id": USAGE_REQUEST,
        "request": {"subtype": "get_context_usage"},
    })
    .to_string()
}

/// A turn as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    gathering: Gathering,
    compactions: Vec<Compaction>,
    /// The last request's size, as the provider counted it.
    context: Option<u64>,
    window: Option<u64>,
    result: Option<Value>,
    usage_answered: bool,
    /// The program said anything that belongs to a conversation.
    spoke: bool,
    unreadable: u32,
    retry_after: Option<Duration>,
}

/// A turn that ended well, before its compactions are complete.
#[derive(Debug)]
pub(super) struct Outcome {
    gathering: Gathering,
    pub(super) compactions: Vec<Compaction>,
}

impl Reading {
    /// Reads a line. One that is no JSON is no event: whether the turn is whole shows at its end.
    pub(super) fn line(&mut self, line: &Line) -> Vec<AgentEvent> {
        match serde_json::from_slice::<Value>(&line.bytes) {
            Ok(event) => self.event(&event),
            Err(_) if line.bytes.iter().all(u8::is_ascii_whitespace) => {}
            Err(_) => self.unreadable += 1,
        }
        self.gathering.take_events()
    }

    fn event(&mut self, event: &Value) {
        match (event["type"].as_str(), event["subtype"].as_str()) {
            (Some("assistant"), _) => self.assistant(event),
            (Some("user"), _) => self.user(event),
            (Some("system"), Some("init")) => self.spoke = true,
            (Some("system"), Some("api_retry")) => self.retry(event),
            (Some("system"), Some("status")) => {
                if let Some(error) = event["compact_error"].as_str() {
                    self.gathering
                        .error(&format!("the compaction failed: {error}"));
                }
            }
            (Some("system"), Some("compact_boundary")) => self.boundary(event),
            (Some("result"), _) => self.result(event),
            (Some("control_response"), _) => self.control_response(event),
            _ => {}
        }
    }

    fn assistant(&mut self, event: &Value) {
        // Sub-agents are not offered; whoever speaks for one is not the agent.
        if !event["parent_tool_use_id"].is_null() {
            return;
        }
        let message = &event["message"];
        for block in blocks(&message["content"]) {
            match block["type"].as_str() {
                Some("text") if message["model"] != "<synthetic>" => {
                    self.gathering
                        .text(block["text"].as_str().unwrap_or_default());
                }
                Some("tool_use") => self.gathering.tool_call(ToolCall {
                    id: text(&block["id"]),
                    tool: text(&block["name"]),
                    target: target(&block["input"]),
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
            compaction.summary = summary_in(&words(content));
        }
        for block in blocks(content) {
            if block["type"] == "tool_result" {
                let bytes = block["content"].to_string().len() as u64;
                let is_error = block["is_error"] == json!(true);
                self.gathering
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
        self.gathering.retry(attempt.unwrap_or_default(), &why);
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
        // What the last request held is no more.
        self.context = None;
    }

    fn result(&mut self, event: &Value) {
        self.spoke |= event["num_turns"].as_u64().is_some_and(|turns| turns > 0);
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
            self.gathering.billed(tokens(&event["modelUsage"]), cost);
            if event["num_turns"].as_u64() == Some(0) {
                let said = event["result"].as_str().unwrap_or_default();
                if !said.is_empty() {
                    self.gathering.error(said);
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

    /// Whether the turn is over.
    pub(super) fn has_result(&self) -> bool {
        self.result.is_some()
    }

    /// Whether the turn is over and the context's size is told.
    pub(super) fn is_answered(&self) -> bool {
        self.has_result() && self.usage_answered
    }

    /// Whether the turn ended with an error.
    pub(super) fn failed(&self) -> bool {
        self.result
            .as_ref()
            .is_some_and(|result| result["is_error"] == json!(true))
    }

    /// Whether there is a conversation to go on from.
    pub(super) fn spoke(&self) -> bool {
        self.spoke
    }

    /// What came of the turn.
    pub(super) fn outcome(mut self, last_words: &str) -> Result<Outcome, Failure> {
        let Some(result) = &self.result else {
            let told = if self.unreadable > 0 {
                format!("{} lines could not be read; ", self.unreadable)
            } else {
                String::new()
            };
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!("Claude Code ended in the middle of a turn; {told}{last_words}"),
            ));
        };
        if self.failed() {
            return Err(failure(result, last_words).after(self.retry_after));
        }
        if let Some(context) = self.context {
            self.gathering.usage(Usage {
                context,
                window: self.window,
            });
        }
        Ok(Outcome {
            gathering: self.gathering,
            compactions: self.compactions,
        })
    }
}

impl Outcome {
    /// Completes the compactions with the raw summaries that the hook was handed, if it was, and
    /// with what the transcript says was put back. The turn, and the events that are still to be
    /// told.
    pub(super) fn finish(
        mut self,
        summaries: Vec<String>,
        put_back: Option<Vec<Reinjected>>,
        duration: Duration,
    ) -> (Turn, Vec<AgentEvent>) {
        let all = self.compactions.len();
        // The last summaries belong to the last compactions.
        let first = all.saturating_sub(summaries.len());
        let unused = summaries.len().saturating_sub(all);
        for (compaction, raw) in self.compactions[first..]
            .iter_mut()
            .zip(summaries.into_iter().skip(unused))
        {
            compaction.summary = Some(inner(&raw, "summary").unwrap_or(raw));
        }
        if let (Some(last), Some(put_back)) = (self.compactions.last_mut(), put_back) {
            last.reinjected = put_back;
        }
        for compaction in self.compactions {
            self.gathering.compacted(compaction);
        }
        let events = self.gathering.take_events();
        (self.gathering.finish(duration), events)
    }
}

/// Why a turn failed, by what the program says of it; its exit status says nothing.
fn failure(result: &Value, last_words: &str) -> Failure {
    let errors: Vec<&str> = blocks(&result["errors"])
        .filter_map(Value::as_str)
        .collect();
    let mut said = result["result"].as_str().unwrap_or_default().to_owned();
    for more in errors.iter().copied().chain([last_words]) {
        if !more.is_empty() && !said.contains(more) {
            said.push_str(if said.is_empty() { "" } else { "; " });
            said.push_str(more);
        }
    }
    let cause = match result["api_error_status"].as_u64() {
        Some(429) => Cause::RateLimited,
        Some(401 | 403 | 404) => Cause::Refused,
        Some(400) if said.contains("too long") => Cause::OutOfBudget,
        Some(400) => Cause::Refused,
        Some(500..) => Cause::ProviderDown,
        _ => match result["subtype"].as_str() {
            Some("error_max_budget_usd" | "error_max_turns") => Cause::OutOfBudget,
            Some("success") => Cause::ProviderDown,
            _ => Cause::AgentCrashed,
        },
    };
    Failure::new(cause, format!("Claude Code: {said}"))
}

/// All that the turn was billed for, its compactions included: with one process for each turn the
/// program's running total is the turn's.
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

/// Tokens of a request and of its answer so far.
fn request_size(usage: &Value) -> Option<u64> {
    let count = |field: &str| usage[field].as_u64();
    count("input_tokens")?
        .checked_add(count("cache_creation_input_tokens").unwrap_or_default())?
        .checked_add(count("cache_read_input_tokens").unwrap_or_default())?
        .checked_add(count("output_tokens").unwrap_or_default())
        .filter(|&size| size > 0)
}

/// The summary in the words around it.
fn summary_in(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("Summary:\n")?;
    let summary = rest
        .split_once("\n\nIf you need specific details")
        .map_or(rest, |(summary, _)| summary);
    Some(summary.to_owned())
}

/// What stands between a tag and its end.
fn inner(text: &str, tag: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    let (inner, _) = rest.rsplit_once(&format!("</{tag}>"))?;
    Some(inner.trim().to_owned())
}

fn blocks(content: &Value) -> impl Iterator<Item = &Value> {
    content.as_array().into_iter().flatten()
}

fn words(content: &Value) -> String {
    content.as_str().map_or_else(
        || {
            blocks(content)
                .filter_map(|block| block["text"].as_str())
                .collect::<Vec<_>>()
                .join("\n")
        },
        str::to_owned,
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a tool is used on: its first argument that is a text, for people.
fn target(input: &Value) -> String {
    let named = ["file_path", "path", "pattern", "command"]
        .iter()
        .find_map(|name| input.get(*name)?.as_str());
    named.map_or_else(
        || input.to_string().chars().take(TARGET_CHARS).collect(),
        |target| target.chars().take(TARGET_CHARS).collect(),
    )
}
