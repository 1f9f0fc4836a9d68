//! How Qwen Code is started, and what it is told in its HOME.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::QwenSession;
use crate::adapter::{Access, SessionSpec};
use crate::failure::Failure;
use crate::process::Launch;

/// What the program gets of the worker's environment.
pub(super) const ENVIRONMENT: [&str; 7] = [
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];
/// The read-only tools.
const TOOLS: &str = "read_file,grep_search,glob,list_directory";
/// Offered whatever the list of tools says, unless they are excluded by name.
const EXCLUDED: &str =
    "tool_search,agent,task_stop,send_message,skill,ask_user_question,exit_plan_mode";
/// A tool that there is not: an empty list would mean all.
const NO_TOOL: &str = "none_such";
/// Where the hook puts raw summaries, in HOME.
const HOOKED: &str = "post-compact";
/// A window that no conversation fills.
const ENDLESS: u64 = 100_000_000;

/// At which context size it is to compact by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Never,
    /// At so many tokens of a window of so many.
    At {
        tokens: u64,
        window: u64,
    },
    /// At the beginning of the next turn, whatever there is.
    AtOnce,
}

impl Size {
    /// As a session asks for.
    pub(super) fn of(spec: &SessionSpec) -> Self {
        match (spec.compact_at(), spec.context_tokens) {
            (Some(tokens), Some(window)) => Self::At { tokens, window },
            _ => Self::Never,
        }
    }

    /// The window, and the share of it at which the program compacts.
    fn settings(self) -> (u64, f64) {
        match self {
            Self::Never => (ENDLESS, 1.0),
            Self::At { tokens, window } => {
                let window = window.max(1);
                (window, tokens as f64 / window as f64)
            }
            Self::AtOnce => (ENDLESS, 1.0 / ENDLESS as f64),
        }
    }
}

/// Writes the settings of a turn.
pub(super) async fn prepare(spec: &SessionSpec, size: Size) -> Result<(), Failure> {
    folder(&spec.home, HOOKED).await?;
    let path = folder(&spec.home, ".qwen").await?.join("settings.json");
    tokio::fs::write(&path, settings(size).to_string())
        .await
        .map_err(|error| Failure::harness(format!("{} cannot be written: {error}", path.display())))
}

fn settings(size: Size) -> Value {
    let (window, share) = size.settings();
    let command = format!("cat > \"$HOME/{HOOKED}/$$.json\"");
    json!({
        "$version": 4,
        // Memory of its own would answer the questions that are asked of the conversation.
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
        "hooks": {"PostCompact": [{"hooks": [{"type": "command", "command": command}]}]},
    })
}

/// The command line and the environment of one turn.
pub(super) fn launch(
    session: &QwenSession,
    folder: PathBuf,
    prompt: &str,
    resumes: bool,
) -> Launch {
    let tools = match session.spec.access {
        Access::Workspace => TOOLS,
        Access::Sealed => NO_TOOL,
    };
    let args: Vec<OsString> = [
        "--output-format",
        "stream-json",
        "--auth-type",
        "openai",
        "--core-tools",
        tools,
        "--exclude-tools",
        EXCLUDED,
        if resumes { "--resume" } else { "--session-id" },
        &session.id,
    ]
    .iter()
    .map(OsString::from)
    .collect();
    let mut environment: BTreeMap<String, String> = session.spec.environment.clone();
    environment.insert("OPENAI_MODEL".to_owned(), session.model.clone());
    // It would start itself again with more memory, and take twice as long to begin.
    environment.insert("QWEN_CODE_NO_RELAUNCH".to_owned(), "true".to_owned());
    let path = session.found.search_path.to_string_lossy().into_owned();
    environment.insert("PATH".to_owned(), path);
    Launch {
        program: session.found.path.clone(),
        args,
        folder,
        needs: session.found.folders.clone(),
        home: session.spec.home.clone(),
        environment,
        input: prompt.as_bytes().to_vec(),
    }
}

/// The raw summaries since the last time, oldest first.
pub(super) async fn take_summaries(home: &Path) -> Result<Vec<String>, Failure> {
    let folder = home.join(HOOKED);
    let failed = |error: std::io::Error| {
        Failure::harness(format!("{} cannot be read: {error}", folder.display()))
    };
    let mut found = Vec::new();
    let mut entries = tokio::fs::read_dir(&folder).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let about = entry.metadata().await.map_err(failed)?;
        let bytes = tokio::fs::read(entry.path()).await.map_err(failed)?;
        tokio::fs::remove_file(entry.path()).await.map_err(failed)?;
        found.push((about.modified().map_err(failed)?, bytes));
    }
    found.sort_by_key(|(modified, _)| *modified);
    Ok(found
        .into_iter()
        .filter_map(|(_, bytes)| {
            let hooked: Value = serde_json::from_slice(&bytes).ok()?;
            Some(hooked.get("compact_summary")?.as_str()?.to_owned())
        })
        .collect())
}

/// A folder below HOME, made if it is not there.
pub(super) async fn folder(home: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = home.join(name);
    tokio::fs::create_dir_all(&folder).await.map_err(|error| {
        Failure::harness(format!("{} cannot be made: {error}", folder.display()))
    })?;
    Ok(folder)
}
