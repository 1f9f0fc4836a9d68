//! Reads recorded streams and rollouts, complete and damaged.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use domain::Tokens;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::catalogue::Catalogue;
use super::home::thread_id;
use super::launch::settings;
use super::rollout::{RolloutChanges, changes};
use super::stream::{StreamReader, classify};
use crate::adapter::{Access, Limits, RawSink, SessionSpec, Stream};
use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::cli_adapter::turn_fault::TurnFault;
use crate::adapters::damage::damaged;
use crate::event::{AgentEvent, CompactionTrigger, ReinjectedKind};
use crate::failure::Cause;
use crate::process::{Line, ProgramExit};
use crate::sandbox::Sandbox;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../tests/streams/codex/", $name, ".jsonl"))
    };
}

const STREAMS: [&str; 10] = [
    recorded!("turn_with_command"),
    recorded!("auto_compaction_turn"),
    recorded!("error_400"),
    recorded!("error_401"),
    recorded!("error_429"),
    recorded!("error_429_retries"),
    recorded!("error_500"),
    recorded!("error_503"),
    recorded!("error_garbage"),
    recorded!("error_truncated"),
];
const AUTO: &str = recorded!("rollout_auto");
const MANUAL: &str = recorded!("rollout_manual");
const NO_SANDBOX: &str = recorded!("rollout_no_sandbox");

fn exit(code: i32, stderr: &str) -> ProgramExit {
    ProgramExit {
        status: ExitStatus::from_raw(code << 8),
        stderr: stderr.to_owned(),
    }
}

fn read(stream: &[u8], code: i32) -> (StreamReader, Vec<AgentEvent>, Option<TurnFault>) {
    let mut reader = StreamReader::default();
    let mut events = Vec::new();
    for bytes in stream.split(|&byte| byte == b'\n') {
        events.extend(reader.line(&Line {
            bytes: bytes.to_vec(),
            cut: false,
            whole_length: bytes.len() as u64 + 1,
        }));
    }
    let fault = reader.fault(&exit(code, ""));
    (reader, events, fault)
}

/// Returns the rollout after this number of turns.
fn after(rollout: &str, turns: usize) -> &[u8] {
    let mut end = 0;
    let mut seen = 0;
    for line in rollout.split_inclusive('\n') {
        if seen == turns {
            break;
        }
        end += line.len();
        seen += usize::from(line.contains("\"task_complete\""));
    }
    &rollout.as_bytes()[..end]
}

fn turn(rollout: &str, number: usize, trigger: CompactionTrigger) -> RolloutChanges {
    changes(after(rollout, number - 1), after(rollout, number), trigger).expect("the rollout grew")
}

#[test]
fn a_turn_has_its_text_and_its_commands() {
    let (reader, events, fault) = read(STREAMS[0].as_bytes(), 0);
    assert_eq!(fault, None);
    assert!(reader.ran_commands());
    let turn = reader.turn.turn();
    assert_eq!(turn.text, "Noted.");
    assert_eq!(turn.tool_calls.len(), 1);
    assert_eq!(turn.tool_calls[0].target, "/bin/bash -lc 'cat -- a.txt'");
    let results = events.iter().filter(|event| {
        matches!(
            event,
            AgentEvent::ToolResult {
                is_error: false,
                bytes: 21,
                ..
            }
        )
    });
    assert_eq!(results.count(), 1, "{events:?}");
    // A notice is not a failure.
    assert!(events.iter().any(
        |event| matches!(event, AgentEvent::Error { message } if message.contains("metadata"))
    ),);
}

#[test]
fn only_the_rollout_shows_a_compaction() {
    let (reader, _, fault) = read(STREAMS[1].as_bytes(), 0);
    assert_eq!(fault, None);
    assert!(reader.turn.turn().compactions.is_empty());

    for number in [1, 2] {
        let changes = turn(AUTO, number, CompactionTrigger::Auto);
        assert_eq!(changes.compactions, []);
    }
    for (changes, before) in [
        (turn(AUTO, 3, CompactionTrigger::Auto), 6_119),
        (turn(MANUAL, 4, CompactionTrigger::Manual), 6_080),
    ] {
        let [compaction] = &changes.compactions[..] else {
            panic!("one compaction: {changes:?}");
        };
        // The size before the compaction excludes the request for the summary.
        assert_eq!(compaction.tokens_before, Some(before));
        assert!(compaction.tokens_after.is_some_and(|after| after < before));
        let summary = compaction.summary.as_deref();
        assert_eq!(summary, Some("A pull request is being reviewed."));
    }
}

