//! Settings, command line and environment of Codex.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use super::catalogue::{Catalogue, ENDLESS_WINDOW};
use super::home::{codex_home, remove_databases};
use crate::adapter::{Access, RawSink, SessionSpec, Stream};
use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::cli_adapter::files;
use crate::adapters::cli_adapter::session::CliSession;
use crate::failure::{Cause, Failure};
use crate::process::{self, Launch};

pub(super) const KEY: &str = "OPENAI_API_KEY";
pub(super) const BASE_URL: &str = "OPENAI_BASE_URL";
/// Variable from which the built-in provider reads its key.
const BUILT_IN_PROVIDER_KEY: &str = "CODEX_API_KEY";
/// Number of times that the program itself retries failed requests and interrupted answers.
const RETRIES: (u32, u32) = (2, 1);
/// Permissions of commands where our own sandbox already protects files. The program cannot apply
/// its own limits for files inside that sandbox, because they need mounts. Its limits for the
/// network work.
const PERMISSIONS_IN_SANDBOX: &str = r#"
[permissions.membreak.filesystem]
":root" = "write"

[permissions.membreak.network]
enabled = false
"#;

/// Returns the settings for the size at which the program compacts. It also compacts when its
/// window is full, whatever the limit.
fn compaction_settings(size: CompactionSize) -> String {
    let limit = |tokens: u64| format!("model_auto_compact_token_limit = {tokens}\n");
    match size {
        CompactionSize::Never => format!(
            "{}model_context_window = {ENDLESS_WINDOW}\n",
            limit(ENDLESS_WINDOW)
        ),
        CompactionSize::At(tokens) => limit(tokens.max(1)),
        CompactionSize::AtOnce => limit(1),
    }
}

/// Prepares the session's HOME for a turn. Returns the folder that the turn works in.
pub(super) async fn prepare(
    session: &CliSession,
    catalogue: &Catalogue,
    size: CompactionSize,
) -> Result<PathBuf, Failure> {
    let home = &session.spec.home;
    // The program identifies a conversation by the real path.
    let folder = files::real_path(&session.working_folder().await?).await?;
    files::create_folder(home.join("tmp")).await?;
    let path = catalogue_path(home);
    if !path.exists() {
        files::write(&path, &catalogue.file).await?;
    }
    remove_databases(home).await?;
    let settings = settings(&session.spec, &folder, size);
    let path = codex_home(home).join("config.toml");
    files::write(&path, settings.as_bytes()).await?;
    Ok(folder)
}

/// Returns how to start a turn with a prompt. `thread` is the conversation to continue.
pub(super) fn exec(
    session: &CliSession,
    thread: Option<&str>,
    folder: PathBuf,
    prompt: &str,
) -> Launch {
    let mut args = vec!["exec", "--json", "--strict-config", "--skip-git-repo-check"];
    match thread {
        Some(id) => args.extend(["resume", "-m", &session.model, id, "-"]),
        None => args.extend(["-m", &session.model, "-"]),
    }
    launch(session, &args, folder, prompt.as_bytes().to_vec())
}

/// Returns how to start the program as a server of its own protocol.
pub(super) fn server(session: &CliSession, folder: PathBuf) -> Launch {
    launch(
        session,
        &["app-server", "--strict-config"],
        folder,
        Vec::new(),
    )
}

fn launch(session: &CliSession, args: &[&str], folder: PathBuf, input: Vec<u8>) -> Launch {
    let args = args.iter().map(OsString::from).collect();
    session.launch(args, folder, environment(session), input)
}

/// Returns the variables of the program. Only the environment carries the key. The address is in
/// the settings.
fn environment(session: &CliSession) -> BTreeMap<String, String> {
    let mut environment = session.environment();
    if environment.remove(BASE_URL).is_none()
        && let Some(key) = environment.remove(KEY)
    {
        environment.insert(BUILT_IN_PROVIDER_KEY.to_owned(), key);
    }
    // HOME itself must not be in the folder for temporary files.
    let temporary = session.spec.home.join("tmp");
    environment.insert(
        "TMPDIR".to_owned(),
        temporary.to_string_lossy().into_owned(),
    );
    environment
}

/// Asks the program for its models.
pub(super) async fn print_catalogue(session: &CliSession) -> Result<Catalogue, Failure> {
    let home = &session.spec.home;
    files::create_folder(codex_home(home)).await?;
    let mut launch = launch(session, &["debug", "models"], home.clone(), Vec::new());
    // This command needs no key.
    for name in [KEY, BUILT_IN_PROVIDER_KEY] {
        launch.environment.remove(name);
    }
    // The output is not part of the conversation.
    let spec = SessionSpec {
        raw: Arc::new(DiscardedLines),
        events: mpsc::channel(1).0,
        ..session.spec.clone()
    };
    let mut output = Vec::new();
    let exit = process::run(&launch, &spec, |line| {
        output.extend_from_slice(&line.bytes);
        Ok(Vec::new())
    })
    .await?;
    if !exit.status.success() {
        return Err(Failure::new(
            Cause::AgentCrashed,
            format!("Codex could not list its models: {}", exit.stderr),
        ));
    }
    Catalogue::parse(&output, &session.model)
}

/// Sink that discards all lines.
struct DiscardedLines;

impl RawSink for DiscardedLines {
    fn line(&self, _: Stream, _: &[u8]) {}
}

fn catalogue_path(home: &Path) -> PathBuf {
    codex_home(home).join("models.json")
}

/// Returns the settings of a turn. Only the features listed here are on, and no settings of the
/// repository apply.
pub(super) fn settings(spec: &SessionSpec, folder: &Path, size: CompactionSize) -> String {
    let reads = spec.access == Access::Workspace;
    let catalogue = toml(&catalogue_path(&spec.home).to_string_lossy());
    let folder = toml(&folder.to_string_lossy());
    let (requests, streams) = RETRIES;
    let mut settings = compaction_settings(size);
    let is_confined = spec.sandbox.report().filesystem;
    let provider = spec.environment.get(BASE_URL);
    if provider.is_some() {
        settings.push_str("model_provider = \"membreak\"\n");
    }
    let _ = write!(
        settings,
        r#"model_catalog_json = {catalogue}
{sandbox}
approval_policy = "never"
web_search = "disabled"
check_for_update_on_startup = false
project_doc_max_bytes = 0
project_root_markers = []

[features]
shell_tool = {reads}
unified_exec = {reads}
apps = false
goals = false
hooks = false
memories = false
plugins = false
shell_snapshot = false
skill_search = false
tool_suggest = false
unbounded_connection_retries = false
view_image = false

[agents]
enabled = false

[analytics]
enabled = false

[shell_environment_policy]
inherit = "core"

[skills]
include_instructions = false

[skills.bundled]
enabled = false

[tools.experimental_request_user_input]
enabled = false

[projects.{folder}]
trust_level = "untrusted"
"#,
        sandbox = if is_confined {
            "default_permissions = \"membreak\""
        } else {
            "sandbox_mode = \"read-only\""
        },
    );
    if is_confined {
        settings.push_str(PERMISSIONS_IN_SANDBOX);
    }
    if let Some(url) = provider {
        let _ = write!(
            settings,
            r#"
[model_providers.membreak]
name = "membreak"
base_url = {url}
env_key = "{KEY}"
wire_api = "responses"
request_max_retries = {requests}
stream_max_retries = {streams}
supports_websockets = false
"#,
            url = toml(url.trim_end_matches('/')),
        );
    }
    settings
}

/// Quotes a text for TOML. JSON quotes all characters in the same way but one.
fn toml(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
