//! Qwen Code (`@qwen-code/qwen-code`), headless: one process for each turn, JSON lines, the session
//! file in HOME as the conversation.
//!
//! Measured with 0.15.10. Its stream says nothing of a compaction by itself, and of one by command
//! it prints figures whether or not it was applied. What proves it is a line in the session file,
//! which is written only when the compressed history is taken over. Its managed memory, which writes
//! facts to files behind the conversation, is off.
//!
//! It puts a space before every `@` of a prompt that has none there: `bob@example.org` reaches the
//! model as `bob @example.org`, and a hunk's header is set in by one. Nothing prevents it.

mod launch;
mod session;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{Setup, words};
use crate::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Stream, Turn,
};
use crate::event::{CompactionTrigger, Usage};
use crate::failure::{Cause, Failure};
use crate::prices;
use crate::process;
use crate::program::{Found, Programs, presence};
use launch::Size;
use stream::Reading;

const NAME: &str = "qwen";
/// The model that is asked for where nobody names one.
const DEFAULT_MODEL: &str = "qwen3-coder-plus";
const INSTALL: &str = "scripts/install-agents.sh, or npm install -g @qwen-code/qwen-code";
/// Says nothing, and asks for nothing: for the turn in which a compaction is forced.
const NEUTRAL: &str = "Nothing is to be done in this turn. Reply with one short sentence.";
/// The program asks a provider again for minutes, and says nothing of it but in its session file.
/// So many refusals of one turn end it.
const MOST_REFUSALS: usize = 4;
/// How often the session file is looked at while a turn lasts.
const LOOK: Duration = Duration::from_secs(1);

/// Qwen Code.
pub(super) struct QwenAdapter {
    profile: Profile,
    programs: Programs,
    model: String,
    presence: OnceCell<Presence>,
}

/// The adapter, as it is set up.
pub(super) fn adapter(setup: &Setup) -> QwenAdapter {
    let model = setup.models.get(NAME).map(String::as_str);
    QwenAdapter::with_model(setup.programs.clone(), model.unwrap_or(DEFAULT_MODEL))
}

