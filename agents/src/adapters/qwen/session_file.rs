//! The session file of Qwen Code: its location, and the changes that a turn makes.

use std::path::{Path, PathBuf};

use domain::Tokens;
use serde_json::Value;

use crate::adapters::cli_adapter::files;
use crate::adapters::cli_adapter::json::{elements, lines};
use crate::event::{Compaction, CompactionTrigger, Proof, Reinjected};
use crate::failure::{Cause, Failure};

/// The program's status of a compression that was applied.
const APPLIED: u64 = 1;
/// Messages at the start of a compressed history: the summary and an acknowledgement.
const HEAD: usize = 2;

/// Returns the path of the session file for a working folder. The program names it after the
/// folder's real path, with a dash for each character that is not an ASCII letter or digit.
fn path(home: &Path, real_folder: &Path, id: &str) -> PathBuf {
    let name: String = real_folder
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    home.join(".qwen/projects")
        .join(name)
        .join("chats")
        .join(format!("{id}.jsonl"))
}

/// Reads the session file. It is empty before the first turn.
pub(super) async fn read(home: &Path, folder: &Path, id: &str) -> Result<Vec<u8>, Failure> {
    let real = files::real_path(folder).await?;
    let file = files::read_if_exists(&path(home, &real, id)).await?;
    Ok(file.unwrap_or_default())
}

/// Writes the session file to the place where the program looks for it. An empty state removes it.
pub(super) async fn restore(
    home: &Path,
    folder: &Path,
    id: &str,
    state: &[u8],
) -> Result<(), Failure> {
    let real = files::real_path(folder).await?;
    let path = path(home, &real, id);
    if state.is_empty() {
        files::remove_if_exists(&path).await
    } else {
        files::write(&path, &for_folder(state, &real)).await
    }
}

/// Returns the session file for another working folder. The program accepts only sessions whose
/// lines name its working folder. A line that cannot be parsed stays unchanged.
pub(super) fn for_folder(state: &[u8], folder: &Path) -> Vec<u8> {
    let folder = folder.to_string_lossy();
    let mut adapted = Vec::with_capacity(state.len());
    for line in state.split_inclusive(|&byte| byte == b'\n') {
        match serde_json::from_slice::<Value>(line) {
            Ok(mut entry) if entry.get("cwd").is_some_and(|cwd| *cwd != *folder) => {
                entry["cwd"] = Value::String(folder.clone().into_owned());
                adapted.extend_from_slice(entry.to_string().as_bytes());
                adapted.push(b'\n');
            }
            Ok(_) | Err(_) => adapted.extend_from_slice(line),
        }
    }
    adapted
}

/// Lines that a turn added to the session file.
#[derive(Debug, Default)]
pub(super) struct SessionChanges {
    responses: Vec<Response>,
    refusals: Vec<Refusal>,
    compressions: Vec<Compression>,
}

/// An answer of the provider, including answers to requests for summaries.
#[derive(Debug)]
struct Response {
    tokens: Option<Tokens>,
    /// The answer came after the last compression of the turn.
    after_compression: bool,
}

#[derive(Debug)]
struct Refusal {
    status: Option<u64>,
    message: String,
}

#[derive(Debug)]
struct Compression {
    before: Option<u64>,
    after: Option<u64>,
    history: Vec<String>,
}

impl SessionChanges {
    /// Parses lines. Lines that cannot be parsed are skipped.
    pub(super) fn parse(added: &[u8]) -> Self {
        let mut changes = Self::default();
        for line in lines(added) {
            changes.line(&line);
        }
        changes
    }

    fn line(&mut self, line: &Value) {
        let payload = &line["systemPayload"];
        match line["subtype"].as_str() {
            Some("ui_telemetry") => self.telemetry(&payload["uiEvent"]),
            Some("chat_compression") => {
                let info = &payload["info"];
                if info["compressionStatus"].as_u64() != Some(APPLIED) {
                    return;
                }
                self.compressions.push(Compression {
                    before: info["originalTokenCount"].as_u64(),
                    // Not a count, but a formula of the program: the tokens before, minus the
                    // summarised ones, plus the summary.
                    after: info["newTokenCount"].as_u64(),
                    history: elements(&payload["compressedHistory"])
                        .map(message_text)
                        .collect(),
                });
                for response in &mut self.responses {
                    response.after_compression = false;
                }
            }
            _ => {}
        }
    }

