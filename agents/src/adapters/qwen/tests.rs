//! Reads recorded streams, complete and damaged.

use std::os::unix::process::ExitStatusExt as _;

use proptest::prelude::*;

use super::session_file::SessionChanges;
use super::stream::StreamReader;
use crate::adapters::damage::damaged;
use crate::event::CompactionTrigger;
use crate::failure::{Cause, Failure};
use crate::process::{Line, ProgramExit};
use crate::turn_builder::TurnBuilder;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../tests/streams/qwen/", $name, ".jsonl"))
    };
}

const STREAMS: [&str; 9] = [
    recorded!("turn1"),
    recorded!("turn2"),
    recorded!("turn3_auto"),
    recorded!("manual_compress_p"),
    recorded!("err_401"),
    recorded!("err_404"),
    recorded!("err_429"),
    recorded!("stream_input"),
    recorded!("session_limit"),
];
const SESSION: &str = recorded!("session_file_chat_compression");

fn read(stream: &[u8], sealed: bool) -> Result<TurnBuilder, Failure> {
    let mut reader = StreamReader::new(sealed);
    for bytes in stream.split(|&byte| byte == b'\n') {
        reader.line(&Line {
            bytes: bytes.to_vec(),
            cut: false,
            whole_length: bytes.len() as u64 + 1,
        })?;
    }
    reader.outcome(&ProgramExit {
        status: std::process::ExitStatus::from_raw(0),
        stderr: String::new(),
    })
}

#[test]
fn a_turn_has_its_text_and_its_tool_calls() {
    let builder = read(STREAMS[0].as_bytes(), false).expect("a good turn");
    let turn = builder.turn();
    assert!(turn.text.contains("STUB REPLY 3"), "{}", turn.text);
    assert_eq!(turn.tool_calls.len(), 1);
    assert_eq!(turn.tool_calls[0].tool, "list_directory");
    assert_eq!(turn.tool_calls[0].target, "/workspace");
}

#[test]
fn an_error_in_place_of_an_answer_is_a_failure() {
    for (stream, cause) in [(STREAMS[4], Cause::Refused), (STREAMS[5], Cause::Refused)] {
        let failure = read(stream.as_bytes(), false).expect_err("an error");
        assert_eq!(failure.cause, cause, "{}", failure.message);
    }
    // The same text of a model, with billed tokens, is an answer.
    let answer = STREAMS[4].replace("\"input_tokens\":0", "\"input_tokens\":9");
    assert!(read(answer.as_bytes(), false).is_ok());
    // The program was still sending requests when it was stopped.
    let failure = read(STREAMS[6].as_bytes(), false).expect_err("half a turn");
    assert_eq!(failure.cause, Cause::AgentCrashed);
}

#[test]
fn tools_offered_while_sealed_are_a_harness_failure() {
    let failure = read(STREAMS[0].as_bytes(), true).expect_err("tools are offered");
    assert_eq!(failure.cause, Cause::Harness);
}

#[test]
fn the_session_file_proves_applied_compactions() {
    let changes = SessionChanges::parse(SESSION.as_bytes());
    let compactions = changes.compactions(CompactionTrigger::Auto, Vec::new());
    let first = &compactions[0];
    assert_eq!(
        (first.tokens_before, first.tokens_after),
        (Some(30_020), Some(25_796))
    );
    let summary = first.summary.as_deref().expect("a summary");
    assert!(summary.contains("PELICAN-42"), "{summary}");
    assert_eq!(first.reinjected[0].text, "Turn three after 30000");
    assert!(compactions[1].reinjected.is_empty());

    // The program also prints token counts of a compaction that it did not apply.
    let inflated = SESSION.replace("\"compressionStatus\":1", "\"compressionStatus\":2");
    let changes = SessionChanges::parse(inflated.as_bytes());
    assert!(
        changes
            .compactions(CompactionTrigger::Manual, Vec::new())
            .is_empty()
    );
}

#[test]
fn refusals_are_found_in_the_session_file() {
    let line = |status: &str| {
        format!(
            "{{\"subtype\":\"ui_telemetry\",\"systemPayload\":{{\"uiEvent\":{{\
             \"event.name\":\"qwen-code.api_error\",\"error_message\":\"no\"{status}}}}}}}"
        )
    };
    for (status, cause) in [
        (",\"status_code\":429", Cause::RateLimited),
        (",\"status_code\":500", Cause::ProviderDown),
        (",\"status_code\":401", Cause::Refused),
        ("", Cause::ProviderDown),
    ] {
        let changes = SessionChanges::parse(line(status).as_bytes());
        assert_eq!(changes.refusals(), 1);
        assert_eq!(
            changes.last_refusal().expect("one").cause,
            cause,
            "{status}"
        );
    }
}

proptest! {
    #[test]
    fn no_line_makes_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, true);
        let _ = SessionChanges::parse(&bytes).context();
    }

    #[test]
    fn a_damaged_stream_is_read_or_refused(
        number in 0..STREAMS.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        for stream in [STREAMS[number], SESSION] {
            let bytes = damaged(stream, &damage, cut);
            let _ = read(&bytes, false);
            let changes = SessionChanges::parse(&bytes);
            let _ = (changes.context(), changes.tokens(), changes.last_refusal());
            let _ = changes.compactions(CompactionTrigger::Auto, vec![String::new()]);
        }
    }

    #[test]
    fn lines_in_any_order_are_read_or_refused(
        number in 0..STREAMS.len(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let lines: Vec<&str> = STREAMS[number].lines().collect();
        let shuffled: Vec<&str> = order.iter().map(|at| lines[at.index(lines.len())]).collect();
        let _ = read(shuffled.join("\n").as_bytes(), false);
    }
}
