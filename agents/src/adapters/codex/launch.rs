//! How Codex is started: its settings, its catalogue of models, its environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::home::codex_home;
use super::{CodexSession, home};
use crate::adapter::{Access, RawSink, SessionSpec, Stream};
use crate::failure::{Cause, Failure};
use crate::process::{self, Launch};

pub(super) const KEY: &str = "OPENAI_API_KEY";
pub(super) const BASE_URL: &str = "OPENAI_BASE_URL";
/// Where the built-in provider takes its key from.
const KEY_OF_BUILT_IN: &str = "CODEX_API_KEY";
/// What the program gets of the worker's environment.
pub(super) const ENVIRONMENT: [&str; 6] = [
    KEY,
    BASE_URL,
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
];
/// A context of so many tokens is never full.
const ENDLESS: u64 = 1_000_000_000;
/// Requests that fail are tried again so often, and answers that break off, by the program itself.
const RETRIES: (u32, u32) = (2, 1);
/// What commands may do where our own sandbox keeps files away. The program's own bounds for files
/// cannot be drawn within it, for they need mounts; those for the network can.
const WITHIN_OURS: &str = r#"
[permissions.membreak.filesystem]
":root" = "write"

[permissions.membreak.network]
enabled = false
"#;

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

    /// The settings that say so. A full window has it compact too, whatever the limit is.
    fn settings(self) -> String {
        let limit = |tokens: u64| format!("model_auto_compact_token_limit = {tokens}\n");
        match self {
            Self::Never => format!("{}model_context_window = {ENDLESS}\n", limit(ENDLESS)),
            Self::At(tokens) => limit(tokens.max(1)),
            Self::AtOnce => limit(1),
        }
    }
}

/// The program's models, as it is to take them.
#[derive(Debug)]
pub(super) struct Catalogue {
    file: Vec<u8>,
    /// Tokens that fit into the model's context by the program's own catalogue, where it is there.
    pub(super) window: Option<u64>,
}

impl Catalogue {
    /// Reads what `codex debug models` prints. All models lose the tools that no setting takes away,
    /// get the rest offered in the ordinary way, and let a setting choose any window.
    ///
    /// # Errors
    ///
    /// It is no catalogue.
    pub(super) fn read(printed: &[u8], model: &str) -> Result<Self, Failure> {
        let no_catalogue = || Failure::harness("Codex printed no catalogue of its models");
        let mut all: Value = serde_json::from_slice(printed).map_err(|_| no_catalogue())?;
        let models = all.get_mut("models").and_then(Value::as_array_mut);
        let mut window = None;
        for about in models.ok_or_else(no_catalogue)? {
            if about["slug"] == model {
                let percent = about["effective_context_window_percent"].as_u64();
                window = about["context_window"]
                    .as_u64()
                    .and_then(|window| window.checked_mul(percent.unwrap_or(100)))
                    .map(|hundredths| hundredths / 100);
            }
            let Some(about) = about.as_object_mut() else {
                continue;
            };
            for (name, value) in [
                ("apply_patch_tool_type", Value::Null),
                ("supports_search_tool", json!(false)),
                ("experimental_supported_tools", json!([])),
                ("use_responses_lite", json!(false)),
                ("max_context_window", json!(ENDLESS)),
            ] {
                about.insert(name.to_owned(), value);
            }
            about.remove("tool_mode");
            about.remove("multi_agent_version");
        }
        Ok(Self {
            file: all.to_string().into_bytes(),
            window,
        })
    }
}

impl CodexSession {
    /// Makes the session's HOME ready for a turn. The folder that the turn works in.
    pub(super) async fn prepare(&mut self, size: Size) -> Result<PathBuf, Failure> {
        let folder = self.work_folder().await?;
        home::folder(&self.spec.home.join("tmp")).await?;
        let catalogue = self.catalogue().await?;
        let path = catalogue_path(&self.spec.home);
        if !path.exists() {
            home::write(&path, &catalogue.file).await?;
        }
        self.forget().await?;
        let settings = settings(&self.spec, &folder, size);
        let path = codex_home(&self.spec.home).join("config.toml");
        home::write(&path, settings.as_bytes()).await?;
        Ok(folder)
    }

