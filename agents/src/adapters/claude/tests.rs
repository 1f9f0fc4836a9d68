//! Reads recorded streams, complete and damaged.

use proptest::prelude::*;

use super::launch::compaction_environment;
use super::stream::{Outcome, StreamReader};
use super::transcript;
use crate::adapter::Turn;
use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::damage::damaged;
use crate::event::{AgentEvent, CompactionTrigger, ReinjectedKind};
use crate::failure::{Cause, Failure};
use crate::process::Line;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../tests/streams/claude/", $name, ".jsonl"))
    };
}

const STREAMS: [&str; 13] = [
    recorded!("plain_turn_with_read"),
    recorded!("manual_compact_resume_process"),
    recorded!("auto_compact_mid_turn"),
    recorded!("compact_failed"),
    recorded!("resume_after_compact"),
    recorded!("error_401"),
    recorded!("error_429_rate_limit"),
    recorded!("error_500"),
    recorded!("error_529"),
    recorded!("error_hang"),
    recorded!("error_invalid_model"),
    recorded!("error_max_turns"),
    recorded!("error_prompt_too_long"),
];
const TRANSCRIPT: &str = recorded!("transcript_on_disk_auto_compact");

fn line(bytes: &[u8]) -> Line {
    Line {
        bytes: bytes.to_vec(),
        cut: false,
        whole_length: bytes.len() as u64 + 1,
    }
}

fn read(stream: &[u8]) -> (Vec<AgentEvent>, Result<Outcome, Failure>) {
    let mut reader = StreamReader::default();
    let mut events = Vec::new();
    for bytes in stream.split(|&byte| byte == b'\n') {
        events.extend(reader.line(&line(bytes)));
    }
    (events, reader.outcome(""))
}

/// Returns the lines of the turn with this number.
fn turn_of(stream: &str, number: usize) -> String {
    let results = stream
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("\"type\":\"result\""))
        .map(|(at, _)| at)
        .collect::<Vec<_>>();
    let first = if number == 0 {
        0
    } else {
        results[number - 1] + 1
    };
    let lines: Vec<&str> = stream.lines().collect();
    lines[first..=results[number]].join("\n")
}

fn turn(stream: &str, number: usize) -> Turn {
    let (_, outcome) = read(turn_of(stream, number).as_bytes());
    outcome
        .expect("a good turn")
        .complete(Vec::new(), None)
        .turn()
        .clone()
}

#[test]
fn a_turn_has_its_text_its_tool_calls_and_its_tokens() {
    let turn = turn(STREAMS[0], 0);
    assert!(turn.text.ends_with("stub reply 3: ntools=3 nmsgs=3"));
    assert_eq!(turn.tool_calls.len(), 1);
    assert_eq!(turn.tool_calls[0].tool, "Read");
    assert_eq!(turn.tool_calls[0].target, "/workspace.txt");
    let usage = turn.usage.expect("the size is reported");
    assert_eq!(usage.window, Some(200_000));
    assert!(usage.context > 0);
    assert!(turn.tokens.is_some_and(|tokens| tokens.input > 0));
    assert!(turn.cost.is_some_and(|cost| cost.usd > 0.0));
    assert!(turn.compactions.is_empty());
}

#[test]
fn a_boundary_proves_a_compaction_of_either_kind() {
    let manual = turn(STREAMS[1], 0);
    assert_eq!(manual.compactions.len(), 1);
    let compaction = &manual.compactions[0];
    assert_eq!(compaction.trigger, CompactionTrigger::Manual);
    assert_eq!(compaction.tokens_before, Some(4_358));
    assert_eq!(compaction.tokens_after, Some(261));
    let summary = compaction.summary.as_deref().expect("the summary is shown");
    assert!(summary.starts_with("1. Primary Request"), "{summary}");
    assert!(!summary.contains("If you need specific"), "{summary}");

    let auto = turn(STREAMS[2], 2);
    assert_eq!(auto.compactions.len(), 1);
    assert_eq!(auto.compactions[0].trigger, CompactionTrigger::Auto);
    assert!(auto.compactions[0].summary.is_some());
}