    fn telemetry(&mut self, event: &Value) {
        match event["event.name"].as_str() {
            Some("qwen-code.api_response") => {
                let count = |field: &str| event[field].as_u64();
                let tokens = count("input_token_count").zip(count("output_token_count"));
                self.responses.push(Response {
                    tokens: tokens.map(|(input, output)| Tokens {
                        input,
                        cached: count("cached_content_token_count").unwrap_or_default(),
                        output,
                    }),
                    after_compression: true,
                });
            }
            // A request that we aborted ourselves is not a refusal of the provider.
            Some("qwen-code.api_error") if event["error_type"] == "APIUserAbortError" => {}
            Some("qwen-code.api_error") => self.refusals.push(Refusal {
                status: event["status_code"].as_u64(),
                message: event["error_message"]
                    .as_str()
                    .unwrap_or("no reason is given")
                    .to_owned(),
            }),
            _ => {}
        }
    }

    /// Returns whether no model answered.
    pub(super) fn has_no_response(&self) -> bool {
        self.responses.is_empty()
    }

    /// Returns how often the provider refused.
    pub(super) fn refusals(&self) -> usize {
        self.refusals.len()
    }

    /// Returns the last refusal as a failure.
    pub(super) fn last_refusal(&self) -> Option<Failure> {
        let last = self.refusals.last()?;
        Some(Failure::new(
            cause(last.status),
            format!("Qwen Code: {}", last.message),
        ))
    }

    /// Returns the tokens billed for the turn. Returns `None` if an answer does not state them.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let mut sum = None;
        for response in &self.responses {
            let before = sum.unwrap_or_default();
            sum = Some(response.tokens?.plus(before)?);
        }
        sum
    }

    /// Returns the size of the context after the turn: the last request after the last compression,
    /// with its answer.
    pub(super) fn context(&self) -> Option<u64> {
        let last = self
            .responses
            .iter()
            .rev()
            .find(|response| response.after_compression);
        match last {
            Some(response) => {
                let tokens = response.tokens?;
                tokens.input.checked_add(tokens.output)
            }
            None => self.compressions.last()?.after,
        }
    }

    /// Returns the compactions of the turn, with the raw summaries of the hook where there are any.
    pub(super) fn compactions(
        self,
        trigger: CompactionTrigger,
        raw_summaries: Vec<String>,
    ) -> Vec<Compaction> {
        let unused = raw_summaries.len().saturating_sub(self.compressions.len());
        let mut raw_summaries = raw_summaries.into_iter().skip(unused);
        self.compressions
            .into_iter()
            .map(|compression| {
                let mut history = compression.history.into_iter();
                let shown_summary = history.next();
                let tail: Vec<String> = history.skip(HEAD - 1).collect();
                Compaction {
                    trigger,
                    tokens_before: compression.before,
                    tokens_after: compression.after,
                    summary: raw_summaries.next().or(shown_summary),
                    proof: Proof::Reported,
                    reinjected: Reinjected::tail(&tail).into_iter().collect(),
                }
            })
            .collect()
    }
}

/// Returns the cause of a refusal by its HTTP status.
pub(super) fn cause(status: Option<u64>) -> Cause {
    match status {
        Some(429) => Cause::RateLimited,
        Some(400..=499) => Cause::Refused,
        Some(_) | None => Cause::ProviderDown,
    }
}

/// Returns the text of a message, with the arguments and results of tools.
fn message_text(message: &Value) -> String {
    elements(&message["parts"])
        .filter_map(|part| {
            if let Some(text) = part["text"].as_str() {
                return Some(text.to_owned());
            }
            if let Some(call) = part.get("functionCall") {
                return Some(call["args"].to_string());
            }
            let response = &part.get("functionResponse")?["response"];
            let output = response.get("output").unwrap_or(response);
            Some(
                output
                    .as_str()
                    .map_or_else(|| output.to_string(), str::to_owned),
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}