    /// How to start a turn with a prompt.
    pub(super) fn exec(&self, folder: PathBuf, prompt: &str) -> Launch {
        let mut args = vec!["exec", "--json", "--strict-config", "--skip-git-repo-check"];
        match &self.id {
            Some(id) => args.extend(["resume", "-m", &self.model, id, "-"]),
            None => args.extend(["-m", &self.model, "-"]),
        }
        self.launch(&args, folder, prompt.as_bytes().to_vec())
    }

    /// How to start the program for whoever speaks its protocol.
    pub(super) fn server(&self, folder: PathBuf) -> Launch {
        self.launch(&["app-server", "--strict-config"], folder, Vec::new())
    }

    fn launch(&self, args: &[&str], folder: PathBuf, input: Vec<u8>) -> Launch {
        Launch {
            program: self.found.path.clone(),
            args: args.iter().map(OsString::from).collect(),
            folder,
            needs: self.found.folders.clone(),
            home: self.spec.home.clone(),
            environment: self.environment(),
            input,
        }
    }

    /// The key goes by the environment alone; the address stands in the settings.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = self.spec.environment.clone();
        if environment.remove(BASE_URL).is_none()
            && let Some(key) = environment.remove(KEY)
        {
            environment.insert(KEY_OF_BUILT_IN.to_owned(), key);
        }
        let path = self.found.search_path.to_string_lossy().into_owned();
        environment.insert("PATH".to_owned(), path);
        // HOME itself must not lie in the folder for temporary files.
        let temporary = self.spec.home.join("tmp").to_string_lossy().into_owned();
        environment.insert("TMPDIR".to_owned(), temporary);
        environment
    }

    /// The folder that the program works in. A sealed one is not even told where the workspace is.
    async fn work_folder(&self) -> Result<PathBuf, Failure> {
        let folder = match (&self.spec.workspace, self.spec.access) {
            (Some(workspace), Access::Workspace) => workspace.clone(),
            (_, Access::Sealed) | (None, Access::Workspace) => {
                let empty = self.spec.home.join("empty");
                home::folder(&empty).await?;
                empty
            }
        };
        // The program knows it by this name.
        tokio::fs::canonicalize(&folder)
            .await
            .map_err(home::cannot("be found", &folder))
    }

    async fn catalogue(&mut self) -> Result<Arc<Catalogue>, Failure> {
        if let Some(catalogue) = &self.catalogue {
            return Ok(Arc::clone(catalogue));
        }
        home::folder(&codex_home(&self.spec.home)).await?;
        let mut launch = self.launch(&["debug", "models"], self.spec.home.clone(), Vec::new());
        // It needs none.
        for name in [KEY, KEY_OF_BUILT_IN] {
            launch.environment.remove(name);
        }
        // What it prints is nothing that the agent did.
        let spec = SessionSpec {
            raw: Arc::new(Unheard),
            events: mpsc::channel(1).0,
            ..self.spec.clone()
        };
        let mut printed = Vec::new();
        let ended = process::run(&launch, &spec, |line| {
            printed.extend_from_slice(&line.bytes);
            Ok(Vec::new())
        })
        .await?;
        if !ended.status.success() {
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!("Codex does not tell its models: {}", ended.stderr),
            ));
        }
        let catalogue = Arc::new(Catalogue::read(&printed, &self.model)?);
        self.catalogue = Some(Arc::clone(&catalogue));
        Ok(catalogue)
    }
}

/// Takes lines that nobody wants.
struct Unheard;

impl RawSink for Unheard {
    fn line(&self, _: Stream, _: &[u8]) {}
}

fn catalogue_path(home: &Path) -> PathBuf {
    codex_home(home).join("models.json")
}

/// The settings of a turn: only what is told here is on, and nothing of the repository's own.
pub(super) fn settings(spec: &SessionSpec, folder: &Path, size: Size) -> String {
    let reads = spec.access == Access::Workspace;
    let catalogue = toml(&catalogue_path(&spec.home).to_string_lossy());
    let folder = toml(&folder.to_string_lossy());
    let (requests, streams) = RETRIES;
    let mut settings = size.settings();
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
        settings.push_str(WITHIN_OURS);
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

/// A text as TOML writes it: as JSON does, but for one character.
fn toml(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