#[test]
fn a_failed_compaction_is_reported_as_an_error() {
    let (events, outcome) = read(turn_of(STREAMS[3], 2).as_bytes());
    let turn = outcome
        .expect("the program reports a success")
        .complete(Vec::new(), None);
    assert!(turn.turn().compactions.is_empty());
    assert!(
        events
            .iter()
            .any(|event| matches!(event, AgentEvent::Error { message } if message.contains("500"))),
        "{events:?}"
    );
}

#[test]
fn the_raw_summary_of_the_hook_replaces_the_one_of_the_stream() {
    let (_, outcome) = read(STREAMS[1].as_bytes());
    let raw = "<analysis>\nlong\n</analysis>\n\n<summary>\nshort\n</summary>".to_owned();
    let mut turn = outcome.expect("a good turn").complete(vec![raw], None);
    let compactions = &turn.turn().compactions;
    assert_eq!(compactions[0].summary.as_deref(), Some("short"));
    let events = turn.drain_events();
    assert!(matches!(events.as_slice(), [AgentEvent::Compacted(_)]));
}

#[test]
fn errors_are_classified_by_their_status_and_message() {
    for (stream, cause) in [
        (STREAMS[5], Cause::Refused),
        (STREAMS[6], Cause::RateLimited),
        (STREAMS[7], Cause::ProviderDown),
        (STREAMS[8], Cause::ProviderDown),
        (STREAMS[9], Cause::ProviderDown),
        (STREAMS[10], Cause::Refused),
        (STREAMS[11], Cause::OutOfBudget),
        (STREAMS[12], Cause::OutOfBudget),
        (recorded!("error_bad_resume"), Cause::AgentCrashed),
    ] {
        let (_, outcome) = read(stream.as_bytes());
        let failure = outcome.expect_err("an error");
        assert_eq!(failure.cause, cause, "{}", failure.message);
    }
    let (_, outcome) = read(STREAMS[6].as_bytes());
    assert!(outcome.expect_err("an error").retry_after.is_some());
}

#[test]
fn a_stream_without_a_result_is_a_failed_turn() {
    let cut: Vec<&str> = STREAMS[0].lines().take(3).collect();
    let (_, outcome) = read(cut.join("\n").as_bytes());
    assert_eq!(outcome.expect_err("half a turn").cause, Cause::AgentCrashed);
}

#[test]
fn the_transcript_shows_the_reinjected_parts() {
    let reinjected = transcript::reinjected(TRANSCRIPT.as_bytes());
    let kinds: Vec<ReinjectedKind> = reinjected.iter().map(|part| part.kind).collect();
    assert_eq!(kinds, [ReinjectedKind::Tail, ReinjectedKind::File]);
    assert!(
        reinjected[0]
            .text
            .contains("turn four: triggers auto compaction")
    );
    assert!(reinjected[1].text.starts_with("The code word is PLUM."));
    assert!(transcript::reinjected(b"").is_empty());
}

#[test]
fn sizes_are_converted_to_the_programs_thresholds() {
    let values = |size: CompactionSize| -> Vec<String> {
        compaction_environment(size)
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    };
    assert_eq!(values(CompactionSize::Never), ["1"]);
    // 16,000 of the 80,000 usable tokens of the smallest window.
    assert_eq!(values(CompactionSize::At(16_000)), ["100000", "20"]);
    assert_eq!(values(CompactionSize::At(160_000)), ["193000"]);
}

proptest! {
    #[test]
    fn no_line_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = transcript::reinjected(&bytes);
    }

    #[test]
    fn a_damaged_stream_is_read_or_refused(
        number in 0..STREAMS.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        for stream in [STREAMS[number], TRANSCRIPT] {
            let bytes = damaged(stream, &damage, cut);
            let (_, outcome) = read(&bytes);
            if let Ok(outcome) = outcome {
                let reinjected = transcript::reinjected(&bytes);
                let _ = outcome.complete(vec![String::new()], Some(reinjected));
            }
        }
    }

    #[test]
    fn lines_in_any_order_are_read_or_refused(
        number in 0..STREAMS.len(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let lines: Vec<&str> = STREAMS[number].lines().collect();
        let shuffled: Vec<&str> = order.iter().map(|at| lines[at.index(lines.len())]).collect();
        let _ = read(shuffled.join("\n").as_bytes());
    }
}
