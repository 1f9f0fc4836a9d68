//! What is read out of the recorded streams, telemetry and session files, whole and damaged.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::faults::{self, Fault};
use super::session::{self, Applied};
use super::settings::{self, Compress};
use super::stream::Reading;
use super::telemetry::{Compression, Telemetry};
use super::turn;
use crate::adapter::{Access, Limits, RawSink, SessionSpec, Stream};
use crate::event::AgentEvent;
use crate::failure::Cause;
use crate::gathering::Gathering;
use crate::process::{Ended, Line};
use crate::sandbox::Sandbox;

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

fn read(stream: &str) -> (Reading, Vec<AgentEvent>) {
    let mut reading = Reading::default();
    let mut events = Vec::new();
    for text in stream.lines() {
        events.extend(reading.line(&line(text.as_bytes())).expect("a good line"));
    }
    (reading, events)
}

fn ended(code: i32, stderr: &str) -> Ended {
    Ended {
        status: ExitStatus::from_raw(code << 8),
        stderr: stderr.to_owned(),
    }
}

fn fault(stream: &str, code: i32, stderr: &str) -> Fault {
    let (reading, _) = read(stream);
    faults::fault(&reading, &ended(code, stderr)).expect("a fault")
}

#[test]
fn a_recorded_turn_is_read_whole() {
    let (reading, events) = read(TURN);
    let turn = reading.gathering.turn();
    assert_eq!(turn.text, "Calling tool. \nSTUB REPLY 3 to: [FR]");
    assert_eq!(turn.tool_calls.len(), 1);
    assert_eq!(turn.tool_calls[0].tool, "list_directory");
    assert_eq!(turn.tool_calls[0].target, ".");
    assert_eq!(events.len(), 4, "{events:?}");
    assert_eq!(faults::fault(&reading, &ended(0, "")), None);
}

#[test]
fn a_cut_line_is_our_failure_and_noise_is_told() {
    let mut cut = line(TURN.as_bytes());
    cut.cut = true;
    let failure = Reading::default().line(&cut).expect_err("a cut line");
    assert_eq!(failure.cause, Cause::Harness);
    let noise = Reading::default()
        .line(&line(b"(node:1) Warning"))
        .expect("noise");
    assert!(matches!(noise[..], [AgentEvent::Error { .. }]), "{noise:?}");
}

#[test]
fn all_requests_of_a_turn_are_billed_and_only_the_conversation_fills_the_context() {
    let telemetry = Telemetry::read(TELEMETRY.as_bytes());
    let stats = read(COMPRESSED).0.outcome.expect("an end").stats;
    let billed = telemetry.billed(stats).expect("a whole sum");
    // Two requests of the compressor and one of the conversation, 8 tokens written in each, three
    // of them thought.
    assert_eq!(billed.output, 24);
    assert_eq!(billed.cached, 30);
    assert_eq!(Some(billed.input), stats.map(|stats| stats.input_tokens));
    let context = telemetry.context().expect("a context");
    assert!(context < billed.input, "{context} of {}", billed.input);
    assert!(telemetry.cost().is_some_and(|cost| cost.usd > 0.0));
}

#[test]
fn a_sum_that_is_not_whole_is_missing() {
    let stats = read(COMPRESSED).0.outcome.expect("an end").stats;
    assert_eq!(Telemetry::default().billed(stats), None);
    assert_eq!(Telemetry::read(TELEMETRY.as_bytes()).billed(None), None);
    // The last request's half of a document.
    let at = TELEMETRY.rfind("input_token_count").expect("a request");
    let half = Telemetry::read(&TELEMETRY.as_bytes()[..at]);
    assert_eq!(half.requests.len(), 2);
    assert_eq!(half.billed(stats), None);
    let unknown = TELEMETRY.replace("\"gemini-2.5-pro\"", "\"of-tomorrow\"");
    assert_eq!(Telemetry::read(unknown.as_bytes()).cost(), None);
}

#[test]
fn only_an_attempt_that_made_the_context_smaller_is_a_reduction() {
    let telemetry = Telemetry::read(TELEMETRY.as_bytes());
    let reductions = telemetry.reductions();
    assert_eq!(reductions.len(), 1);
    assert!(reductions[0].after < reductions[0].before);
    for after in [100, 101] {
        let tried = Telemetry {
            compressions: vec![Compression { before: 100, after }],
            ..Telemetry::default()
        };
        assert_eq!(tried.reductions(), []);
    }
}

