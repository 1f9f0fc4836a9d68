//! The program's settings and variables for one turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::adapter::{Access, SessionSpec};
use crate::failure::Failure;
use crate::program::Found;

/// The tools that read and do nothing else, by the names of 0.61.0.
const READING_TOOLS: [&str; 4] = ["read_file", "list_directory", "glob", "grep_search"];
/// The name of the folder, in HOME, in which the program keeps a project's sessions.
const PROJECT: &str = "session";
/// A threshold over which every conversation is.
const AT_ONCE: f64 = 0.00001;
/// A threshold under which every conversation is.
const NEVER: f64 = 1000.0;

/// When the program is to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compress {
    /// At the size that the session was begun with, if it may.
    WhenFull,
    /// Before the next request.
    Now,
}

/// How many tokens the program believes that a model's context holds; nothing can change it.
pub(super) fn window(model: &str) -> u64 {
    match model {
        "gemma-4-31b-it" | "gemma-4-26b-a4b-it" => 256_000,
        _ => 1_048_576,
    }
}

/// Where the program keeps its sessions.
pub(super) fn chats(home: &Path) -> PathBuf {
    home.join(".gemini/tmp").join(PROJECT).join("chats")
}

/// What is written into `settings.json`.
pub(super) fn settings(
    spec: &SessionSpec,
    model: &str,
    compress: Compress,
    telemetry: &Path,
) -> Value {
    let mut about_model = json!({
        "name": model,
        // Repetitive code is no loop, and a turn that is ended for one is not kept.
        "disableLoopDetection": true,
        "skipNextSpeakerCheck": true,
    });
    if let Some(threshold) = threshold(spec, model, compress) {
        about_model["compressionThreshold"] = json!(threshold);
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
        "model": about_model,
        "tools": {"core": tools(spec.access, compress)},
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

fn tools(access: Access, compress: Compress) -> &'static [&'static str] {
    match (access, compress) {
        (Access::Workspace, Compress::WhenFull) => &READING_TOOLS,
        // With a tool's answer another request follows, and would be preceded by another
        // compression.
        (Access::Workspace, Compress::Now) | (Access::Sealed, _) => &[],
    }
}

/// None: where the program itself thinks right.
fn threshold(spec: &SessionSpec, model: &str, compress: Compress) -> Option<f64> {
    let may = spec.compacts && spec.access == Access::Workspace;
    match compress {
        Compress::Now => Some(AT_ONCE),
        Compress::WhenFull if !may => Some(NEVER),
        // Zero would be taken for no threshold.
        Compress::WhenFull => spec
            .compact_at()
            .map(|tokens| tokens.max(1) as f64 / window(model) as f64),
    }
}

/// Which of its folders the program is to keep the sessions of `folder` in. It would make up a
/// name of its own, and not find the sessions of another folder.
pub(super) fn projects(folder: &Path) -> Result<Value, Failure> {
    let name = folder.to_str().ok_or_else(|| {
        Failure::harness(format!("{} is no name for Gemini CLI", folder.display()))
    })?;
    Ok(json!({"projects": {name: PROJECT}}))
}

/// The variables of the program.
pub(super) fn environment(spec: &SessionSpec, found: &Found) -> BTreeMap<String, String> {
    let mut environment = spec.environment.clone();
    // The program knows one name for the key, its library prefers another.
    if let Some(key) = environment.remove("GOOGLE_API_KEY") {
        environment
            .entry("GEMINI_API_KEY".to_owned())
            .or_insert(key);
    }
    let path = found.search_path.to_string_lossy().into_owned();
    let own = [
        ("PATH", path.as_str()),
        ("NO_COLOR", "1"),
        // The second process that it would start for the sake of a larger heap.
        ("GEMINI_CLI_NO_RELAUNCH", "1"),
        // Settings, hooks, servers and commands that a repository brings along are not run. With
        // `folderTrust` off, the program works in a folder that it does not trust.
        ("GEMINI_CLI_TRUST_WORKSPACE", "false"),
    ];
    environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}
