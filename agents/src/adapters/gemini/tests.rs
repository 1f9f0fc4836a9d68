//! Reads recorded streams, telemetry and session files, complete and damaged.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::faults;
use super::session::record_compactions;
use super::session_file::{self, AppliedCompression};
use super::settings::{self, Compression};
use super::stream::StreamReader;
use super::telemetry::{CompressionAttempt, Telemetry};
use crate::adapter::{Access, Limits, RawSink, SessionSpec, Stream};
use crate::adapters::cli_adapter::turn_fault::TurnFault;
use crate::event::AgentEvent;
use crate::failure::Cause;
use crate::process::{Line, ProgramExit};
use crate::sandbox::Sandbox;
use crate::turn_builder::TurnBuilder;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../tests/streams/gemini/", $name))
    };
}

const TURN: &str = recorded!("turn_with_tool.jsonl");
const COMPRESSED: &str = recorded!("turn_compressed.jsonl");
const TELEMETRY: &str = recorded!("telemetry_compressed.json");
const BEFORE: &str = recorded!("session_before.jsonl");
const AFTER: &str = recorded!("session_after.jsonl");
const RESUMED: &str = recorded!("session_resumed.jsonl");

fn line(bytes: &[u8]) -> Line {
    Line {
        bytes: bytes.to_vec(),
        cut: false,
        whole_length: bytes.len() as u64 + 1,
    }
}

fn read(stream: &str) -> (StreamReader, Vec<AgentEvent>) {
    let mut reader = StreamReader::default();
    let mut events = Vec::new();
    for text in stream.lines() {
        events.extend(reader.line(&line(text.as_bytes())).expect("a good line"));
    }
    (reader, events)
}

fn exit(code: i32, stderr: &str) -> ProgramExit {
    ProgramExit {
        status: ExitStatus::from_raw(code << 8),
        stderr: stderr.to_owned(),
    }
}

fn fault(stream: &str, code: i32, stderr: &str) -> TurnFault {
    let (reader, _) = read(stream);
    faults::fault(&reader, &exit(code, stderr)).expect("a fault")
}

#[test]
fn a_recorded_turn_is_read_completely() {
    let (reader, events) = read(TURN);
    let turn = reader.turn.turn();
    assert_eq!(turn.text, "Calling tool. \nSTUB REPLY 3 to: [FR]");
    assert_eq!(turn.tool_calls.len(), 1);
    assert_eq!(turn.tool_calls[0].tool, "list_directory");
    assert_eq!(turn.tool_calls[0].target, ".");
    assert_eq!(events.len(), 4, "{events:?}");
    assert_eq!(faults::fault(&reader, &exit(0, "")), None);
}

#[test]
fn a_cut_line_is_a_harness_failure_and_noise_is_reported() {
    let mut cut = line(TURN.as_bytes());
    cut.cut = true;
    let failure = StreamReader::default().line(&cut).expect_err("a cut line");
    assert_eq!(failure.cause, Cause::Harness);
    let noise = StreamReader::default()
        .line(&line(b"(node:1) Warning"))
        .expect("noise");
    assert!(matches!(noise[..], [AgentEvent::Error { .. }]), "{noise:?}");
}

#[test]
fn all_requests_of_a_turn_are_billed_and_only_the_conversation_fills_the_context() {
    let telemetry = Telemetry::parse(TELEMETRY.as_bytes());
    let stats = read(COMPRESSED).0.outcome.expect("an end").stats;
    let billed = telemetry.billed(stats).expect("a complete sum");
    // Two requests for compressions and one of the conversation, each with 8 output tokens, three
    // of them thoughts.
    assert_eq!(billed.output, 24);
    assert_eq!(billed.cached, 30);
    assert_eq!(Some(billed.input), stats.map(|stats| stats.input_tokens));
    let context = telemetry.context().expect("a context");
    assert!(context < billed.input, "{context} of {}", billed.input);
    assert!(telemetry.cost().is_some_and(|cost| cost.usd > 0.0));
}

