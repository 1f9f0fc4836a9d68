//! Command line and environment of Claude Code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::cli_adapter::post_compact_hook;
use crate::adapters::cli_adapter::session::CliSession;
use crate::process::Launch;

/// The read-only tools. No other tool is offered.
const TOOLS: &str = "Read,Grep,Glob";
/// Number of times that the program itself retries a failed request.
const RETRIES: &str = "2";
/// Smallest context window for which the program compacts, in tokens. It raises smaller values to
/// this one.
const MIN_WINDOW: u64 = 100_000;
/// Largest context window that the program accepts, in tokens.
const MAX_WINDOW: u64 = 1_000_000;
/// Tokens of a window that the program reserves for an answer.
const ANSWER_RESERVE: u64 = 20_000;
/// Tokens of a window that the program reserves before its threshold.
const THRESHOLD_RESERVE: u64 = 13_000;

/// Returns the variables that set the size at which the program compacts.
///
/// The program's threshold is `min(effective · percent, effective - 13000)` with
/// `effective = window - 20000`. So small sizes are a share of the smallest window, and large sizes
/// are a window without a share.
pub(super) fn compaction_environment(size: CompactionSize) -> Vec<(&'static str, String)> {
    let window = |tokens: u64| ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", tokens.to_string());
    let percent = |percent: u64| ("CLAUDE_AUTOCOMPACT_PCT_OVERRIDE", percent.to_string());
    let effective = MIN_WINDOW - ANSWER_RESERVE;
    match size {
        CompactionSize::Never => vec![("DISABLE_AUTO_COMPACT", "1".to_owned())],
        CompactionSize::AtOnce => vec![window(MIN_WINDOW), percent(1)],
        CompactionSize::At(tokens) if tokens < effective - THRESHOLD_RESERVE => {
            let share = (tokens * 100 / effective).max(1);
            vec![window(MIN_WINDOW), percent(share)]
        }
        CompactionSize::At(tokens) => {
            vec![window(
                (tokens + ANSWER_RESERVE + THRESHOLD_RESERVE).min(MAX_WINDOW),
            )]
        }
    }
}

/// Returns the arguments that start a conversation.
pub(super) fn start(id: &str) -> Vec<OsString> {
    vec!["--session-id".into(), id.into()]
}

/// Returns the arguments that continue a conversation.
pub(super) fn resume(id: &str) -> Vec<OsString> {
    vec!["--resume".into(), id.into()]
}

/// Returns the arguments that continue a copy of a conversation under a new id.
pub(super) fn copy(transcript: &Path, id: &str) -> Vec<OsString> {
    vec![
        "--resume".into(),
        transcript.into(),
        "--fork-session".into(),
        "--session-id".into(),
        id.into(),
    ]
}

/// Returns the command line and the environment of one turn.
pub(super) fn launch(
    session: &CliSession,
    conversation: Vec<OsString>,
    folder: PathBuf,
    size: CompactionSize,
) -> Launch {
    let mut args: Vec<OsString> = [
        "-p",
        "--input-format",
        "stream-json",
        "--output-format",
        "stream-json",
        "--verbose",
        "--model",
        &session.model,
        "--tools",
        if session.is_sealed() { "" } else { TOOLS },
        "--strict-mcp-config",
        "--setting-sources=",
        "--settings",
        &json!({"hooks": post_compact_hook::settings()}).to_string(),
    ]
    .iter()
    .map(OsString::from)
    .collect();
    args.extend(conversation);
    let fixed = [
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"),
        ("CLAUDE_CODE_MAX_RETRIES", RETRIES),
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
    ];
    let mut environment = session.environment();
    environment.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment.extend(
        compaction_environment(size)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    session.launch(args, folder, environment, Vec::new())
}
