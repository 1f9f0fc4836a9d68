//! The session file of Qwen Code: where it is, and what a turn adds to it.

use std::path::{Path, PathBuf};

use domain::Tokens;
use serde_json::Value;

use crate::event::{Compaction, CompactionTrigger, Proof, Reinjected, ReinjectedKind};
use crate::failure::{Cause, Failure};

/// The program's word for a compression that was applied.
const APPLIED: u64 = 1;
/// What a compressed history begins with: the summary, and an answer that says nothing.
const HEAD: usize = 2;

/// Where the program keeps a session that works in a folder: named after the folder's real path,
/// with a dash for everything that is no ASCII letter or digit.
pub(super) async fn path(home: &Path, folder: &Path, id: &str) -> Result<PathBuf, Failure> {
    let real = tokio::fs::canonicalize(folder).await.map_err(|error| {
        Failure::harness(format!("{} cannot be found: {error}", folder.display()))
    })?;
    let name: String = real
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    Ok(home
        .join(".qwen/projects")
        .join(name)
        .join("chats")
        .join(format!("{id}.jsonl")))
}

/// The session file for another folder: the program takes only sessions for its own whose lines name
/// the folder that it works in. A line that cannot be read is left as it is.
pub(super) fn moved(state: &[u8], folder: &Path) -> Vec<u8> {
    let folder = folder.to_string_lossy();
    let mut moved = Vec::with_capacity(state.len());
    for line in state.split_inclusive(|&byte| byte == b'\n') {
        match serde_json::from_slice::<Value>(line) {
            Ok(mut entry) if entry.get("cwd").is_some_and(|cwd| *cwd != *folder) => {
                entry["cwd"] = Value::String(folder.clone().into_owned());
                moved.extend_from_slice(entry.to_string().as_bytes());
                moved.push(b'\n');
            }
            Ok(_) | Err(_) => moved.extend_from_slice(line),
        }
    }
    moved
}

/// What one turn added.
#[derive(Debug, Default)]
pub(super) struct News {
    responses: Vec<Response>,
    refusals: Vec<Refusal>,
    compressions: Vec<Compression>,
}

/// An answer of the provider, to a summariser's requests as well.
#[derive(Debug)]
struct Response {
    tokens: Option<Tokens>,
    /// It came after the last compression of the turn.
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

impl News {
    /// Reads lines; what cannot be read is skipped.
    pub(super) fn read(added: &[u8]) -> Self {
        let mut news = Self::default();
        for line in added.split(|&byte| byte == b'\n') {
            if let Ok(line) = serde_json::from_slice::<Value>(line) {
                news.line(&line);
            }
        }
        news
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
                    // A formula of the program's (what there was, less what was summed up, and the
                    // summary), no count.
                    after: info["newTokenCount"].as_u64(),
                    history: payload["compressedHistory"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(said)
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
            // What we broke off ourselves says nothing of the provider.
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

    /// Whether no model answered.
    pub(super) fn is_silent(&self) -> bool {
        self.responses.is_empty()
    }

    /// How often the provider refused.
    pub(super) fn refusals(&self) -> usize {
        self.refusals.len()
    }

    /// The last refusal, as a failure.
    pub(super) fn refusal(&self) -> Option<Failure> {
        let last = self.refusals.last()?;
        Some(Failure::new(
            cause(last.status),
            format!("Qwen Code: {}", last.message),
        ))
    }

    /// All that the turn was billed for; none where an answer does not tell.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let mut sum = None;
        for response in &self.responses {
            let before = sum.unwrap_or_default();
            sum = Some(response.tokens?.plus(before)?);
        }
        sum
    }

    /// The context after the turn: the last request that is still in force, with its answer.
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

    /// The compactions of the turn, with the raw summaries that the hook was handed, if it was.
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
                let kept = history.next();
                let tail: Vec<String> = history.skip(HEAD - 1).collect();
                Compaction {
                    trigger,
                    tokens_before: compression.before,
                    tokens_after: compression.after,
                    summary: raw_summaries.next().or(kept),
                    proof: Proof::Reported,
                    reinjected: put_back(&tail),
                }
            })
            .collect()
    }
}

fn put_back(tail: &[String]) -> Vec<Reinjected> {
    let text = tail.join("\n\n");
    if text.trim().is_empty() {
        return Vec::new();
    }
    vec![Reinjected {
        kind: ReinjectedKind::Tail,
        name: None,
        text,
    }]
}

/// Who is to blame for a refusal of the provider.
pub(super) fn cause(status: Option<u64>) -> Cause {
    match status {
        Some(429) => Cause::RateLimited,
        Some(400..=499) => Cause::Refused,
        Some(_) | None => Cause::ProviderDown,
    }
}

/// The text of a message, with what tools were used on and what they answered.
fn said(message: &Value) -> String {
    message["parts"]
        .as_array()
        .into_iter()
        .flatten()
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