#[test]
fn an_incomplete_sum_is_missing() {
    let stats = read(COMPRESSED).0.outcome.expect("an end").stats;
    assert_eq!(Telemetry::default().billed(stats), None);
    assert_eq!(Telemetry::parse(TELEMETRY.as_bytes()).billed(None), None);
    // Half of the document of the last request.
    let at = TELEMETRY.rfind("input_token_count").expect("a request");
    let half = Telemetry::parse(&TELEMETRY.as_bytes()[..at]);
    assert_eq!(half.requests.len(), 2);
    assert_eq!(half.billed(stats), None);
    let unknown = TELEMETRY.replace("\"gemini-2.5-pro\"", "\"unlisted-model\"");
    assert_eq!(Telemetry::parse(unknown.as_bytes()).cost(), None);
}

#[test]
fn only_an_attempt_that_reduced_the_context_is_a_reduction() {
    let telemetry = Telemetry::parse(TELEMETRY.as_bytes());
    let reductions = telemetry.reductions();
    assert_eq!(reductions.len(), 1);
    assert!(reductions[0].after < reductions[0].before);
    for after in [100, 101] {
        let attempt = Telemetry {
            compressions: vec![CompressionAttempt { before: 100, after }],
            ..Telemetry::default()
        };
        assert_eq!(attempt.reductions(), []);
    }
}

#[test]
fn a_session_file_shows_the_summary_and_the_tail_of_a_compression() {
    let applied = session_file::applied(BEFORE.as_bytes(), AFTER.as_bytes());
    let [AppliedCompression { summary, tail }] = &applied[..] else {
        panic!("one compression, not {applied:?}");
    };
    assert!(summary.starts_with("<state_snapshot>"), "{summary}");
    for kept in ["ORCHARD-4", "ORCHARD-5"] {
        assert!(tail.contains(kept), "{kept} is kept");
    }
    for dropped in ["ORCHARD-1", "ORCHARD-2", "ORCHARD-3"] {
        assert!(!tail.contains(dropped), "{dropped} is not kept");
    }
}

#[test]
fn a_session_that_is_only_resumed_was_not_compressed() {
    assert_eq!(
        session_file::applied(AFTER.as_bytes(), RESUMED.as_bytes()),
        []
    );
    assert_eq!(
        session_file::applied(BEFORE.as_bytes(), BEFORE.as_bytes()),
        []
    );
    assert_eq!(session_file::applied(b"", BEFORE.as_bytes()), []);
}

#[test]
fn one_proof_alone_does_not_prove_a_break() {
    let reduction = CompressionAttempt {
        before: 100,
        after: 10,
    };
    let applied = || AppliedCompression {
        summary: "kept".to_owned(),
        tail: String::new(),
    };
    for (compressions, applied, breaks, problems) in [
        (vec![reduction], vec![applied()], 1, 0),
        (vec![reduction], vec![], 0, 1),
        (vec![], vec![applied()], 0, 1),
        (vec![reduction, reduction], vec![applied()], 1, 1),
        (vec![], vec![], 0, 0),
    ] {
        let telemetry = Telemetry {
            compressions,
            ..Telemetry::default()
        };
        let mut turn = TurnBuilder::default();
        record_compactions(&mut turn, &telemetry, applied);
        assert_eq!(turn.turn().compactions.len(), breaks);
        let events = turn.drain_events();
        let errors = events
            .iter()
            .filter(|event| matches!(event, AgentEvent::Error { .. }));
        assert_eq!(errors.count(), problems, "{events:?}");
    }
}

fn spec(access: Access, context_tokens: Option<u64>) -> SessionSpec {
    struct DiscardedLines;
    impl RawSink for DiscardedLines {
        fn line(&self, _: Stream, _: &[u8]) {}
    }
    SessionSpec {
        home: "home".into(),
        workspace: None,
        access,
        context_tokens,
        may_compact: true,
        seed: 0,
        environment: BTreeMap::new(),
        sandbox: Sandbox::none(),
        limits: Limits::default(),
        raw: Arc::new(DiscardedLines),
        events: mpsc::channel(1).0,
        cancel: CancellationToken::new(),
    }
}

