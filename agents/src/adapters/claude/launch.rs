//! How Claude Code is started, and where it keeps things in its HOME.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{ClaudeSession, Origin};
use crate::adapter::SessionSpec;
use crate::failure::Failure;
use crate::process::Launch;

/// What the program gets of the worker's environment.
pub(super) const ENVIRONMENT: [&str; 8] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];
/// Where the hook puts raw summaries, in HOME.
pub(super) const HOOKED: &str = "post-compact";
/// The read-only tools; the rest is not offered.
const TOOLS: &str = "Read,Grep,Glob";
/// Requests that fail are tried again so often, by the program itself.
const RETRIES: &str = "2";
/// The smallest context window that the program compacts for, in tokens; it takes smaller wishes
/// for this.
const LEAST_WINDOW: u64 = 100_000;
const MOST_WINDOW: u64 = 1_000_000;
/// What the program sets aside of a window: for an answer, and before its threshold.
const FOR_ANSWER: u64 = 20_000;
const BEFORE_THRESHOLD: u64 = 13_000;

/// At which context size it is to compact by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Never,
    At(u64),
    /// At the beginning of the next turn, whatever there is.
    AtOnce,
}

impl Size {
    /// As a session asks for.
    pub(super) fn of(spec: &SessionSpec) -> Self {
        spec.compact_at().map_or(Self::Never, Self::At)
    }

    /// The variables that say so. The program's threshold is
    /// `min(effective · percent, effective - 13000)` with `effective = window - 20000`; so small
    /// sizes are a share of the smallest window, and large ones a window without a share.
    pub(super) fn environment(self) -> Vec<(&'static str, String)> {
        let window = |tokens: u64| ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", tokens.to_string());
        let percent = |percent: u64| ("CLAUDE_AUTOCOMPACT_PCT_OVERRIDE", percent.to_string());
        let effective = LEAST_WINDOW - FOR_ANSWER;
        match self {
            Self::Never => vec![("DISABLE_AUTO_COMPACT", "1".to_owned())],
            Self::AtOnce => vec![window(LEAST_WINDOW), percent(1)],
            Self::At(tokens) if tokens < effective - BEFORE_THRESHOLD => {
                let share = (tokens * 100 / effective).max(1);
                vec![window(LEAST_WINDOW), percent(share)]
            }
            Self::At(tokens) => {
                vec![window(
                    (tokens + FOR_ANSWER + BEFORE_THRESHOLD).min(MOST_WINDOW),
                )]
            }
        }
    }
}

/// The command line and the environment of one turn.
pub(super) fn launch(session: &ClaudeSession, folder: PathBuf, sealed: bool, size: Size) -> Launch {
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
        if sealed { "" } else { TOOLS },
        "--strict-mcp-config",
        "--setting-sources=",
        "--settings",
        &hooks().to_string(),
    ]
    .iter()
    .map(OsString::from)
    .collect();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    match &session.origin {
        Origin::Nothing => add(&["--session-id", &session.id]),
        Origin::Own => add(&["--resume", &session.id]),
        Origin::Copy(path) => {
            let path = path.to_string_lossy();
            add(&[
                "--resume",
                &path,
                "--fork-session",
                "--session-id",
                &session.id,
            ]);
        }
    }
    let fixed = [
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"),
        ("CLAUDE_CODE_MAX_RETRIES", RETRIES),
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
    ];
    let mut environment: BTreeMap<String, String> = session.spec.environment.clone();
    environment.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment.extend(
        size.environment()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    let path = session.found.search_path.to_string_lossy().into_owned();
    environment.insert("PATH".to_owned(), path);
    Launch {
        program: session.found.path.clone(),
        args,
        folder,
        needs: session.found.folders.clone(),
        home: session.spec.home.clone(),
        environment,
        input: Vec::new(),
    }
}

/// After a compaction the program hands the raw summary to this command; each goes to a file of its
/// own, named after the shell that writes it.
fn hooks() -> Value {
    let command = format!("cat > \"$HOME/{HOOKED}/$$.json\"");
    json!({"hooks": {"PostCompact": [{"hooks": [{"type": "command", "command": command}]}]}})
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

/// Puts a transcript into a HOME, for a session to go on from.
pub(super) async fn write_origin(home: &Path, transcript: &[u8]) -> Result<PathBuf, Failure> {
    // The program wants a name that is an id; which one is of no concern, it takes a new one.
    let path = folder(home, "origin")
        .await?
        .join(format!("{}.jsonl", uuid::Uuid::new_v4()));
    tokio::fs::write(&path, transcript).await.map_err(|error| {
        Failure::harness(format!("{} cannot be written: {error}", path.display()))
    })?;
    Ok(path)
}

/// Reads a file.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    tokio::fs::read(path)
        .await
        .map_err(|error| Failure::harness(format!("{} cannot be read: {error}", path.display())))
}

/// Where the program keeps the transcript of a session: in a folder named after the one it works
/// in, by a rule of its own, so it is looked for.
pub(super) async fn transcript_path(home: &Path, id: &str) -> Result<PathBuf, Failure> {
    let projects = home.join(".claude").join("projects");
    let failed = |error: std::io::Error| {
        Failure::harness(format!("{} cannot be read: {error}", projects.display()))
    };
    let mut entries = tokio::fs::read_dir(&projects).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let path = entry.path().join(format!("{id}.jsonl"));
        if tokio::fs::try_exists(&path).await.map_err(failed)? {
            return Ok(path);
        }
    }
    Err(Failure::harness(format!(
        "Claude Code left no transcript of session {id} in {}",
        projects.display()
    )))
}
