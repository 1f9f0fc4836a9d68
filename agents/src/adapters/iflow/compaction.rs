//! Compactions that iFlow reports in its answers.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use crate::event::{Compaction, CompactionTrigger, Proof};

/// Announcement of an automatic compaction.
static ANNOUNCEMENT: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"_Context auto-compressed: (\d+) → (\d+) tokens"));

/// Returns the compaction that an answer reports, automatic or requested. Returns `None` for one
/// that was not applied.
pub(super) fn reported(answer: &str) -> Option<Compaction> {
    requested(answer).or_else(|| automatic(answer))
}

fn requested(answer: &str) -> Option<Compaction> {
    let start = answer.find("{\"type\":\"compression\"")?;
    let mut values = serde_json::Deserializer::from_str(&answer[start..]).into_iter::<Value>();
    let report = values.next()?.ok()?;
    let compression = &report["compression"];
    if compression["isPending"] != json!(false) {
        return None;
    }
    let summary = compression["summary"].as_str().map(str::trim);
    compaction(
        CompactionTrigger::Manual,
        compression["originalTokenCount"].as_u64()?,
        compression["newTokenCount"].as_u64()?,
        summary.map(str::to_owned),
    )
}

fn automatic(answer: &str) -> Option<Compaction> {
    let groups = ANNOUNCEMENT.as_ref().ok()?.captures(answer)?;
    let number = |group: usize| groups.get(group)?.as_str().parse().ok();
    compaction(CompactionTrigger::Auto, number(1)?, number(2)?, None)
}

/// Returns a compaction, if it reduced the size of the context.
fn compaction(
    trigger: CompactionTrigger,
    before: u64,
    after: u64,
    summary: Option<String>,
) -> Option<Compaction> {
    (after < before).then_some(Compaction {
        trigger,
        tokens_before: Some(before),
        tokens_after: Some(after),
        summary,
        proof: Proof::Reported,
        reinjected: Vec::new(),
    })
}
