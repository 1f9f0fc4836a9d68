//! Reads recorded frames, complete and damaged.

use proptest::prelude::*;
use serde_json::Value;

use super::compaction::reported;
use super::plain::parse_report;
use super::session::check_end;
use crate::adapters::acp::updates::Updates;
use crate::event::CompactionTrigger;
use crate::failure::Cause;

const RECORDED: [&str; 4] = [
    include_str!("../../../tests/streams/iflow/acp_ws.jsonl"),
    include_str!("../../../tests/streams/iflow/acp_ws_manual.jsonl"),
    include_str!("../../../tests/streams/acp/gemini.jsonl"),
    include_str!("../../../tests/streams/acp/qwen.jsonl"),
];

/// Returns the answer and the number of tool calls of each turn of a recording.
fn turns(recorded: &str) -> Vec<(String, usize)> {
    let mut turns = Vec::new();
    let mut updates = Updates::default();
    for line in recorded.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let message = &entry["msg"];
        if message["method"] == "session/update" {
            let _ = updates.apply(&message["params"]["update"]);
        }
        if message["result"].get("stopReason").is_some() {
            let builder = std::mem::take(&mut updates).finish();
            let turn = builder.turn();
            turns.push((turn.text.clone(), turn.tool_calls.len()));
        }
    }
    turns
}

#[test]
fn recorded_compactions_of_both_kinds_are_found_in_their_turns() {
    let turns = turns(RECORDED[0]);
    let compactions: Vec<_> = turns.iter().map(|(answer, _)| reported(answer)).collect();
    let auto = compactions[3].as_ref().expect("it is announced");
    assert_eq!(auto.trigger, CompactionTrigger::Auto);
    assert_eq!(
        (auto.tokens_before, auto.tokens_after),
        (Some(36_020), Some(5_857))
    );
    let manual = compactions[4].as_ref().expect("it is reported");
    assert_eq!(manual.trigger, CompactionTrigger::Manual);
    assert_eq!(
        (manual.tokens_before, manual.tokens_after),
        (Some(25_582), Some(5_908))
    );
    assert!(
        manual
            .summary
            .as_deref()
            .is_some_and(|summary| summary.contains("STUB REPLY 8"))
    );
    assert_eq!(compactions.iter().flatten().count(), 2);
    assert_eq!(turns[1].1, 1, "one tool was used: {turns:?}");
}

#[test]
fn token_counts_of_an_unapplied_compaction_are_ignored() {
    let report = |pending, before, after| {
        reported(&format!(
            "Compressing...{{\"type\":\"compression\",\"compression\":{{\"isPending\":{pending},\
             \"originalTokenCount\":{before},\"newTokenCount\":{after}}}}}"
        ))
    };
    assert!(report(false, 900, 90).is_some());
    assert!(report(true, 900, 90).is_none());
    assert!(report(false, 900, 901).is_none());
    assert!(reported("Failed to compress chat history.").is_none());
}

#[test]
fn an_error_in_place_of_an_answer_is_a_failure() {
    let response = serde_json::json!({"stopReason": "end_turn"});
    for (answer, cause) in [
        ("[API Error: 401 The key is not valid.]", Cause::Refused),
        ("[API Error: 429 Too many requests.]", Cause::RateLimited),
        (
            "[API Error: 500 Internal server error.]",
            Cause::ProviderDown,
        ),
    ] {
        assert_eq!(check_end(&response, answer).expect_err(answer).cause, cause);
    }
    assert!(check_end(&response, "It answers 429 on [API Error: x] then").is_ok());
}

#[test]
fn the_report_of_the_plain_mode_contains_tokens() {
    let text = r#"{"session-id":"s-1","conversation-id":"c","assistantRounds":1,
        "executionTimeMs":5,"tokenUsage":{"input":30,"output":4,"total":34}}"#;
    let report = parse_report(text).expect("a report");
    assert_eq!(report.session, "s-1");
    let tokens = report.tokens.expect("tokens");
    assert_eq!((tokens.input, tokens.output), (30, 4));
    assert_eq!(parse_report("Data collection is disabled."), None);
}

proptest! {
    #[test]
    fn damaged_frames_are_read_or_skipped(
        number in 0..RECORDED.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = RECORDED[number].as_bytes().to_vec();
        for (at, byte) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        for (answer, _) in turns(&String::from_utf8_lossy(&bytes)) {
            let _ = reported(&answer);
        }
    }

    #[test]
    fn no_answer_makes_a_reader_panic(answer in ".{0,300}") {
        let _ = reported(&answer);
        let _ = check_end(&Value::Null, &answer);
        let _ = parse_report(&answer);
    }
}