#[test]
fn the_threshold_is_a_share_of_the_window_and_tools_depend_on_access() {
    let threshold = |access, tokens, compression| {
        let settings = settings::settings(
            &spec(access, tokens),
            "m",
            compression,
            Path::new("telemetry"),
        );
        let threshold = settings["model"]["compressionThreshold"].as_f64();
        let tools = settings["tools"]["core"].as_array().map(Vec::len);
        (threshold, tools)
    };
    let mut never = spec(Access::Workspace, Some(100_000));
    never.may_compact = false;
    let never = settings::settings(&never, "m", Compression::WhenFull, Path::new("telemetry"));
    assert_eq!(
        never["model"]["compressionThreshold"].as_f64(),
        Some(1000.0)
    );
    let share = Some(80_000.0 / 1_048_576.0);
    let (full, now) = (Compression::WhenFull, Compression::Now);
    for (access, tokens, compression, expected) in [
        (Access::Workspace, Some(100_000), full, (share, Some(4))),
        (
            Access::Workspace,
            Some(1),
            full,
            (Some(1.0 / 1_048_576.0), Some(4)),
        ),
        (Access::Workspace, None, full, (None, Some(4))),
        (Access::Sealed, Some(100), full, (Some(1000.0), Some(0))),
        (Access::Workspace, None, now, (Some(0.00001), Some(0))),
    ] {
        assert_eq!(threshold(access, tokens, compression), expected);
    }
}

#[test]
fn a_normalized_session_contains_each_tool_result_once() {
    let normalized = session_file::normalized(AFTER.as_bytes()).expect("a session");
    assert!(normalized.len() < AFTER.len() / 3);
    assert_eq!(
        session_file::normalized(&normalized),
        Some(normalized.clone())
    );
    let before = session_file::normalized(BEFORE.as_bytes()).expect("a session");
    let text = String::from_utf8(before.clone()).expect("text");
    assert_eq!(text.matches("\"functionResponse\"").count(), 1, "{text}");
    assert_eq!(text.matches("\"functionCall\"").count(), 1, "{text}");
    for turn in 1..=5 {
        assert!(text.contains(&format!("word of turn {turn} is ORCHARD-{turn}")));
    }
    // Lines appended to a normalized file are read in the same way.
    let added = AFTER.strip_prefix(BEFORE).expect("appended lines");
    let after = [before.as_slice(), added.as_bytes()].concat();
    let applied = session_file::applied(&before, &after);
    assert_eq!(
        applied,
        session_file::applied(BEFORE.as_bytes(), AFTER.as_bytes())
    );
    assert_eq!(applied.len(), 1);
    assert_eq!(session_file::normalized(b"nothing"), None);
}

#[test]
fn a_file_without_messages_has_no_conversation() {
    assert!(session_file::has_conversation(BEFORE.as_bytes()));
    let begin: String = BEFORE
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(!session_file::has_conversation(begin.as_bytes()));
    assert!(!session_file::has_conversation(b""));
}

