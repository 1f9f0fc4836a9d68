//! A conversation with Claude Code.

use std::path::{Path, PathBuf};
use std::time::Instant;

use async_trait::async_trait;

use super::launch;
use super::stream::{self, StreamReader};
use super::transcript;
use crate::adapter::{Access, AgentSession, Checkpoint, Turn};
use crate::adapters::cli_adapter::compaction_size::CompactionSize;
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::cli_adapter::{NEUTRAL_PROMPT, files, post_compact_hook};
use crate::event::CompactionTrigger;
use crate::failure::{Cause, Failure};
use crate::process::InteractiveProcess;

/// The conversation that the next turn continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// None: it is the first turn.
    Nothing,
    /// The transcript of another session, which must not be written to.
    Copy(PathBuf),
    /// The session itself.
    Own,
}

impl Origin {
    /// Writes a transcript into a HOME for a session to continue. An empty transcript is no origin.
    pub(super) async fn from_transcript(home: &Path, transcript: &[u8]) -> Result<Self, Failure> {
        if transcript.is_empty() {
            return Ok(Self::Nothing);
        }
        // The program requires a name that is an id. It then chooses a new id itself.
        let name = format!("{}.jsonl", uuid::Uuid::new_v4());
        let path = home.join("origin").join(name);
        files::write(&path, transcript).await?;
        Ok(Self::Copy(path))
    }
}

/// A conversation with Claude Code.
pub(super) struct ClaudeSession {
    cli: CliSession,
    id: String,
    origin: Origin,
}

impl ClaudeSession {
    pub(super) fn new(cli: CliSession, origin: Origin) -> Self {
        Self {
            cli,
            id: uuid::Uuid::new_v4().to_string(),
            origin,
        }
    }

    /// Runs one turn in a process of its own.
    async fn turn(&mut self, prompt: &str, size: CompactionSize) -> Result<Turn, Failure> {
        let started = Instant::now();
        let home = &self.cli.spec.home;
        let folder = self.cli.working_folder().await?;
        post_compact_hook::create_summary_folder(home).await?;
        let conversation = match &self.origin {
            Origin::Nothing => launch::start(&self.id),
            Origin::Own => launch::resume(&self.id),
            Origin::Copy(path) => launch::copy(path, &self.id),
        };
        let launch = launch::launch(&self.cli, conversation, folder, size);
        let mut process = InteractiveProcess::start(&launch, &self.cli.spec).await?;
        let mut reader = StreamReader::default();
        let asks_usage = !self.cli.is_sealed();
        let read = read_turn(&mut process, prompt, asks_usage, &mut reader).await;
        let stderr = process.stderr_tail();
        // Stopping a program while it writes its transcript would lose the turn.
        let exit = match &read {
            Ok(()) => process.finish().await,
            Err(_) => {
                process.terminate().await;
                Ok(())
            }
        };
        read.and(exit)?;
        let is_first = matches!(self.origin, Origin::Nothing);
        let had_turn = reader.had_conversation();
        if had_turn {
            self.origin = Origin::Own;
        }
        let outcome = reader.outcome(&stderr)?;
        if is_first && !had_turn {
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!("Claude Code exited without a turn: {stderr}"),
            ));
        }
        let home = &self.cli.spec.home;
        let summaries = post_compact_hook::drain_summaries(home).await?;
        let transcript = if outcome.compactions.is_empty() {
            None
        } else {
            self.transcript().await?
        };
        let reinjected = transcript.as_deref().map(transcript::reinjected);
        let mut turn = outcome.complete(summaries, reinjected);
        self.cli.send_events(&mut turn).await?;
        Ok(turn.finish(started.elapsed()))
    }

    /// Reads the transcript from disk. Returns `None` before the first turn.
    async fn transcript(&self) -> Result<Option<Vec<u8>>, Failure> {
        match &self.origin {
            Origin::Nothing => Ok(None),
            Origin::Copy(path) => files::read(path).await.map(Some),
            Origin::Own => {
                let path = transcript_path(&self.cli.spec.home, &self.id).await?;
                files::read(&path).await.map(Some)
            }
        }
    }
}

#[async_trait]
impl AgentSession for ClaudeSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.turn(text, CompactionSize::from_spec(&self.cli.spec))
            .await
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        match trigger {
            CompactionTrigger::Manual => self.turn("/compact", CompactionSize::Never).await,
            CompactionTrigger::Auto => self.turn(NEUTRAL_PROMPT, CompactionSize::AtOnce).await,
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let cli = self.cli.fork(access);
        files::create_folder(cli.spec.home.clone()).await?;
        let transcript = self.transcript().await?.unwrap_or_default();
        let origin = Origin::from_transcript(&cli.spec.home, &transcript).await?;
        Ok(Box::new(Self::new(cli, origin)))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone(),
            state: self.transcript().await?.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        self.cli.remove_fork().await;
    }
}

/// Sends the prompt and reads up to the result of the turn. Then asks for the size of the context,
/// which costs no request to the model.
async fn read_turn(
    process: &mut InteractiveProcess,
    prompt: &str,
    asks_usage: bool,
    reader: &mut StreamReader,
) -> Result<(), Failure> {
    process.begin_turn();
    process
        .write_line(stream::user_line(prompt).as_bytes())
        .await?;
    let mut asked = false;
    while let Some(line) = process.next().await? {
        let events = reader.line(&line);
        process.send_events(events).await?;
        if reader.has_usage() {
            break;
        }
        if reader.has_result() {
            if asked || !asks_usage || reader.failed() {
                break;
            }
            asked = true;
            process
                .write_line(stream::usage_request().as_bytes())
                .await?;
        }
    }
    Ok(())
}

/// Finds the transcript of a session. The program stores it in a folder that it names after its
/// working folder by a rule of its own.
async fn transcript_path(home: &Path, id: &str) -> Result<PathBuf, Failure> {
    let projects = home.join(".claude").join("projects");
    let name = format!("{id}.jsonl");
    for folder in files::entries(&projects).await? {
        let path = folder.join(&name);
        if path.exists() {
            return Ok(path);
        }
    }
    Err(Failure::harness(format!(
        "Claude Code left no transcript of session {id} in {}",
        projects.display()
    )))
}
