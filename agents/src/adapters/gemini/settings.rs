//! Settings and variables of Gemini CLI for one turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::adapter::{Access, SessionSpec};
use crate::failure::Failure;

/// The read-only tools, by their names in 0.61.0.
const READ_ONLY_TOOLS: [&str; 4] = ["read_file", "list_directory", "glob", "grep_search"];
/// Folder, in HOME, in which the program stores the sessions of a project.
const PROJECT: &str = "session";
/// Threshold that every conversation exceeds.
const AT_ONCE: f64 = 0.00001;
/// Threshold that no conversation reaches.
const NEVER: f64 = 1000.0;

/// When the program compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// At the size that the session was configured with, if it may compact.
    WhenFull,
    /// Before the next request.
    Now,
}

/// Returns the context size that the program assumes for a model, in tokens. It cannot be changed.
pub(super) fn window(model: &str) -> u64 {
    match model {
        "gemma-4-31b-it" | "gemma-4-26b-a4b-it" => 256_000,
        _ => 1_048_576,
    }
}

/// Returns the folder of the program's sessions.
pub(super) fn chats(home: &Path) -> PathBuf {
    home.join(".gemini/tmp").join(PROJECT).join("chats")
}

/// Returns the content of `settings.json`.
pub(super) fn settings(
    spec: &SessionSpec,
    model: &str,
    compression: Compression,
    telemetry: &Path,
) -> Value {
    let mut model_settings = json!({
        "name": model,
        // Repetitive code is not a loop, and a turn that ends because of one is not stored.
        "disableLoopDetection": true,
        "skipNextSpeakerCheck": true,
    });
    if let Some(threshold) = threshold(spec, model, compression) {
        model_settings["compressionThreshold"] = json!(threshold);
    }
    json!({
        "general": {
            "enableAutoUpdate": false,
            "enableAutoUpdateNotification": false,
            "maxAttempts": 2,
            "checkpointing": {"enabled": false},
            "sessionRetention": {"enabled": false},
            "plan": {"enabled": false},
            "topicUpdateNarration": false,
        },
        "privacy": {"usageStatisticsEnabled": false},
        "telemetry": {
            "enabled": true,
            "target": "local",
            "otlpEndpoint": "",
            "outfile": telemetry.to_string_lossy(),
            "logPrompts": false,
        },
        "security": {
            "auth": {"selectedType": "gemini-api-key"},
            "folderTrust": {"enabled": false},
        },
        "model": model_settings,
        "tools": {"core": tools(spec.access, compression)},
        "context": {
            "fileName": ["no-memory-is-read"],
            "memoryBoundaryMarkers": [],
            "fileFiltering": {"enableRecursiveFileSearch": false},
        },
        "skills": {"enabled": false},
        "hooksConfig": {"enabled": false},
        "experimental": {"enableAgents": false, "autoMemory": false},
        "advanced": {"ignoreLocalEnv": true, "autoConfigureMemory": false},
    })
}

fn tools(access: Access, compression: Compression) -> &'static [&'static str] {
    match (access, compression) {
        (Access::Workspace, Compression::WhenFull) => &READ_ONLY_TOOLS,
        // A tool result causes another request, and that another compression.
        (Access::Workspace, Compression::Now) | (Access::Sealed, _) => &[],
    }
}

/// Returns the threshold. Returns `None` for the program's own default.
fn threshold(spec: &SessionSpec, model: &str, compression: Compression) -> Option<f64> {
    let may_compact = spec.may_compact && spec.access == Access::Workspace;
    match compression {
        Compression::Now => Some(AT_ONCE),
        Compression::WhenFull if !may_compact => Some(NEVER),
        // The program takes zero for no threshold.
        Compression::WhenFull => spec
            .compact_at()
            .map(|tokens| tokens.max(1) as f64 / window(model) as f64),
    }
}

/// Returns the folder in which the program stores the sessions of `folder`. Without it the program
/// chooses a name itself and does not find sessions of another folder.
pub(super) fn projects(folder: &Path) -> Result<Value, Failure> {
    let name = folder.to_str().ok_or_else(|| {
        Failure::harness(format!(
            "Gemini CLI cannot work in {}: the path is not UTF-8",
            folder.display()
        ))
    })?;
    Ok(json!({"projects": {name: PROJECT}}))
}

/// Returns the variables of the program, made of those of its session.
pub(super) fn environment(mut environment: BTreeMap<String, String>) -> BTreeMap<String, String> {
    // The program reads the key from one variable, its library prefers another.
    if let Some(key) = environment.remove("GOOGLE_API_KEY") {
        environment
            .entry("GEMINI_API_KEY".to_owned())
            .or_insert(key);
    }
    let fixed = [
        ("NO_COLOR", "1"),
        // Otherwise the program starts itself again with a larger heap.
        ("GEMINI_CLI_NO_RELAUNCH", "1"),
        // Settings, hooks, servers and commands of the repository are not run. With `folderTrust`
        // off, the program works in a folder that it does not trust.
        ("GEMINI_CLI_TRUST_WORKSPACE", "false"),
    ];
    environment.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}
