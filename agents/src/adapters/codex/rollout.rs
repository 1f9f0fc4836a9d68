//! The rollout: a file of JSON lines that grows with each turn. The lines of a turn show its
//! compactions and the size of the context.

use domain::Tokens;
use serde_json::Value;

use crate::adapters::cli_adapter::json::{elements, lines, text};
use crate::event::{Compaction, CompactionTrigger, Proof, Reinjected};

/// Kind of the user's messages. The program adds messages of its own in the same role.
const USER_TEXT: &str = "user.text";
/// Signs in the result of a command that the program's own sandbox could not be created.
const NO_SANDBOX: [&str; 3] = ["\nbwrap: ", "requires bubblewrap", "codex-linux-sandbox"];

/// Changes of the rollout by one turn.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RolloutChanges {
    pub(super) compactions: Vec<Compaction>,
    /// Tokens in the context after the turn.
    pub(super) context: Option<u64>,
    /// Tokens billed for the turn. `None` if the rollout does not state them.
    pub(super) billed: Option<Tokens>,
    /// Result of a command that could not be started.
    pub(super) failed_command: Option<String>,
}

/// Reads the lines that were added to `before`. Returns `None` if earlier lines changed.
pub(super) fn changes(
    before: &[u8],
    after: &[u8],
    trigger: CompactionTrigger,
) -> Option<RolloutChanges> {
    let added = after.strip_prefix(before)?;
    let mut reader = RolloutReader::default();
    for line in lines(before) {
        if let Some(count) = token_count(&line) {
            reader.counted(count);
        }
    }
    // Counts cover the whole conversation, including the part before a copy.
    let before = reader.billed.take().unwrap_or_default();
    for line in lines(added) {
        reader.line(&line, trigger);
    }
    Some(RolloutChanges {
        compactions: reader.compactions,
        context: reader.context,
        billed: reader.billed.and_then(|after| difference(after, before)),
        failed_command: reader.failed_command,
    })
}

#[derive(Debug, Default)]
struct RolloutReader {
    compactions: Vec<Compaction>,
    context: Option<u64>,
    billed: Option<Tokens>,
    /// The last answered request, and the context before it.
    answered: Option<(String, Option<u64>)>,
    /// Last message of the model.
    last_message: String,
    failed_command: Option<String>,
}

impl RolloutReader {
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
            self.last_message = content_text(&payload["content"]);
        } else if payload["type"] == "function_call_output" {
            let result = text(&payload["output"]);
            if NO_SANDBOX.iter().any(|sign| result.contains(sign)) {
                self.failed_command = Some(result);
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
        // The request for the summary was counted too. The size before that request is wanted.
        let before = match &self.answered {
            Some((request, before)) if payload["compaction_response_id"] == **request => *before,
            Some(_) | None => self.context,
        };
        let kept = kept_messages(&payload["replacement_history"]);
        self.compactions.push(Compaction {
            trigger,
            tokens_before: before,
            tokens_after: None,
            summary: summary(&text(&payload["message"]), &self.last_message),
            proof: Proof::Reported,
            reinjected: kept.into_iter().collect(),
        });
        self.context = None;
    }
}

/// Returns the summary without the program's introduction: the model's last message if the summary
/// ends with it, else the whole text. Returns `None` if the summary is not shown.
fn summary(message: &str, last_message: &str) -> Option<String> {
    let last_message = last_message.trim_end();
    if !last_message.is_empty() && message.trim_end().ends_with(last_message) {
        return Some(last_message.to_owned());
    }
    Some(message.to_owned()).filter(|message| !message.trim().is_empty())
}

/// Returns the user's messages that were kept word for word.
fn kept_messages(history: &Value) -> Option<Reinjected> {
    let texts: Vec<String> = elements(history)
        .filter(|message| message["role"] == "user")
        .filter(|message| {
            let about = &message["internal_chat_message_metadata_passthrough"];
            let kinds = about["content_item_kinds"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == USER_TEXT))
        })
        .map(|message| content_text(&message["content"]))
        .filter(|text| !text.is_empty())
        .collect();
    Reinjected::tail(&texts)
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

fn content_text(content: &Value) -> String {
    let texts: Vec<&str> = elements(content)
        .filter_map(|part| part["text"].as_str())
        .collect();
    texts.join("\n")
}
