//! A conversation with Codex, one process per turn.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::catalogue::Catalogue;
use super::launch::{self, KEY};
use super::stream::StreamReader;
use super::{home, rollout, server};
use crate::adapter::{Access, AgentSession, Checkpoint, Stream, Turn};
use crate::adapters::cli_adapter::NEUTRAL_PROMPT;
use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::cli_adapter::turn_fault::{TurnFault, compaction_turn};
use crate::event::{CompactionTrigger, Usage};
use crate::failure::{Cause, Failure};
use crate::prices;
use crate::process;
use crate::turn_builder::TurnBuilder;

/// Purpose of a turn.
#[derive(Clone, Copy, Debug)]
enum Request<'a> {
    Prompt(&'a str, CompactionSize),
    /// The program's own compact command.
    Compaction,
}

/// A conversation with Codex.
pub(super) struct CodexSession {
    cli: CliSession,
    /// A UUID in its usual form, which the program chose. `None` before the first turn.
    id: Option<String>,
    /// `None` before the first turn.
    catalogue: Option<Arc<Catalogue>>,
}

impl CodexSession {
    pub(super) fn new(cli: CliSession) -> Self {
        Self {
            cli,
            id: None,
            catalogue: None,
        }
    }

    /// Continues from a checkpoint in a fresh HOME.
    pub(super) async fn restore(cli: CliSession, checkpoint: &Checkpoint) -> Result<Self, Failure> {
        let mut session = Self::new(cli);
        if checkpoint.state.is_empty() {
            return Ok(session);
        }
        session.id = Some(checkpoint.uuid("Codex")?.to_string());
        session.restore_rollout(Some(&checkpoint.state)).await?;
        Ok(session)
    }

