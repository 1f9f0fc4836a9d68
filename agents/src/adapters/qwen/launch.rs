//! Settings, command line and environment of Qwen Code.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::adapter::SessionSpec;
use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::cli_adapter::{NO_TOOL, files, post_compact_hook};
use crate::failure::Failure;
use crate::process::Launch;

/// The read-only tools.
const TOOLS: &str = "read_file,grep_search,glob,list_directory";
/// Tools that the program offers whatever its list of tools says, unless they are excluded by name.
const EXCLUDED_TOOLS: &str =
    "tool_search,agent,task_stop,send_message,skill,ask_user_question,exit_plan_mode";
/// A context window that no conversation fills, in tokens.
const ENDLESS_WINDOW: u64 = 100_000_000;

/// Returns the context window, and the share of it at which the program compacts.
pub(super) fn thresholds(size: CompactionSize, window: Option<u64>) -> (u64, f64) {
    match (size, window) {
        (CompactionSize::At(tokens), Some(window)) => {
            let window = window.max(1);
            (window, tokens as f64 / window as f64)
        }
        (CompactionSize::Never, _) | (CompactionSize::At(_), None) => (ENDLESS_WINDOW, 1.0),
        (CompactionSize::AtOnce, _) => (ENDLESS_WINDOW, 1.0 / ENDLESS_WINDOW as f64),
    }
}

/// Writes the settings of a turn.
pub(super) async fn prepare(spec: &SessionSpec, size: CompactionSize) -> Result<(), Failure> {
    post_compact_hook::create_summary_folder(&spec.home).await?;
    let path = spec.home.join(".qwen").join("settings.json");
    let settings = settings(thresholds(size, spec.context_tokens));
    files::write(&path, settings.to_string().as_bytes()).await
}

fn settings((window, share): (u64, f64)) -> Value {
    json!({
        "$version": 4,
        // Memory outside the conversation would answer questions about the conversation.
        "memory": {"enableManagedAutoMemory": false, "enableManagedAutoDream": false},
        "general": {"enableAutoUpdate": false, "checkpointing": {"enabled": false}},
        "privacy": {"usageStatisticsEnabled": false},
        "telemetry": {"enabled": false},
        "security": {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": false}},
        "tools": {"shell": {"enableInteractiveShell": false}},
        "model": {
            "generationConfig": {"contextWindowSize": window, "maxRetries": 0},
            "chatCompression": {"contextPercentageThreshold": share},
        },
        "hooks": post_compact_hook::settings(),
    })
}

/// Returns the command line and the environment of one turn.
pub(super) fn launch(
    session: &CliSession,
    id: &str,
    folder: PathBuf,
    prompt: &str,
    resumes: bool,
) -> Launch {
    let tools = if session.is_sealed() { NO_TOOL } else { TOOLS };
    let args = [
        "--output-format",
        "stream-json",
        "--auth-type",
        "openai",
        "--core-tools",
        tools,
        "--exclude-tools",
        EXCLUDED_TOOLS,
        if resumes { "--resume" } else { "--session-id" },
        id,
    ]
    .map(OsString::from)
    .to_vec();
    let mut environment = session.environment();
    environment.insert("OPENAI_MODEL".to_owned(), session.model.clone());
    // Otherwise the program starts itself again with more memory, which doubles its start time.
    environment.insert("QWEN_CODE_NO_RELAUNCH".to_owned(), "true".to_owned());
    session.launch(args, folder, environment, prompt.as_bytes().to_vec())
}