#[test]
fn faults_of_the_provider_are_classified() {
    for (stream, code, stderr, cause, retry_after) in [
        (
            recorded!("error_400_key.jsonl"),
            144,
            "",
            Cause::Refused,
            None,
        ),
        (recorded!("error_401.jsonl"), 145, "", Cause::Refused, None),
        (recorded!("error_403.jsonl"), 147, "", Cause::Refused, None),
        (
            recorded!("error_404_model.jsonl"),
            1,
            "ModelNotFoundError: no\n  code: 404\n}",
            Cause::Refused,
            None,
        ),
        (
            recorded!("error_429.jsonl"),
            173,
            "",
            Cause::RateLimited,
            None,
        ),
        (
            recorded!("error_429_daily.jsonl"),
            173,
            "",
            Cause::RateLimited,
            None,
        ),
        (
            recorded!("error_429_daily.jsonl"),
            1,
            "",
            Cause::RateLimited,
            None,
        ),
        (
            recorded!("error_429_retry_after.jsonl"),
            173,
            "",
            Cause::RateLimited,
            Some(7),
        ),
        (
            recorded!("error_503.jsonl"),
            247,
            "",
            Cause::ProviderDown,
            None,
        ),
        (
            recorded!("error_garbage.jsonl"),
            1,
            "SyntaxError",
            Cause::ProviderDown,
            None,
        ),
    ] {
        let fault = fault(stream, code, stderr);
        assert_eq!(fault.failure.cause, cause, "{fault:?}");
        let seconds = fault.failure.retry_after.map(|after| after.as_secs());
        assert_eq!(seconds, retry_after, "{fault:?}");
        assert!(!fault.no_summary, "{fault:?}");
    }
}

#[test]
fn a_refused_summary_is_classified_by_its_message() {
    let stream = recorded!("error_no_summary.jsonl");
    assert!(fault(stream, 1, "").no_summary);
    let refused = stream.replace(
        "Retry attempts exhausted",
        r#"{\"error\":{\"code\":400,\"message\":\"too long\"}}"#,
    );
    assert!(fault(&refused, 1, "").no_summary);
    for (code, cause) in [(429, Cause::RateLimited), (503, Cause::ProviderDown)] {
        let other = refused.replace("400", &code.to_string());
        let fault = fault(&other, 1, "");
        assert!(!fault.no_summary, "{fault:?}");
        assert_eq!(fault.failure.cause, cause, "{fault:?}");
    }
}

#[test]
fn faults_of_the_program_are_classified() {
    for (code, cause) in [
        (41, Cause::Refused),
        (42, Cause::Harness),
        (52, Cause::Harness),
        (55, Cause::Harness),
        (1, Cause::AgentCrashed),
        (0, Cause::AgentCrashed),
    ] {
        let fault = fault(
            recorded!("hang.jsonl"),
            code,
            "Please set it\n    at x (y.js:1)",
        );
        assert_eq!(fault.failure.cause, cause, "{fault:?}");
        assert!(fault.failure.message.contains("Please set it"), "{fault:?}");
    }
}

fn damaged(text: &str, at: usize, byte: u8, end: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] = byte;
    bytes.truncate(bytes.len() - end % bytes.len());
    bytes
}

proptest! {
    #[test]
    fn no_line_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = StreamReader::default().line(&line(&bytes));
        let mut reader = StreamReader::default();
        let _ = reader.line(&line(&[b"{".as_slice(), &bytes].concat()));
        let _ = faults::fault(&reader, &exit(1, &String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn no_damage_makes_the_readers_panic(
        at in any::<usize>(), byte in any::<u8>(), end in any::<usize>(), code in 0..256_i32,
    ) {
        for stream in [TURN, COMPRESSED, recorded!("error_429_retry_after.jsonl")] {
            let mut reader = StreamReader::default();
            for text in damaged(stream, at, byte, end).split(|&byte| byte == b'\n') {
                let _ = reader.line(&line(text));
            }
            let _ = faults::fault(&reader, &exit(code, ""));
        }
        let telemetry = Telemetry::parse(&damaged(TELEMETRY, at, byte, end));
        let _ = (telemetry.context(), telemetry.cost(), telemetry.reductions());
        // Damage never adds a break.
        let applied = session_file::applied(BEFORE.as_bytes(), &damaged(AFTER, at, byte, end));
        prop_assert!(applied.len() <= 1);
        let _ = session_file::has_conversation(&damaged(AFTER, at, byte, end));
        let _ = session_file::normalized(&damaged(AFTER, at, byte, end));
    }
}