#[test]
fn messages_of_the_user_are_reported_as_kept_word_for_word() {
    let changes = turn(AUTO, 3, CompactionTrigger::Auto);
    let [kept] = &changes.compactions[0].reinjected[..] else {
        panic!("one text: {changes:?}");
    };
    assert_eq!(kept.kind, ReinjectedKind::Tail);
    assert_eq!(
        kept.text,
        "Read these files:\n\n- `notes.txt`\n\n\nREPEAT: something again\n"
    );
}

#[test]
fn a_turn_is_billed_for_the_tokens_that_it_added() {
    let first = turn(AUTO, 1, CompactionTrigger::Auto);
    let second = turn(AUTO, 2, CompactionTrigger::Auto);
    let third = turn(AUTO, 3, CompactionTrigger::Auto);
    let tokens = |input, output| {
        Some(Tokens {
            input,
            cached: 0,
            output,
        })
    };
    assert_eq!(first.billed, tokens(12_185, 13));
    assert_eq!(second.billed, tokens(6_115, 4));
    // The request for the summary and the turn itself.
    assert_eq!(third.billed, tokens(11_912, 11));
    assert_eq!(third.context, Some(6_198));
    // A turn without counts did not necessarily cost nothing.
    let rollout = after(AUTO, 1);
    let unchanged =
        changes(rollout, rollout, CompactionTrigger::Auto).expect("nothing was changed");
    assert_eq!(unchanged.billed, None);
}

#[test]
fn a_rewritten_rollout_is_refused() {
    assert_eq!(
        changes(after(MANUAL, 1), after(AUTO, 3), CompactionTrigger::Auto),
        None
    );
}

#[test]
fn a_command_that_the_sandbox_did_not_start_is_reported() {
    let changes = turn(NO_SANDBOX, 1, CompactionTrigger::Auto);
    assert!(
        changes
            .failed_command
            .expect("it was not started")
            .contains("bwrap: ")
    );
    assert_eq!(turn(AUTO, 1, CompactionTrigger::Auto).failed_command, None);
}

#[test]
fn errors_are_classified_by_the_programs_message() {
    for (stream, cause, no_summary) in [
        (STREAMS[2], Cause::Refused, true),
        (STREAMS[3], Cause::Refused, false),
        (STREAMS[4], Cause::RateLimited, false),
        (STREAMS[5], Cause::RateLimited, false),
        (STREAMS[6], Cause::ProviderDown, false),
        (STREAMS[7], Cause::ProviderDown, false),
        (STREAMS[8], Cause::ProviderDown, false),
        (STREAMS[9], Cause::ProviderDown, false),
    ] {
        let (_, _, fault) = read(stream.as_bytes(), 1);
        let fault = fault.expect("an error");
        assert_eq!(fault.failure.cause, cause, "{}", fault.failure.message);
        assert_eq!(fault.no_summary, no_summary, "{}", fault.failure.message);
    }
    for (message, cause) in [
        (
            "Connection failed: error sending request",
            Cause::ProviderDown,
        ),
        (
            "Missing environment variable: `OPENAI_API_KEY`.",
            Cause::Refused,
        ),
        (
            "Codex ran out of room in the model's context window. Start a new thread.",
            Cause::OutOfBudget,
        ),
        (
            "Quota exceeded. Check your plan and billing details.",
            Cause::OutOfBudget,
        ),
        ("Selected model is at capacity.", Cause::ProviderDown),
        ("an unknown message", Cause::AgentCrashed),
    ] {
        assert_eq!(classify(message).failure.cause, cause, "{message}");
    }
}

#[test]
fn retries_are_reported_as_events() {
    let (_, events, _) = read(STREAMS[5].as_bytes(), 1);
    let mut attempts = Vec::new();
    for event in events {
        if let AgentEvent::Retry { attempt, why } = event {
            assert!(why.ends_with("429 Too Many Requests"), "{why}");
            attempts.push(attempt);
        }
    }
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
}

#[test]
fn a_stream_without_its_end_is_a_failed_turn() {
    let cut: Vec<&str> = STREAMS[0].lines().take(5).collect();
    let (_, _, fault) = read(cut.join("\n").as_bytes(), 0);
    assert_eq!(
        fault.expect("half a turn").failure.cause,
        Cause::AgentCrashed
    );
    let mut reader = StreamReader::default();
    let lost = exit(
        1,
        "Error: thread/resume failed: no rollout found for thread id 1",
    );
    let fault = reader.fault(&lost).expect("no turn");
    assert_eq!(fault.failure.cause, Cause::Harness);
}

