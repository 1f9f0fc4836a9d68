//! The rollout: JSON lines, to which a turn adds. What a turn added tells its compactions and how
//! full the context is.

use domain::Tokens;
use serde_json::Value;

use crate::event::{Compaction, CompactionTrigger, Proof, Reinjected, ReinjectedKind};

/// What the program calls a message of the user, as against one of its own in the same role.
const OF_THE_USER: &str = "user.text";
/// What a command's result holds where the program's own sandbox could not be made.
const NO_SANDBOX: [&str; 3] = ["\nbwrap: ", "requires bubblewrap", "codex-linux-sandbox"];

/// What a turn left in the rollout.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) compactions: Vec<Compaction>,
    /// Tokens in the context after the turn.
    pub(super) context: Option<u64>,
    /// What the turn was billed for; none where it is not told.
    pub(super) billed: Option<Tokens>,
    /// The result of a command that could not even be started.
    pub(super) not_started: Option<String>,
}

/// Reads what was added to `before`; none where something else became of it.
pub(super) fn told(before: &[u8], after: &[u8], trigger: CompactionTrigger) -> Option<Told> {
    let added = after.strip_prefix(before)?;
    let mut reading = Reading::default();
    for line in lines(before) {
        if let Some(count) = token_count(&line) {
            reading.counted(count);
        }
    }
    // All counts are of the whole conversation, of what a copy had before it was copied too.
    let before = reading.billed.take().unwrap_or_default();
    for line in lines(added) {
        reading.line(&line, trigger);
    }
    Some(Told {
        compactions: reading.compactions,
        context: reading.context,
        billed: reading.billed.and_then(|after| difference(after, before)),
        not_started: reading.not_started,
    })
}

#[derive(Debug, Default)]
struct Reading {
    compactions: Vec<Compaction>,
    context: Option<u64>,
    billed: Option<Tokens>,
    /// The request that was answered last, and the context before it.
    answered: Option<(String, Option<u64>)>,
    /// The last that the model said.
    said: String,
    not_started: Option<String>,
}

impl Reading {
    fn line(&mut self, line: &Value, trigger: CompactionTrigger) {
        let payload = &line["payload"];
        if let Some(count) = token_count(line) {
            self.counted(count);
        } else if line["type"] == "compacted" {
            self.compacted(payload, trigger);
        } else if line["type"] == "token_usage_record" {
            let request = text(&payload["response_id"]);
            self.answered = Some((request, self.context));
        } else if payload["type"] == "message" && payload["role"] == "assistant" {
            self.said = words(&payload["content"]);
        } else if payload["type"] == "function_call_output" {
            let result = text(&payload["output"]);
            if NO_SANDBOX.iter().any(|sign| result.contains(sign)) {
                self.not_started = Some(result);
            }
        }
    }

    fn counted(&mut self, count: &Value) {
        if let Some(context) = count["last_token_usage"]["total_tokens"].as_u64() {
            self.context = Some(context);
            if let Some(compaction) = self.compactions.last_mut() {
                compaction.tokens_after.get_or_insert(context);
            }
        }
        if let Some(billed) = tokens(&count["total_token_usage"]) {
            self.billed = Some(billed);
        }
    }

    fn compacted(&mut self, payload: &Value, trigger: CompactionTrigger) {
        // The request for the summary was counted too; what matters is what there was before it.
        let before = match &self.answered {
            Some((request, before)) if payload["compaction_response_id"] == **request => *before,
            Some(_) | None => self.context,
        };
        let kept = kept(&payload["replacement_history"]);
        self.compactions.push(Compaction {
            trigger,
            tokens_before: before,
            tokens_after: None,
            summary: summary(&text(&payload["message"]), &self.said),
            proof: Proof::Reported,
            reinjected: kept.into_iter().collect(),
        });
        self.context = None;
    }
}

/// The summary without what the program puts before it: what the model said, where it did; else all
/// of it. None where nobody is shown it.
fn summary(message: &str, said: &str) -> Option<String> {
    let said = said.trim_end();
    if !said.is_empty() && message.trim_end().ends_with(said) {
        return Some(said.to_owned());
    }
    Some(message.to_owned()).filter(|message| !message.trim().is_empty())
}

/// What the user had said, as far as it was kept word for word.
fn kept(history: &Value) -> Option<Reinjected> {
    let messages = history.as_array().into_iter().flatten();
    let texts: Vec<String> = messages
        .filter(|message| message["role"] == "user")
        .filter(|message| {
            let about = &message["internal_chat_message_metadata_passthrough"];
            let kinds = about["content_item_kinds"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == OF_THE_USER))
        })
        .map(|message| words(&message["content"]))
        .filter(|text| !text.is_empty())
        .collect();
    (!texts.is_empty()).then(|| Reinjected {
        kind: ReinjectedKind::Tail,
        name: None,
        text: texts.join("\n\n"),
    })
}

/// The whole lines; half of one is what a stopped program leaves.
fn lines(rollout: &[u8]) -> impl Iterator<Item = Value> {
    rollout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}

fn token_count(line: &Value) -> Option<&Value> {
    let payload = &line["payload"];
    (line["type"] == "event_msg" && payload["type"] == "token_count").then(|| &payload["info"])
}

fn tokens(usage: &Value) -> Option<Tokens> {
    Some(Tokens {
        input: usage["input_tokens"].as_u64()?,
        cached: usage["cached_input_tokens"].as_u64()?,
        output: usage["output_tokens"].as_u64()?,
    })
}

fn difference(after: Tokens, before: Tokens) -> Option<Tokens> {
    Some(Tokens {
        input: after.input.checked_sub(before.input)?,
        cached: after.cached.checked_sub(before.cached)?,
        output: after.output.checked_sub(before.output)?,
    })
}

fn words(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten();
    let texts: Vec<&str> = parts.filter_map(|part| part["text"].as_str()).collect();
    texts.join("\n")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