impl QwenAdapter {
    fn with_model(programs: Programs, model: &str) -> Self {
        Self {
            profile: Profile {
                name: NAME.to_owned(),
                display_name: "Qwen Code".to_owned(),
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

    fn found(&self) -> Result<Found, String> {
        self.programs.find(NAME, "qwen")
    }

    fn session(&self, spec: SessionSpec, id: String) -> Result<QwenSession, Failure> {
        let found = self
            .found()
            .map_err(|why| Failure::harness(format!("Qwen Code cannot be run: {why}")))?;
        Ok(QwenSession {
            found,
            model: self.model.clone(),
            id,
            spec,
            is_fork: false,
            forks: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl AgentAdapter for QwenAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        let model = super::model_of(agent)?;
        Ok(Arc::new(Self::with_model(self.programs.clone(), model)))
    }

    async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| presence(self.found(), INSTALL))
            .await
            .clone()
    }

    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>> {
        Some(BTreeMap::from([
            ("OPENAI_BASE_URL".to_owned(), format!("{}/v1", endpoint.url)),
            ("OPENAI_API_KEY".to_owned(), endpoint.key.clone()),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(Box::new(self.session(spec, new_id())?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let id = uuid::Uuid::parse_str(&checkpoint.session_id)
            .map_err(|_| Failure::harness("the checkpoint has no id of a session of Qwen Code"))?;
        let session = self.session(spec, id.to_string())?;
        session.write(&checkpoint.state).await?;
        Ok(Box::new(session))
    }
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A conversation with Qwen Code.
struct QwenSession {
    found: Found,
    model: String,
    id: String,
    spec: SessionSpec,
    is_fork: bool,
    forks: AtomicU64,
}

impl QwenSession {
    /// One turn in a process of its own, after whose failure the session is as it was before.
    async fn turn(
        &self,
        prompt: &str,
        size: Size,
        trigger: CompactionTrigger,
    ) -> Result<Turn, Failure> {
        let before = self.read().await?;
        let turn = self.try_turn(prompt, size, trigger, &before).await;
        if turn.is_err() {
            self.write(&before).await?;
        }
        turn
    }

    async fn try_turn(
        &self,
        prompt: &str,
        size: Size,
        trigger: CompactionTrigger,
        before: &[u8],
    ) -> Result<Turn, Failure> {
        let begun = Instant::now();
        let folder = self.folder().await?;
        launch::prepare(&self.spec, size).await?;
        let launch = launch::launch(self, folder, prompt, !before.is_empty());
        self.spec.raw.line(Stream::Stdin, &launch.input);
        let mut reading = Reading::new(self.spec.access == Access::Sealed);
        let running = process::run(&launch, &self.spec, |line| reading.line(line));
        let ended = tokio::select! {
            ended = running => ended,
            refused = self.refused(before.len()) => Err(refused),
        };
        let after = self.read().await?;
        let news = session::News::read(after.get(before.len()..).unwrap_or_default());
        let ended = match ended {
            Ok(ended) => ended,
            Err(failure) if failure.cause == Cause::TimedOut => {
                return Err(news.refusal().unwrap_or(failure));
            }
            Err(failure) => return Err(failure),
        };
        let raw_summaries = launch::take_summaries(&self.spec.home).await?;
        let mut gathering = reading.outcome(&ended)?;
        if gathering.turn().text.is_empty() && news.is_silent() {
            let silent = "Qwen Code ended its turn without asking the model";
            return Err(Failure::new(Cause::AgentCrashed, silent));
        }
        let (context, tokens) = (news.context(), news.tokens());
        for compaction in news.compactions(trigger, raw_summaries) {
            gathering.compacted(compaction);
        }
        if let Some(context) = context {
            gathering.usage(Usage {
                context,
                window: None,
            });
        }
        gathering.billed(
            tokens,
            tokens.and_then(|tokens| prices::cost(&self.model, tokens)),
        );
        for event in gathering.take_events() {
            // Nobody listening is no reason to fail a turn.
            let _ = self.spec.events.send(event).await;
        }
        Ok(gathering.finish(begun.elapsed()))
    }

    /// Waits until the provider has refused too often.
    async fn refused(&self, before: usize) -> Failure {
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(now) = self.read().await else {
                continue;
            };
            let news = session::News::read(now.get(before..).unwrap_or_default());
            if news.refusals() >= MOST_REFUSALS
                && let Some(refusal) = news.refusal()
            {
                return refusal;
            }
        }
    }

    /// The folder that the program works in. A sealed one is not even told where the workspace is.
    async fn folder(&self) -> Result<std::path::PathBuf, Failure> {
        match (&self.spec.workspace, self.spec.access) {
            (Some(workspace), Access::Workspace) => Ok(workspace.clone()),
            (_, Access::Sealed) | (None, Access::Workspace) => {
                launch::folder(&self.spec.home, "empty").await
            }
        }
    }

    /// The session file; empty before the first turn.
    async fn read(&self) -> Result<Vec<u8>, Failure> {
        let path = session::path(&self.spec.home, &self.folder().await?, &self.id).await?;
        match tokio::fs::read(&path).await {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Failure::harness(format!(
                "{} cannot be read: {error}",
                path.display()
            ))),
        }
    }

    /// Puts a session file where the program looks for it; none where it is empty.
    async fn write(&self, state: &[u8]) -> Result<(), Failure> {
        let folder = self.folder().await?;
        let path = session::path(&self.spec.home, &folder, &self.id).await?;
        let written = async {
            if state.is_empty() {
                match tokio::fs::remove_file(&path).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                    Ok(()) | Err(_) => Ok(()),
                }
            } else {
                if let Some(folder) = path.parent() {
                    tokio::fs::create_dir_all(folder).await?;
                }
                let real = tokio::fs::canonicalize(&folder).await?;
                tokio::fs::write(&path, session::moved(state, &real)).await
            }
        };
        written.await.map_err(|error| {
            Failure::harness(format!("{} cannot be written: {error}", path.display()))
        })
    }
}

#[async_trait]
impl AgentSession for QwenSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        let prompt = words::plain(text, &self.folder().await?);
        self.turn(&prompt, Size::of(&self.spec), CompactionTrigger::Auto)
            .await
    }

    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure> {
        let (prompt, size) = match how {
            CompactionTrigger::Manual => ("/compress", Size::Never),
            CompactionTrigger::Auto => (NEUTRAL, Size::AtOnce),
        };
        self.turn(prompt, size, how).await
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let number = self.forks.fetch_add(1, Ordering::Relaxed);
        let home = launch::folder(&self.spec.home, &format!("forks/{number}")).await?;
        let workspace = match access {
            Access::Workspace => self.spec.workspace.clone(),
            Access::Sealed => None,
        };
        let copy = Self {
            found: self.found.clone(),
            model: self.model.clone(),
            id: self.id.clone(),
            spec: SessionSpec {
                home,
                workspace,
                access,
                ..self.spec.clone()
            },
            is_fork: true,
            forks: AtomicU64::new(0),
        };
        copy.write(&self.read().await?).await?;
        Ok(Box::new(copy))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone(),
            state: self.read().await?,
        })
    }

    async fn close(self: Box<Self>) {
        if self.is_fork {
            // What cannot be removed now goes with the run's folder.
            let _ = tokio::fs::remove_dir_all(&self.spec.home).await;
        }
    }
}

#[cfg(test)]
mod tests;