#[test]
fn a_session_file_shows_the_summary_and_the_tail_of_a_compression() {
    let applied = session::applied(BEFORE.as_bytes(), AFTER.as_bytes());
    let [Applied { summary, tail }] = &applied[..] else {
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
    assert_eq!(session::applied(AFTER.as_bytes(), RESUMED.as_bytes()), []);
    assert_eq!(session::applied(BEFORE.as_bytes(), BEFORE.as_bytes()), []);
    assert_eq!(session::applied(b"", BEFORE.as_bytes()), []);
}

#[test]
fn one_proof_alone_is_no_break() {
    let reduction = Compression {
        before: 100,
        after: 10,
    };
    let applied = || Applied {
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
        let mut gathering = Gathering::default();
        turn::breaks(&mut gathering, &telemetry, applied);
        assert_eq!(gathering.turn().compactions.len(), breaks);
        let events = gathering.take_events();
        let told = events
            .iter()
            .filter(|event| matches!(event, AgentEvent::Error { .. }));
        assert_eq!(told.count(), problems, "{events:?}");
    }
}

fn spec(access: Access, context_tokens: Option<u64>) -> SessionSpec {
    struct Nowhere;
    impl RawSink for Nowhere {
        fn line(&self, _: Stream, _: &[u8]) {}
    }
    SessionSpec {
        home: "home".into(),
        workspace: None,
        access,
        context_tokens,
        compacts: true,
        seed: 0,
        environment: BTreeMap::new(),
        sandbox: Sandbox::none(),
        limits: Limits::default(),
        raw: Arc::new(Nowhere),
        events: mpsc::channel(1).0,
        cancel: CancellationToken::new(),
    }
}

#[test]
fn the_threshold_is_a_share_of_the_window_and_tools_go_with_access() {
    let threshold = |access, tokens, compress| {
        let settings =
            settings::settings(&spec(access, tokens), "m", compress, Path::new("telemetry"));
        let threshold = settings["model"]["compressionThreshold"].as_f64();
        let tools = settings["tools"]["core"].as_array().map(Vec::len);
        (threshold, tools)
    };
    let mut never = spec(Access::Workspace, Some(100_000));
    never.compacts = false;
    let told = settings::settings(&never, "m", Compress::WhenFull, Path::new("telemetry"));
    assert_eq!(told["model"]["compressionThreshold"].as_f64(), Some(1000.0));
    let share = Some(80_000.0 / 1_048_576.0);
    let (full, now) = (Compress::WhenFull, Compress::Now);
    for (access, tokens, compress, expected) in [
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
        assert_eq!(threshold(access, tokens, compress), expected);
    }
}

#[test]
fn a_settled_session_is_the_same_with_each_answer_of_a_tool_once() {
    let settled = session::settled(AFTER.as_bytes()).expect("a session");
    assert!(settled.len() < AFTER.len() / 3);
    assert_eq!(session::settled(&settled), Some(settled.clone()));
    let before = session::settled(BEFORE.as_bytes()).expect("a session");
    let text = String::from_utf8(before.clone()).expect("text");
    assert_eq!(text.matches("\"functionResponse\"").count(), 1, "{text}");
    assert_eq!(text.matches("\"functionCall\"").count(), 1, "{text}");
    for turn in 1..=5 {
        assert!(text.contains(&format!("word of turn {turn} is ORCHARD-{turn}")));
    }
    // What is appended to a settled file is judged as it was before.
    let added = AFTER.strip_prefix(BEFORE).expect("appended lines");
    let after = [before.as_slice(), added.as_bytes()].concat();
    let applied = session::applied(&before, &after);
    assert_eq!(
        applied,
        session::applied(BEFORE.as_bytes(), AFTER.as_bytes())
    );
    assert_eq!(applied.len(), 1);
    assert_eq!(session::settled(b"nothing"), None);
}

#[test]
fn a_file_without_conversation_is_none() {
    assert!(session::has_conversation(BEFORE.as_bytes()));
    let begin: String = BEFORE
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(!session::has_conversation(begin.as_bytes()));
    assert!(!session::has_conversation(b""));
}

#[test]
fn faults_of_the_provider_are_told_apart() {
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
        let told = fault.failure.retry_after.map(|after| after.as_secs());
        assert_eq!(told, retry_after, "{fault:?}");
        assert!(!fault.no_summary, "{fault:?}");
    }
}

#[test]
fn a_summary_that_could_not_be_had_is_known_by_its_own_words() {
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
fn faults_of_the_program_are_told_apart() {
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
        let _ = Reading::default().line(&line(&bytes));
        let mut reading = Reading::default();
        let _ = reading.line(&line(&[b"{".as_slice(), &bytes].concat()));
        let _ = faults::fault(&reading, &ended(1, &String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn no_damage_makes_the_readers_panic(
        at in any::<usize>(), byte in any::<u8>(), end in any::<usize>(), code in 0..256_i32,
    ) {
        for stream in [TURN, COMPRESSED, recorded!("error_429_retry_after.jsonl")] {
            let mut reading = Reading::default();
            for text in damaged(stream, at, byte, end).split(|&byte| byte == b'\n') {
                let _ = reading.line(&line(text));
            }
            let _ = faults::fault(&reading, &ended(code, ""));
        }
        let telemetry = Telemetry::read(&damaged(TELEMETRY, at, byte, end));
        let _ = (telemetry.context(), telemetry.cost(), telemetry.reductions());
        // What is cut off or damaged never becomes a break that was not there.
        let found = session::applied(BEFORE.as_bytes(), &damaged(AFTER, at, byte, end));
        prop_assert!(found.len() <= 1);
        let _ = session::has_conversation(&damaged(AFTER, at, byte, end));
        let _ = session::settled(&damaged(AFTER, at, byte, end));
    }
}
