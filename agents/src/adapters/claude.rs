//! Claude Code (`@anthropic-ai/claude-code`), headless: one process for each turn, JSON lines, the
//! transcript in HOME as the conversation.
//!
//! Measured with 2.1.197. A compaction is known by its `compact_boundary` only: a failed one is
//! reported as a success of the turn. At a compaction the program reads the files that were read
//! last again from the disk, and keeps the end of the conversation word for word; both stand in the
//! transcript, and are told as [`Reinjected`](crate::event::Reinjected).

mod launch;
mod stream;
mod transcript;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::Setup;
use crate::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Turn,
};
use crate::event::CompactionTrigger;
use crate::failure::{Cause, Failure};
use crate::process::Peer;
use crate::program::{Found, Programs, presence};
use launch::Size;
use stream::Reading;

/// The model that is asked for where nobody names one. The program's own choice has a context of a
/// million tokens, which no break at a bearable cost would ever fill.
const DEFAULT_MODEL: &str = "claude-sonnet-4-5";
/// Says nothing, and asks for nothing: for the turn in which a compaction is forced.
const NEUTRAL: &str = "Nothing is to be done in this turn. Reply with one short sentence.";
const INSTALL: &str = "scripts/install-agents.sh, or npm install -g @anthropic-ai/claude-code";

/// Claude Code.
pub(super) struct ClaudeAdapter {
    profile: Profile,
    programs: Programs,
    model: String,
    presence: OnceCell<Presence>,
}

/// The adapter, as it is set up.
pub(super) fn adapter(setup: &Setup) -> ClaudeAdapter {
    let model = setup.models.get("claude").map(String::as_str);
    ClaudeAdapter::with_model(setup.programs.clone(), model.unwrap_or(DEFAULT_MODEL))
}

impl ClaudeAdapter {
    fn with_model(programs: Programs, model: &str) -> Self {
        Self {
            profile: Profile {
                name: "claude".to_owned(),
                display_name: "Claude Code".to_owned(),
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
        self.programs.find("claude", "claude")
    }

    fn session(&self, spec: SessionSpec, origin: Origin) -> Result<ClaudeSession, Failure> {
        let found = self
            .found()
            .map_err(|why| Failure::harness(format!("Claude Code cannot be run: {why}")))?;
        Ok(ClaudeSession {
            found,
            model: self.model.clone(),
            id: uuid::Uuid::new_v4().to_string(),
            origin,
            spec,
            is_fork: false,
            forks: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl AgentAdapter for ClaudeAdapter {
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
            ("ANTHROPIC_BASE_URL".to_owned(), endpoint.url.clone()),
            ("ANTHROPIC_API_KEY".to_owned(), endpoint.key.clone()),
        ]))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(Box::new(self.session(spec, Origin::Nothing)?))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let origin = if checkpoint.state.is_empty() {
            Origin::Nothing
        } else {
            Origin::Copy(launch::write_origin(&spec.home, &checkpoint.state).await?)
        };
        Ok(Box::new(self.session(spec, origin)?))
    }
}

/// What the next turn goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// It is the first one.
    Nothing,
    /// The transcript of another session, which is not to be written to.
    Copy(PathBuf),
    /// This session.
    Own,
}

/// A conversation with Claude Code.
struct ClaudeSession {
    found: Found,
    model: String,
    id: String,
    origin: Origin,
    spec: SessionSpec,
    is_fork: bool,
    forks: AtomicU64,
}

impl ClaudeSession {
    /// One turn in a process of its own.
    async fn turn(&mut self, prompt: &str, size: Size) -> Result<Turn, Failure> {
        let begun = Instant::now();
        let sealed = self.spec.access == Access::Sealed;
        let folder = match (&self.spec.workspace, sealed) {
            (Some(workspace), false) => workspace.clone(),
            (_, true) | (None, false) => launch::folder(&self.spec.home, "empty").await?,
        };
        launch::folder(&self.spec.home, launch::HOOKED).await?;
        let launch = launch::launch(self, folder, sealed, size);
        let mut peer = Peer::start(&launch, &self.spec).await?;
        let mut reading = Reading::default();
        let read = read_turn(&mut peer, prompt, !sealed, &mut reading).await;
        let last_words = peer.last_words();
        // A program that is stopped while it writes its transcript would lose the turn.
        let ended = match &read {
            Ok(()) => peer.finish().await,
            Err(_) => {
                peer.end().await;
                Ok(())
            }
        };
        read.and(ended)?;
        let before = matches!(self.origin, Origin::Nothing);
        let had_turn = reading.spoke();
        if had_turn {
            self.origin = Origin::Own;
        }
        let outcome = reading.outcome(&last_words)?;
        if before && !had_turn {
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!("Claude Code ended without a turn: {last_words}"),
            ));
        }
        let summaries = launch::take_summaries(&self.spec.home).await?;
        let transcript = if outcome.compactions.is_empty() {
            None
        } else {
            self.transcript().await?
        };
        let put_back = transcript.as_deref().map(transcript::put_back);
        let (turn, events) = outcome.finish(summaries, put_back, begun.elapsed());
        for event in events {
            // Nobody listening is no reason to fail a turn.
            let _ = self.spec.events.send(event).await;
        }
        Ok(turn)
    }

    /// The transcript as it is on the disk; none before the first turn.
    async fn transcript(&self) -> Result<Option<Vec<u8>>, Failure> {
        match &self.origin {
            Origin::Nothing => Ok(None),
            Origin::Copy(path) => launch::read(path).await.map(Some),
            Origin::Own => {
                let path = launch::transcript_path(&self.spec.home, &self.id).await?;
                launch::read(&path).await.map(Some)
            }
        }
    }
}

