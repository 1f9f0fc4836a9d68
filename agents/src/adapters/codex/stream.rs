//! Event stream of Codex, and the classification of its failures.

use serde_json::{Value, json};

use crate::adapters::cli_adapter::MAX_TARGET_CHARS;
use crate::adapters::cli_adapter::json::{shorten, stream_line};
use crate::adapters::cli_adapter::turn_fault::TurnFault;
use crate::event::{AgentEvent, ToolCall};
use crate::failure::{Cause, Failure};
use crate::process::{Line, ProgramExit};
use crate::turn_builder::TurnBuilder;

/// The only tool that is offered, under the name that the model uses.
const TOOL: &str = "exec_command";
/// Maximum length of an error message, in characters.
const MAX_MESSAGE_CHARS: usize = 400;
/// Prefix of a notice that the program retries a request.
const RETRY_NOTICE: &str = "Reconnecting... ";
/// Prefix of the failure of a compaction that the provider performs.
const REMOTE_COMPACTION: &str = "Error running remote compact task: ";

/// Reader for the lines of one turn.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    pub(super) turn: TurnBuilder,
    /// Id of the conversation.
    pub(super) thread: Option<String>,
    completed: bool,
    failed: Option<String>,
    /// Ids of the commands that were started.
    started_commands: Vec<String>,
    unreadable: u32,
}

impl StreamReader {
    /// Reads a line. A line that is not JSON is counted and skipped: the end of the turn shows
    /// whether it is complete.
    pub(super) fn line(&mut self, line: &Line) -> Vec<AgentEvent> {
        if let Some(event) = stream_line(&line.bytes, &mut self.unreadable) {
            self.event(&event);
        }
        self.turn.drain_events()
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
                let error = event["error"]["message"].as_str();
                self.failed = Some(error.unwrap_or("no reason given").to_owned());
            }
            _ => {}
        }
    }

    fn item(&mut self, item: &Value, is_complete: bool) {
        let field = |name: &str| item[name].as_str().unwrap_or_default();
        match item["type"].as_str() {
            Some("agent_message") if is_complete => self.turn.text(field("text")),
            // A notice: the turn continues.
            Some("error") if is_complete => self.turn.error(field("message")),
            Some("command_execution") => {
                let id = field("id");
                if !self.started_commands.iter().any(|started| started == id) {
                    self.started_commands.push(id.to_owned());
                    self.turn.tool_call(ToolCall {
                        id: id.to_owned(),
                        tool: TOOL.to_owned(),
                        target: shorten(field("command"), MAX_TARGET_CHARS),
                    });
                }
                if is_complete {
                    let bytes = field("aggregated_output").len() as u64;
                    let is_error = item["exit_code"] != json!(0);
                    self.turn.tool_result(id, is_error, bytes);
                }
            }
            _ => {}
        }
    }

    /// Reads a notice of a retry, or the error that ends the turn.
    fn error(&mut self, message: &str) {
        let Some(notice) = message.strip_prefix(RETRY_NOTICE) else {
            self.failed.get_or_insert_with(|| message.to_owned());
            return;
        };
        let attempt: String = notice.chars().take_while(char::is_ascii_digit).collect();
        let why = notice.split_once('(').map_or(notice, |(_, why)| why);
        let attempt = attempt.parse().unwrap_or_default();
        self.turn.retry(
            attempt,
            &shorten(why.trim_end_matches(')'), MAX_MESSAGE_CHARS),
        );
    }

    /// Returns whether any command was run.
    pub(super) fn ran_commands(&self) -> bool {
        !self.started_commands.is_empty()
    }

    /// Returns the fault of the turn. Returns `None` if the turn succeeded.
    pub(super) fn fault(&mut self, exit: &ProgramExit) -> Option<TurnFault> {
        if self.completed && exit.status.success() {
            if self.unreadable > 0 {
                let message = format!("could not parse {} lines of Codex", self.unreadable);
                self.turn.error(&message);
            }
            return None;
        }
        Some(match &self.failed {
            Some(message) => classify(message),
            None => without_turn(exit).into(),
        })
    }
}

/// Classifies a fault by the program's message. The exit status is the same for all faults.
pub(super) fn classify(message: &str) -> TurnFault {
    let message = message.strip_prefix(REMOTE_COMPACTION).unwrap_or(message);
    let status = message
        .split_once("status")
        .and_then(|(_, after)| {
            after
                .split(|c: char| !c.is_ascii_digit())
                .find(|n| n.len() == 3)
        })
        .and_then(|number| number.parse::<u16>().ok());
    // Most messages of a 400 are only its body.
    let refused = message.starts_with('{') || status == Some(400);
    let has = |text: &str| message.contains(text);
    let (cause, summary) = if has("ran out of room") || has("context_length_exceeded") {
        (Cause::OutOfBudget, "the context is full")
    } else if has("Quota exceeded") {
        (Cause::OutOfBudget, "the account's quota is exhausted")
    } else if has("Missing environment variable") {
        (
            Cause::Refused,
            "the provider key is missing. Set OPENAI_API_KEY",
        )
    } else if refused {
        (Cause::Refused, "the provider refused the request")
    } else {
        match status {
            Some(429) => (Cause::RateLimited, "the provider limited the request rate"),
            Some(408 | 500..=599) => (Cause::ProviderDown, "the provider is unavailable"),
            Some(400..=499) => (Cause::Refused, "the provider refused the request"),
            Some(_) | None if has("high demand") || has("at capacity") => {
                (Cause::ProviderDown, "the provider is unavailable")
            }
            Some(_) | None if has("stream disconnected") || has("onnection") => {
                (Cause::ProviderDown, "the provider did not answer")
            }
            Some(_) | None => (Cause::AgentCrashed, "the turn failed"),
        }
    };
    TurnFault {
        failure: Failure::new(
            cause,
            format!("Codex: {summary}: {}", shorten(message, MAX_MESSAGE_CHARS)),
        ),
        no_summary: refused && cause == Cause::Refused,
    }
}

/// Returns the failure of a program that reported no turn.
fn without_turn(exit: &ProgramExit) -> Failure {
    let last_line = exit.stderr.lines().last().unwrap_or_default();
    let last_line = shorten(last_line, MAX_MESSAGE_CHARS);
    let signs = ["no rollout found", "Error loading config", "error: "];
    if signs.iter().any(|sign| exit.stderr.contains(sign)) {
        return Failure::harness(format!(
            "Codex rejected its settings or could not find the conversation: {last_line}"
        ));
    }
    Failure::new(
        Cause::AgentCrashed,
        format!(
            "Codex exited with {} in the middle of a turn: {last_line}",
            exit.status
        ),
    )
}
