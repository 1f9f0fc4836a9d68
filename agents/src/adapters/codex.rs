//! Codex (`codex`), headless: one process for each turn, JSON lines, a rollout file in HOME as the
//! conversation.
//!
//! Measured with 0.169.0. What cannot be seen in the code:
//! * a compaction leaves no trace in the event stream. The rollout has a line for each one that was
//!   applied, and none for one that failed; an empty summary is applied like any other;
//! * what the user said survives a compaction word for word, the newest 80,000 characters or so of
//!   it: only what the agent read and said is replaced by the summary;
//! * it compacts at the start of a turn, and between the uses of tools in one, when the last
//!   request was as large as the limit or as the model's window, whichever is less;
//! * `turn.completed` tells the tokens of the whole conversation, of what a copy had before it was
//!   copied too. The turn's are the difference to what the rollout had counted before;
//! * where commands run in its own sandbox it needs helper programs, which it does not put into a
//!   `CODEX_HOME` below the folder for temporary files: hence a folder for these within HOME. Without
//!   the helpers each command fails, and only the next request tells;
//! * an address that refuses connections is asked for ever, unless a feature is switched off;
//! * which model can use which tools stands in a catalogue; some are offered theirs by an item of the
//!   input instead of `tools`. A catalogue of ours makes all of them ordinary: see [`launch`];
//! * the built-in provider has its compactions done by the provider, who shows no summary. With a
//!   base URL, whichever it is, they are the program's own.

mod home;
mod launch;
mod rollout;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use self::launch::{Catalogue, Size};
use self::turn::Asked;
use super::Setup;
use crate::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Turn,
};
use crate::event::CompactionTrigger;
use crate::failure::Failure;
use crate::gathering::Gathering;
use crate::program::{Found, Programs, presence};

const NAME: &str = "codex";
/// The newest one whose tools are ordinary ones by the program's own catalogue.
const DEFAULT_MODEL: &str = "gpt-5.5";
const INSTALL: &str = "scripts/install-agents.sh, or npm install -g @openai/codex";
/// Says nothing, and asks for nothing: for the turn in which a compaction is forced.
const NEUTRAL: &str = "Nothing is to be done in this turn. Reply with one short sentence.";

/// Codex.
pub(super) struct CodexAdapter {
    profile: Profile,
    programs: Programs,
    model: String,
    presence: OnceCell<Presence>,
}

/// The adapter, as it is set up.
pub(super) fn adapter(setup: &Setup) -> CodexAdapter {
    let model = setup.models.get(NAME).map_or(DEFAULT_MODEL, String::as_str);
    CodexAdapter::with_model(setup.programs.clone(), model)
}

impl CodexAdapter {
    fn with_model(programs: Programs, model: &str) -> Self {
        Self {
            profile: Profile {
                name: NAME.to_owned(),
                display_name: "Codex".to_owned(),
                capabilities: Capabilities {
                    fork: true,
                    manual_compaction: true,
                    auto_compaction: true,
                    forced_compaction: true,
                    resume: true,
                    usage: true,
                    tools_off: true,
                },
                install_hint: INSTALL.to_owned(),
                control: false,
                environment: launch::ENVIRONMENT.map(str::to_owned).to_vec(),
                default_model: Some(model.to_owned()),
            },
            programs,
            model: model.to_owned(),
            presence: OnceCell::new(),
        }
    }

    fn session(&self, spec: SessionSpec, id: Option<String>) -> Result<CodexSession, Failure> {
        let found = self
            .programs
            .find(NAME, NAME)
            .map_err(|why| Failure::harness(format!("Codex cannot be run: {why}")))?;
        Ok(CodexSession {
            found,
            model: self.model.clone(),
            id,
            catalogue: None,
            spec,
            is_fork: false,
            forks: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl AgentAdapter for CodexAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        let model = super::model_of(agent)?;
        Ok(Arc::new(Self::with_model(self.programs.clone(), model)))
    }

    async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| presence(self.programs.find(NAME, NAME), INSTALL))
            .await
            .clone()
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        let url = format!("{}/v1", endpoint.url.trim_end_matches('/'));
        Some(BTreeMap::from([
            (launch::BASE_URL.to_owned(), url),
            (launch::KEY.to_owned(), endpoint.key.clone()),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(Box::new(self.session(spec, None)?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        if checkpoint.state.is_empty() {
            return self.open(spec).await;
        }
        let id = home::thread_id(&checkpoint.session_id)
            .ok_or_else(|| Failure::harness("the checkpoint's session has no id of Codex"))?;
        let session = self.session(spec, Some(id))?;
        session.put_back(Some(&checkpoint.state)).await?;
        Ok(Box::new(session))
    }
}

/// A conversation with Codex.
struct CodexSession {
    found: Found,
    model: String,
    /// A UUID in its usual form, which the program chose; none before the first turn.
    id: Option<String>,
    /// None before the first turn.
    catalogue: Option<Arc<Catalogue>>,
    spec: SessionSpec,
    is_fork: bool,
    forks: AtomicU64,
}

#[async_trait]
impl AgentSession for CodexSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        let turn = self.turn(Asked::Prompt(text, Size::of(&self.spec))).await;
        turn.map_err(|fault| fault.failure)
    }

    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure> {
        let begun = Instant::now();
        let asked = match how {
            CompactionTrigger::Manual => Asked::Compaction,
            CompactionTrigger::Auto => Asked::Prompt(NEUTRAL, Size::AtOnce),
        };
        match self.turn(asked).await {
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
            catalogue: self.catalogue.clone(),
            spec: SessionSpec {
                home: self.spec.home.join("forks").join(number.to_string()),
                workspace,
                access,
                ..self.spec.clone()
            },
            is_fork: true,
            forks: AtomicU64::new(0),
        };
        home::folder(&fork.spec.home).await?;
        fork.put_back(self.rollout().await?.as_deref()).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone().unwrap_or_default(),
            // A session that never had a turn has no rollout.
            state: self.rollout().await?.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        if self.is_fork {
            // What cannot be removed now goes with the run's folder.
            let _ = tokio::fs::remove_dir_all(&self.spec.home).await;
        }
    }
}