#[test]
fn only_uuids_are_thread_ids() {
    let id = "01a2093c-cece-7d62-8e2b-ab6617e7b22d";
    assert_eq!(thread_id(id).as_deref(), Some(id));
    assert_eq!(thread_id("../../x"), None);
}

#[test]
fn all_models_of_a_catalogue_get_ordinary_tools() {
    let printed = br#"{"models": [
        {"slug": "a", "context_window": 1000, "effective_context_window_percent": 95,
         "use_responses_lite": true, "tool_mode": "code_mode_only"},
        {"slug": "b"}]}"#;
    let catalogue = Catalogue::parse(printed, "a").expect("a catalogue");
    assert_eq!(catalogue.window, Some(950));
    let other_model = Catalogue::parse(printed, "c").expect("a catalogue");
    assert_eq!(other_model.window, None);
    assert!(Catalogue::parse(b"none", "a").is_err());
    assert!(Catalogue::parse(b"{}", "a").is_err());
    assert!(Catalogue::parse(br#"{"models": [1, null, []]}"#, "a").is_ok());
}

struct DiscardedLines;

impl RawSink for DiscardedLines {
    fn line(&self, _: Stream, _: &[u8]) {}
}

fn spec(access: Access) -> SessionSpec {
    SessionSpec {
        home: "/home/\"agent\"".into(),
        workspace: None,
        access,
        context_tokens: Some(100_000),
        may_compact: true,
        seed: 0,
        environment: [
            ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
            ("OPENAI_API_KEY", "secret"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        limits: Limits::default(),
        sandbox: Sandbox::none(),
        raw: Arc::new(DiscardedLines),
        events: mpsc::channel(1).0,
        cancel: CancellationToken::new(),
    }
}

#[test]
fn settings_contain_the_compaction_limit_and_never_the_key() {
    let open = spec(Access::Workspace);
    let size = CompactionSize::from_spec(&open);
    assert_eq!(size, CompactionSize::At(80_000));
    let settings_of = |spec: &SessionSpec, size| settings(spec, Path::new("/work\"space"), size);
    let text = settings_of(&open, size);
    for line in [
        "model_auto_compact_token_limit = 80000",
        "base_url = \"http://127.0.0.1:1/v1\"",
        "sandbox_mode = \"read-only\"",
        "shell_tool = true",
        "[projects.\"/work\\\"space\"]",
        "model_catalog_json = \"/home/\\\"agent\\\"/.codex/models.json\"",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    assert!(!text.contains("secret"));
    let sealed = spec(Access::Sealed);
    assert_eq!(CompactionSize::from_spec(&sealed), CompactionSize::Never);
    let text = settings_of(&sealed, CompactionSize::Never);
    assert!(text.contains("shell_tool = false"), "{text}");
    let mut built_in_provider = spec(Access::Workspace);
    built_in_provider.environment.remove("OPENAI_BASE_URL");
    assert!(!settings_of(&built_in_provider, size).contains("model_provider"));
}

proptest! {
    #[test]
    fn no_line_makes_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, 0);
        let _ = changes(b"", &bytes, CompactionTrigger::Auto);
        let _ = Catalogue::parse(&bytes, "gpt-5.5");
        let _ = classify(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn damaged_recordings_are_read_or_refused(
        number in 0..STREAMS.len() + 3,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = [&STREAMS[..], &[AUTO, MANUAL, NO_SANDBOX]].concat();
        let bytes = damaged(all[number], &damage, cut);
        let _ = read(&bytes, 0);
        let _ = changes(b"", &bytes, CompactionTrigger::Auto);
    }

    #[test]
    fn lines_in_any_order_are_read_or_refused(
        number in 0..STREAMS.len() + 2,
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let all = [&STREAMS[..], &[AUTO, MANUAL]].concat();
        let lines: Vec<&str> = all[number].lines().collect();
        let shuffled: Vec<&str> = order.iter().map(|at| lines[at.index(lines.len())]).collect();
        let shuffled = shuffled.join("\n");
        let _ = read(shuffled.as_bytes(), 0);
        let _ = changes(b"", shuffled.as_bytes(), CompactionTrigger::Auto);
    }
}