/// Says the prompt and reads to the turn's result; then asks how full the context is, which costs
/// no request to the model.
async fn read_turn(
    peer: &mut Peer,
    prompt: &str,
    asks_usage: bool,
    reading: &mut Reading,
) -> Result<(), Failure> {
    peer.begin_turn();
    peer.write_line(stream::user_line(prompt).as_bytes())
        .await?;
    let mut asked = false;
    while let Some(line) = peer.next().await? {
        let events = reading.line(&line);
        peer.hand_on(events).await?;
        if reading.is_answered() {
            break;
        }
        if reading.has_result() {
            if asked || !asks_usage || reading.failed() {
                break;
            }
            asked = true;
            peer.write_line(stream::usage_request().as_bytes()).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl AgentSession for ClaudeSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.turn(text, Size::of(&self.spec)).await
    }

    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure> {
        match how {
            CompactionTrigger::Manual => self.turn("/compact", Size::Never).await,
            CompactionTrigger::Auto => self.turn(NEUTRAL, Size::AtOnce).await,
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let number = self.forks.fetch_add(1, Ordering::Relaxed);
        let home = self.spec.home.join("forks").join(number.to_string());
        launch::folder(&home, "").await?;
        let origin = match self.transcript().await? {
            Some(transcript) => Origin::Copy(launch::write_origin(&home, &transcript).await?),
            None => Origin::Nothing,
        };
        let workspace = match access {
            Access::Workspace => self.spec.workspace.clone(),
            Access::Sealed => None,
        };
        Ok(Box::new(Self {
            found: self.found.clone(),
            model: self.model.clone(),
            id: uuid::Uuid::new_v4().to_string(),
            origin,
            spec: SessionSpec {
                home,
                workspace,
                access,
                ..self.spec.clone()
            },
            is_fork: true,
            forks: AtomicU64::new(0),
        }))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone(),
            state: self.transcript().await?.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        if self.is_fork {
            remove(&self.spec.home).await;
        }
    }
}

async fn remove(home: &Path) {
    // What cannot be removed now goes with the run's folder.
    let _ = tokio::fs::remove_dir_all(home).await;
}

#[cfg(test)]
mod tests;
