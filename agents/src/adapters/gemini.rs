//! Gemini CLI (`gemini`), headless: one process for each turn, JSON lines, a session file in HOME.
//!
//! Verified against 0.61.0. What cannot be seen in the code:
//! * a compression leaves no trace in the event stream. The telemetry tells of attempts, the session
//!   file of what was applied: only both together are a break;
//! * it compresses at the start of a turn and of each request in it, when the size is at least
//!   `compressionThreshold` × 1,048,576 tokens. In a new process, hence in each of our turns, the
//!   size is its own estimate of the conversation, without its system prompt;
//! * it has no compact command that works without a terminal. A threshold of next to nothing, for
//!   one turn, makes it compress;
//! * a compressor's request that fails is sent five times, for more than a minute, whatever
//!   `maxAttempts` says, and then the turn fails, with the prompt unanswered;
//! * what is read into a session (`@name`, `GEMINI.md`, a repository's own settings and `.env`)
//!   depends on the folder: see [`super::words`] and [`settings`];
//! * each process writes a second file of the session, with no conversation in it, or the same
//!   lines into the session's own file where that was made in the same minute: such a file, left
//!   by a process that was killed, has lost the conversation. So the file is renamed after the
//!   first turn, and put back as it was after a turn that failed;
//! * reports of its errors, with the whole conversation, stay in the folder for temporary files.

mod faults;
mod session;
mod settings;
mod stream;
mod telemetry;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use self::settings::Compress;
use super::Setup;
use crate::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Turn,
};
use crate::event::CompactionTrigger;
use crate::failure::Failure;
use crate::gathering::Gathering;
use crate::program::{self, Found, Programs};

const NAME: &str = "gemini";
const DEFAULT_MODEL: &str = "gemini-2.5-pro";
const INSTALL_HINT: &str = "npm install -g @google/gemini-cli, or scripts/install-agents.sh";
/// What is said in a turn that is there for the sake of the compression before it.
const NOTHING_TO_DO: &str = "There is nothing to do in this turn. Answer with one word: ready.";

/// Gemini CLI.
pub(super) struct GeminiAdapter {
    profile: Profile,
    programs: Programs,
    model: String,
    presence: OnceCell<Presence>,
}

/// The adapter, with the model of `setup` where it tells one.
pub(super) fn adapter(setup: &Setup) -> GeminiAdapter {
    let model = setup.models.get(NAME).map_or(DEFAULT_MODEL, String::as_str);
    GeminiAdapter::new(setup.programs.clone(), model)
}

impl GeminiAdapter {
    fn new(programs: Programs, model: &str) -> Self {
        let environment = [
            "GEMINI_API_KEY",
            "GOOGLE_API_KEY",
            "GOOGLE_GEMINI_BASE_URL",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "NO_PROXY",
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
        ];
        Self {
            profile: Profile {
                name: NAME.to_owned(),
                display_name: "Gemini CLI".to_owned(),
                capabilities: Capabilities {
                    fork: true,
                    manual_compaction: false,
                    auto_compaction: true,
                    forced_compaction: true,
                    resume: true,
                    usage: true,
                    tools_off: true,
                },
                install_hint: INSTALL_HINT.to_owned(),
                control: false,
                environment: environment.map(str::to_owned).to_vec(),
                default_model: Some(model.to_owned()),
            },
            programs,
            model: model.to_owned(),
            presence: OnceCell::new(),
        }
    }

    async fn session(
        &self,
        spec: SessionSpec,
        id: String,
        file: Option<Vec<u8>>,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let found = self.programs.find(NAME, NAME).map_err(Failure::harness)?;
        let session = GeminiSession {
            found,
            model: self.model.clone(),
            id,
            is_fork: false,
            spec,
            turns: 0,
            forks: AtomicU64::new(0),
        };
        session.put_back(file.as_deref()).await?;
        Ok(Box::new(session))
    }
}

#[async_trait]
impl AgentAdapter for GeminiAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        let model = super::model_of(agent)?;
        Ok(Arc::new(Self::new(self.programs.clone(), model)))
    }

    async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| program::presence(self.programs.find(NAME, NAME), INSTALL_HINT))
            .await
            .clone()
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        let (url, key) = (endpoint.url.clone(), endpoint.key.clone());
        Some(BTreeMap::from([
            ("GOOGLE_GEMINI_BASE_URL".to_owned(), url),
            ("GEMINI_API_KEY".to_owned(), key),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        // Not one made of the time: the program names files after the first eight digits.
        let id = uuid::Uuid::new_v4().to_string();
        self.session(spec, id, None).await
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let id = uuid::Uuid::parse_str(&checkpoint.session_id)
            .map_err(|_| Failure::harness("the checkpoint's session has no id of Gemini CLI"))?;
        let file = (!checkpoint.state.is_empty()).then(|| checkpoint.state.clone());
        self.session(spec, id.to_string(), file).await
    }
}

/// A conversation with Gemini CLI.
struct GeminiSession {
    found: Found,
    model: String,
    /// A UUID, in its usual form.
    id: String,
    is_fork: bool,
    spec: SessionSpec,
    turns: u64,
    forks: AtomicU64,
}

#[async_trait]
impl AgentSession for GeminiSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        let turn = self.turn(text, Compress::WhenFull).await;
        turn.map_err(|fault| fault.failure)
    }

    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure> {
        match how {
            CompactionTrigger::Manual => Err(Failure::harness(
                "Gemini CLI has no compact command that works without a terminal",
            )),
            CompactionTrigger::Auto => {
                let begun = Instant::now();
                match self.turn(NOTHING_TO_DO, Compress::Now).await {
                    Ok(turn) => Ok(turn),
                    Err(fault) if fault.no_summary => {
                        let mut gathering = Gathering::default();
                        gathering.error(&fault.failure.message);
                        self.hand_on(&mut gathering).await?;
                        Ok(gathering.finish(begun.elapsed()))
                    }
                    Err(fault) => Err(fault.failure),
                }
            }
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let number = self.forks.fetch_add(1, Ordering::Relaxed);
        let workspace = match access {
            Access::Workspace => self.spec.workspace.clone(),
            Access::Sealed => None,
        };
        let fork = Self {
            found: self.found.clone(),
            model: self.model.clone(),
            id: self.id.clone(),
            is_fork: true,
            spec: SessionSpec {
                home: self.spec.home.join("forks").join(number.to_string()),
                workspace,
                access,
                ..self.spec.clone()
            },
            turns: 0,
            forks: AtomicU64::new(0),
        };
        fork.put_back(self.file().await?.as_deref()).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone(),
            // A session that never had a turn has no file.
            state: self.file().await?.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        if self.is_fork {
            // What cannot be removed now goes with the run's folder.
            let _ = tokio::fs::remove_dir_all(&self.spec.home).await;
        }
    }
}
