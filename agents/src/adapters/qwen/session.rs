//! A conversation with Qwen Code.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::launch;
use super::session_file::{self, SessionChanges};
use super::stream::StreamReader;
use crate::adapter::{Access, AgentSession, Checkpoint, Stream, Turn};
use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::cli_adapter::{NEUTRAL_PROMPT, post_compact_hook};
use crate::adapters::prompt_text;
use crate::event::{CompactionTrigger, Usage};
use crate::failure::{Cause, Failure};
use crate::prices;
use crate::process;

/// Number of refusals of the provider that end a turn. The program repeats a request for minutes,
/// and reports it only in its session file.
const MAX_REFUSALS: usize = 4;
/// Interval at which the session file is checked during a turn.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A conversation with Qwen Code.
pub(super) struct QwenSession {
    cli: CliSession,
    id: String,
}

impl QwenSession {
    pub(super) fn new(cli: CliSession, id: uuid::Uuid) -> Self {
        Self {
            cli,
            id: id.to_string(),
        }
    }

    /// Replaces the session file. An empty state removes it.
    pub(super) async fn restore(&self, state: &[u8]) -> Result<(), Failure> {
        let folder = self.cli.working_folder().await?;
        session_file::restore(&self.cli.spec.home, &folder, &self.id, state).await
    }

    /// Returns the session file. It is empty before the first turn.
    async fn conversation(&self) -> Result<Vec<u8>, Failure> {
        let folder = self.cli.working_folder().await?;
        session_file::read(&self.cli.spec.home, &folder, &self.id).await
    }

    /// Runs a turn in a process of its own. If it fails, the session is restored to its state
    /// before the turn.
    async fn turn(
        &self,
        prompt: &str,
        size: CompactionSize,
        trigger: CompactionTrigger,
    ) -> Result<Turn, Failure> {
        let before = self.conversation().await?;
        let turn = self.try_turn(prompt, size, trigger, &before).await;
        if turn.is_err() {
            self.restore(&before).await?;
        }
        turn
    }

    async fn try_turn(
        &self,
        prompt: &str,
        size: CompactionSize,
        trigger: CompactionTrigger,
        before: &[u8],
    ) -> Result<Turn, Failure> {
        let started = Instant::now();
        let spec = &self.cli.spec;
        let folder = self.cli.working_folder().await?;
        launch::prepare(spec, size).await?;
        let resumes = !before.is_empty();
        let launch = launch::launch(&self.cli, &self.id, folder, prompt, resumes);
        spec.raw.line(Stream::Stdin, &launch.input);
        let mut reader = StreamReader::new(self.cli.is_sealed());
        let running = process::run(&launch, spec, |line| reader.line(line));
        let exit = tokio::select! {
            exit = running => exit,
            refusal = self.wait_for_refusals(before.len()) => Err(refusal),
        };
        let after = self.conversation().await?;
        let changes = SessionChanges::parse(after.get(before.len()..).unwrap_or_default());
        let exit = match exit {
            Ok(exit) => exit,
            Err(failure) if failure.cause == Cause::TimedOut => {
                return Err(changes.last_refusal().unwrap_or(failure));
            }
            Err(failure) => return Err(failure),
        };
        let raw_summaries = post_compact_hook::drain_summaries(&spec.home).await?;
        let mut turn = reader.outcome(&exit)?;
        if turn.turn().text.is_empty() && changes.has_no_response() {
            let message = "Qwen Code ended its turn without asking the model";
            return Err(Failure::new(Cause::AgentCrashed, message));
        }
        let (context, tokens) = (changes.context(), changes.tokens());
        for compaction in changes.compactions(trigger, raw_summaries) {
            turn.compacted(compaction);
        }
        if let Some(context) = context {
            turn.usage(Usage {
                context,
                window: None,
            });
        }
        let cost = tokens.and_then(|tokens| prices::cost(&self.cli.model, tokens));
        turn.billed(tokens, cost);
        self.cli.send_events(&mut turn).await?;
        Ok(turn.finish(started.elapsed()))
    }

    /// Waits until the provider has refused too often.
    async fn wait_for_refusals(&self, before: usize) -> Failure {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let Ok(now) = self.conversation().await else {
                continue;
            };
            let changes = SessionChanges::parse(now.get(before..).unwrap_or_default());
            if changes.refusals() >= MAX_REFUSALS
                && let Some(refusal) = changes.last_refusal()
            {
                return refusal;
            }
        }
    }
}

#[async_trait]
impl AgentSession for QwenSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        let prompt = prompt_text::escape(text, &self.cli.working_folder().await?);
        let size = CompactionSize::from_spec(&self.cli.spec);
        self.turn(&prompt, size, CompactionTrigger::Auto).await
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        let (prompt, size) = match trigger {
            CompactionTrigger::Manual => ("/compress", CompactionSize::Never),
            CompactionTrigger::Auto => (NEUTRAL_PROMPT, CompactionSize::AtOnce),
        };
        self.turn(prompt, size, trigger).await
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let fork = Self {
            cli: self.cli.fork(access),
            id: self.id.clone(),
        };
        fork.restore(&self.conversation().await?).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone(),
            state: self.conversation().await?,
        })
    }

    async fn close(self: Box<Self>) {
        self.cli.remove_fork().await;
    }
}
