//! The event stream of Codex, and what it says of failures.

use serde_json::{Value, json};

use crate::event::{AgentEvent, ToolCall};
use crate::failure::{Cause, Failure};
use crate::gathering::Gathering;
use crate::process::{Ended, Line};

/// The one tool that is offered, under the name that the model knows it by.
const TOOL: &str = "exec_command";
/// How much of a command is told.
const TARGET_CHARS: usize = 200;
/// How much of a message is told.
const SHOWN: usize = 400;
/// What a notice of another try begins with.
const AGAIN: &str = "Reconnecting... ";
/// What is put before the failure of a compaction that the provider was to do.
const BY_PROVIDER: &str = "Error running remote compact task: ";

/// Why a turn failed, and whether it was only a request that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    /// The turn was to begin with a summary, and the request for it was refused for a reason of its
    /// own: the provider is there.
    pub(super) no_summary: bool,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            no_summary: false,
        }
    }
}

/// A turn as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) gathering: Gathering,
    /// The conversation's id.
    pub(super) thread: Option<String>,
    completed: bool,
    failed: Option<String>,
    /// Commands that were begun.
    begun: Vec<String>,
    unreadable: u32,
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
        match event["type"].as_str() {
            Some("thread.started") => {
                self.thread = event["thread_id"].as_str().map(str::to_owned);
            }
            Some("item.started") => self.item(&event["item"], false),
            Some("item.completed") => self.item(&event["item"], true),
            Some("error") => self.error(event["message"].as_str().unwrap_or_default()),
            Some("turn.completed") => self.completed = true,
            Some("turn.failed") => {
                let said = event["error"]["message"].as_str();
                self.failed = Some(said.unwrap_or("no reason given").to_owned());
            }
            _ => {}
        }
    }

    fn item(&mut self, item: &Value, is_whole: bool) {
        let said = |field: &str| item[field].as_str().unwrap_or_default();
        match item["type"].as_str() {
            Some("agent_message") if is_whole => self.gathering.text(said("text")),
            // Notices: the turn goes on.
            Some("error") if is_whole => self.gathering.error(said("message")),
            Some("command_execution") => {
                let id = said("id");
                if !self.begun.iter().any(|begun| begun == id) {
                    self.begun.push(id.to_owned());
                    self.gathering.tool_call(ToolCall {
                        id: id.to_owned(),
                        tool: TOOL.to_owned(),
                        target: said("command").chars().take(TARGET_CHARS).collect(),
                    });
                }
                if is_whole {
                    let bytes = said("aggregated_output").len() as u64;
                    let is_error = item["exit_code"] != json!(0);
                    self.gathering.tool_result(id, is_error, bytes);
                }
            }
            _ => {}
        }
    }

    /// A notice of another try, or the error that the turn ends with.
    fn error(&mut self, said: &str) {
        let Some(again) = said.strip_prefix(AGAIN) else {
            self.failed.get_or_insert_with(|| said.to_owned());
            return;
        };
        let attempt: String = again.chars().take_while(char::is_ascii_digit).collect();
        let why = again.split_once('(').map_or(again, |(_, why)| why);
        let attempt = attempt.parse().unwrap_or_default();
        self.gathering
            .retry(attempt, &shown(why.trim_end_matches(')')));
    }

    /// Whether any command was run.
    pub(super) fn ran_commands(&self) -> bool {
        !self.begun.is_empty()
    }

    /// The fault of the turn; none where it ended well.
    pub(super) fn fault(&mut self, ended: &Ended) -> Option<Fault> {
        if self.completed && ended.status.success() {
            if self.unreadable > 0 {
                let lines = format!("{} lines of Codex could not be read", self.unreadable);
                self.gathering.error(&lines);
            }
            return None;
        }
        Some(match &self.failed {
            Some(said) => fault(said),
            None => without_turn(ended).into(),
        })
    }
}

/// The fault that the program tells of, in words only: its exit status is the same for all.
pub(super) fn fault(said: &str) -> Fault {
    let said = said.strip_prefix(BY_PROVIDER).unwrap_or(said);
    let status = said
        .split_once("status")
        .and_then(|(_, after)| {
            after
                .split(|c: char| !c.is_ascii_digit())
                .find(|n| n.len() == 3)
        })
        .and_then(|number| number.parse::<u16>().ok());
    // The body of a 400 is mostly all that is told of it.
    let refused = said.starts_with('{') || status == Some(400);
    let has = |words: &str| said.contains(words);
    let (cause, what) = if has("ran out of room") || has("context_length_exceeded") {
        (Cause::OutOfBudget, "the context is full")
    } else if has("Quota exceeded") {
        (Cause::OutOfBudget, "the account's quota is used up")
    } else if has("Missing environment variable") {
        (Cause::Refused, "there is no key; set OPENAI_API_KEY")
    } else if refused {
        (Cause::Refused, "the provider refused the request")
    } else {
        match status {
            Some(429) => (Cause::RateLimited, "the provider limits the rate"),
            Some(408 | 500..=599) => (Cause::ProviderDown, "the provider is in trouble"),
            Some(400..=499) => (Cause::Refused, "the provider refused the request"),
            Some(_) | None if has("high demand") || has("at capacity") => {
                (Cause::ProviderDown, "the provider is in trouble")
            }
            Some(_) | None if has("stream disconnected") || has("onnection") => {
                (Cause::ProviderDown, "the provider's answer did not come")
            }
            Some(_) | None => (Cause::AgentCrashed, "the turn failed"),
        }
    };
    Fault {
        failure: Failure::new(cause, format!("Codex: {what}: {}", shown(said))),
        no_summary: refused && cause == Cause::Refused,
    }
}

/// A program that told of no turn.
fn without_turn(ended: &Ended) -> Failure {
    let told = shown(ended.stderr.lines().last().unwrap_or_default());
    let lost = ["no rollout found", "Error loading config", "error: "];
    if lost.iter().any(|sign| ended.stderr.contains(sign)) {
        return Failure::harness(format!(
            "Codex did not take its settings, or cannot find the conversation: {told}"
        ));
    }
    Failure::new(
        Cause::AgentCrashed,
        format!(
            "Codex ended with {} in the middle of a turn: {told}",
            ended.status
        ),
    )
}

pub(super) fn shown(message: &str) -> String {
    message.chars().take(SHOWN).collect()
}
