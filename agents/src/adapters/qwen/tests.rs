//! Recorded streams, whole and damaged.

use std::os::unix::process::ExitStatusExt as _;

use proptest::prelude::*;

use super::session::News;
use super::stream::Reading;
use crate::event::CompactionTrigger;
use crate::failure::{Cause, Failure};
use crate::gathering::Gathering;
use crate::process::{Ended, Line};

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

fn read(stream: &[u8], sealed: bool) -> Result<Gathering, Failure> {
    let mut reading = Reading::new(sealed);
    for bytes in stream.split(|&byte| byte == b'\n') {
        reading.line(&Line {
            bytes: bytes.to_vec(),
            cut: false,
            whole_length: bytes.len() as u64 + 1,
        })?;
    }
    reading.outcome(&Ended {
        status: std::process::ExitStatus::from_raw(0),
        stderr: String::new(),
    })
}

#[test]
fn a_turn_has_its_words_and_its_tools() {
    let gathering = read(STREAMS[0].as_bytes(), false).expect("a good turn");
    let turn = gathering.turn();
    assert!(turn.text.contains("STUB REPLY 3"), "{}", turn.text);
    assert_eq!(turn.tool_calls.len(), 1);
    assert_eq!(turn.tool_calls[0].tool, "list_directory");
    assert_eq!(turn.tool_calls[0].target, "/workspace");
}

#[test]
fn an_error_in_the_place_of_an_answer_is_no_answer() {
    for (stream, cause) in [(STREAMS[4], Cause::Refused), (STREAMS[5], Cause::Refused)] {
        let failure = read(stream.as_bytes(), false).expect_err("an error");
        assert_eq!(failure.cause, cause, "{}", failure.message);
    }
    // Said by a model, which was paid for it, it is an answer.
    let said = STREAMS[4].replace("\"input_tokens\":0", "\"input_tokens\":9");
    assert!(read(said.as_bytes(), false).is_ok());
    // It was still asking when it was stopped.
    let failure = read(STREAMS[6].as_bytes(), false).expect_err("half a turn");
    assert_eq!(failure.cause, Cause::AgentCrashed);
}

#[test]
fn tools_offered_while_sealed_are_our_failure() {
    let failure = read(STREAMS[0].as_bytes(), true).expect_err("tools are offered");
    assert_eq!(failure.cause, Cause::Harness);
}

#[test]
fn the_session_file_proves_what_was_applied() {
    let news = News::read(SESSION.as_bytes());
    let compactions = news.compactions(CompactionTrigger::Auto, Vec::new());
    let first = &compactions[0];
    assert_eq!(
        (first.tokens_before, first.tokens_after),
        (Some(30_020), Some(25_796))
    );
    let summary = first.summary.as_deref().expect("it is there");
    assert!(summary.contains("PELICAN-42"), "{summary}");
    assert_eq!(first.reinjected[0].text, "Turn three after 30000");
    assert!(compactions[1].reinjected.is_empty());

    // The program prints figures for one that it did not take over, too.
    let inflated = SESSION.replace("\"compressionStatus\":1", "\"compressionStatus\":2");
    let news = News::read(inflated.as_bytes());
    assert!(
        news.compactions(CompactionTrigger::Manual, Vec::new())
            .is_empty()
    );
}

#[test]
fn refusals_that_the_stream_hides_are_found() {
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
        let news = News::read(line(status).as_bytes());
        assert_eq!(news.refusals(), 1);
        assert_eq!(news.refusal().expect("one").cause, cause, "{status}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, true);
        let _ = News::read(&bytes).context();
    }

    #[test]
    fn a_damaged_stream_is_read_or_refused(
        number in 0..STREAMS.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        for stream in [STREAMS[number], SESSION] {
            let mut bytes = stream.as_bytes().to_vec();
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.truncate(cut.index(stream.len()).max(stream.len() / 2));
            let _ = read(&bytes, false);
            let news = News::read(&bytes);
            let _ = (news.context(), news.tokens(), news.refusal());
            let _ = news.compactions(CompactionTrigger::Auto, vec![String::new()]);
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