    /// Returns the conversation. Returns `None` before the first turn.
    async fn rollout(&self) -> Result<Option<Vec<u8>>, Failure> {
        match &self.id {
            Some(id) => home::read_rollout(&self.cli.spec.home, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Replaces the conversation on disk.
    async fn restore_rollout(&self, rollout: Option<&[u8]>) -> Result<(), Failure> {
        let rollout = self.id.as_deref().zip(rollout);
        home::restore_rollout(&self.cli.spec.home, rollout).await
    }

    /// Runs a turn. If it fails, the conversation is restored to its state before the turn.
    async fn turn(&mut self, request: Request<'_>) -> Result<Turn, TurnFault> {
        let previous_id = self.id.clone();
        let before = self.rollout().await?;
        let turn = self.try_turn(request, before.as_deref()).await;
        if turn.is_err() {
            self.id = previous_id;
            if let Err(failure) = self.restore_rollout(before.as_deref()).await {
                tracing::warn!(error = %failure, "could not restore a conversation of Codex");
            }
        }
        turn.map_err(|fault| self.redact_key(fault))
    }

    async fn try_turn(
        &mut self,
        request: Request<'_>,
        before: Option<&[u8]>,
    ) -> Result<Turn, TurnFault> {
        let started = Instant::now();
        let (mut turn, trigger, ran_commands) = match request {
            Request::Prompt(prompt, size) => {
                let reader = self.run_prompt(prompt, size).await?;
                let ran_commands = reader.ran_commands();
                (reader.turn, CompactionTrigger::Auto, ran_commands)
            }
            Request::Compaction => (
                self.run_compaction().await?,
                CompactionTrigger::Manual,
                true,
            ),
        };
        let after = self.rollout().await?.unwrap_or_default();
        let changes = rollout::changes(before.unwrap_or_default(), &after, trigger)
            .ok_or_else(|| crashed("Codex rewrote earlier lines of the conversation"))?;
        if let Some(result) = changes.failed_command.filter(|_| !ran_commands) {
            let last = result.lines().last().unwrap_or_default();
            return Err(Failure::harness(format!(
                "Codex's own sandbox does not work on this machine, so commands cannot read \
                 files: {last}"
            ))
            .into());
        }
        for compaction in changes.compactions {
            turn.compacted(compaction);
        }
        if let Some(context) = changes.context {
            turn.usage(Usage {
                context,
                window: self.catalogue.as_ref().and_then(|known| known.window),
            });
        }
        let cost = changes
            .billed
            .and_then(|tokens| prices::cost(&self.cli.model, tokens));
        turn.billed(changes.billed, cost);
        self.cli.send_events(&mut turn).await?;
        Ok(turn.finish(started.elapsed()))
    }

    async fn run_prompt(
        &mut self,
        prompt: &str,
        size: CompactionSize,
    ) -> Result<StreamReader, TurnFault> {
        if prompt.trim().is_empty() {
            return Err(Failure::harness("Codex does not accept an empty prompt").into());
        }
        let catalogue = self.catalogue().await?;
        let folder = launch::prepare(&self.cli, &catalogue, size).await?;
        let launch = launch::exec(&self.cli, self.id.as_deref(), folder, prompt);
        self.cli.spec.raw.line(Stream::Stdin, &launch.input);
        let mut reader = StreamReader::default();
        let exit = process::run(&launch, &self.cli.spec, |line| Ok(reader.line(line))).await?;
        if let Some(fault) = reader.fault(&exit) {
            return Err(fault);
        }
        self.adopt_thread(reader.thread.as_deref()).await?;
        Ok(reader)
    }

    /// Runs the program's compact command. The rollout shows whether it compacted.
    async fn run_compaction(&mut self) -> Result<TurnBuilder, TurnFault> {
        let Some(id) = self.id.clone() else {
            let mut turn = TurnBuilder::default();
            turn.error("there is nothing to compact yet");
            return Ok(turn);
        };
        let catalogue = self.catalogue().await?;
        let folder = launch::prepare(&self.cli, &catalogue, CompactionSize::Never).await?;
        server::compact(&self.cli, &id, folder).await
    }

    async fn catalogue(&mut self) -> Result<Arc<Catalogue>, Failure> {
        if let Some(catalogue) = &self.catalogue {
            return Ok(Arc::clone(catalogue));
        }
        let catalogue = Arc::new(launch::print_catalogue(&self.cli).await?);
        self.catalogue = Some(Arc::clone(&catalogue));
        Ok(catalogue)
    }

    /// Makes the conversation of a turn the conversation of this session.
    async fn adopt_thread(&mut self, thread: Option<&str>) -> Result<(), Failure> {
        let thread = thread
            .and_then(home::thread_id)
            .ok_or_else(|| crashed("Codex reported no id of the conversation"))?;
        match &self.id {
            None => {
                home::collect_rollout(&self.cli.spec.home, &thread).await?;
                self.id = Some(thread);
                Ok(())
            }
            Some(id) if *id == thread => Ok(()),
            Some(_) => Err(crashed("Codex continued another conversation")),
        }
    }

    /// Removes the key from a message. Providers quote a key that they refuse.
    fn redact_key(&self, mut fault: TurnFault) -> TurnFault {
        let key = self.cli.spec.environment.get(KEY);
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            fault.failure.message = fault.failure.message.replace(key.as_str(), "(key)");
        }
        fault
    }
}

#[async_trait]
impl AgentSession for CodexSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        let size = CompactionSize::from_spec(&self.cli.spec);
        let turn = self.turn(Request::Prompt(text, size)).await;
        turn.map_err(|fault| fault.failure)
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        let started = Instant::now();
        let request = match trigger {
            CompactionTrigger::Manual => Request::Compaction,
            CompactionTrigger::Auto => Request::Prompt(NEUTRAL_PROMPT, CompactionSize::AtOnce),
        };
        let turn = self.turn(request).await;
        compaction_turn(&self.cli, turn, started).await
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let fork = Self {
            cli: self.cli.fork(access),
            id: self.id.clone(),
            catalogue: self.catalogue.clone(),
        };
        fork.restore_rollout(self.rollout().await?.as_deref())
            .await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone().unwrap_or_default(),
            // A session without a turn has no rollout.
            state: self.rollout().await?.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        self.cli.remove_fork().await;
    }
}

fn crashed(message: &str) -> Failure {
    Failure::new(Cause::AgentCrashed, message)
}
