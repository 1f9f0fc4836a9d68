//! A conversation with Gemini CLI, one process per turn.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use async_trait::async_trait;
use tokio::fs;
use tokio::io::AsyncReadExt;

use super::faults;
use super::session_file::{self, AppliedCompression};
use super::settings::{self, Compression};
use super::stream::StreamReader;
use super::telemetry::Telemetry;
use crate::adapter::{Access, AgentSession, Checkpoint, Stream, Turn};
use crate::adapters::cli_adapter::files;
use crate::adapters::cli_adapter::session::CliSession;
use crate::adapters::cli_adapter::turn_fault::{TurnFault, compaction_turn};
use crate::adapters::prompt_text;
use crate::event::{Compaction, CompactionTrigger, Proof, Reinjected, Usage};
use crate::failure::{Cause, Failure};
use crate::process;
use crate::turn_builder::TurnBuilder;

/// Prompt of a turn that exists only so that a compression can happen before it.
const NOTHING_TO_DO: &str = "There is nothing to do in this turn. Answer with one word: ready.";
/// Size of the standard input that the program reads. It would cut off the rest.
const MAX_PROMPT_BYTES: usize = 8 << 20;
/// Time in the names of our session files. The program itself never writes it.
const FILE_TIME: &str = "1970-01-01T00-00";

/// A conversation with Gemini CLI.
pub(super) struct GeminiSession {
    cli: CliSession,
    /// A UUID in its usual form.
    id: String,
    turns: u64,
}

impl GeminiSession {
    /// Begins a session. `file` is the conversation to continue.
    pub(super) async fn begin(
        cli: CliSession,
        id: uuid::Uuid,
        file: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let session = Self {
            cli,
            id: id.to_string(),
            turns: 0,
        };
        session.restore(file).await?;
        Ok(session)
    }

    /// Runs a turn. If it fails, the session is restored to its state before the turn.
    async fn turn(&mut self, prompt: &str, compression: Compression) -> Result<Turn, TurnFault> {
        let before = self.conversation().await?;
        let turn = self.try_turn(prompt, compression, before.as_deref()).await;
        if turn.is_err()
            && let Err(failure) = self.restore(before.as_deref()).await
        {
            tracing::warn!(error = %failure, "could not restore a session of Gemini CLI");
        }
        turn
    }

    async fn try_turn(
        &mut self,
        prompt: &str,
        compression: Compression,
        before: Option<&[u8]>,
    ) -> Result<Turn, TurnFault> {
        let started = Instant::now();
        // The program identifies a project by the real path.
        let folder = files::real_path(&self.cli.working_folder().await?).await?;
        let input = prompt_text::escape(prompt, &folder).into_bytes();
        if input.is_empty() || input.len() > MAX_PROMPT_BYTES {
            return Err(Failure::harness(format!(
                "Gemini CLI does not accept a prompt of {} bytes: it must have 1 to \
                 {MAX_PROMPT_BYTES}",
                input.len()
            ))
            .into());
        }
        self.turns += 1;
        let telemetry_file = self.in_home(&format!("telemetry-{}.json", self.turns));
        self.write_settings(&folder, compression, &telemetry_file)
            .await?;
        let environment = settings::environment(self.cli.environment());
        let args = self.args(before.is_some());
        let launch = self.cli.launch(args, folder, environment, input);
        self.cli.spec.raw.line(Stream::Stdin, &launch.input);
        let mut reader = StreamReader::default();
        let exit = process::run(&launch, &self.cli.spec, |line| reader.line(line)).await;
        let telemetry = self.read_and_remove(&telemetry_file).await;
        self.remove_error_reports().await;
        if let Some(fault) = faults::fault(&reader, &exit?) {
            return Err(fault);
        }
        self.collect_file().await?;
        let after = self.conversation().await?.unwrap_or_default();
        let mut turn = reader.turn;
        let telemetry = telemetry
            .as_deref()
            .map(Telemetry::parse)
            .unwrap_or_default();
        if telemetry.requests.is_empty() {
            turn.error("Gemini CLI wrote no telemetry: the token counts are unknown");
        }
        for retry in &telemetry.retries {
            turn.retry(retry.attempt, &retry.why);
        }
        let applied = session_file::applied(before.unwrap_or_default(), &after);
        if let Some(normalized) = session_file::normalized(&after) {
            files::write(&self.file_path(), &normalized).await?;
        }
        record_compactions(&mut turn, &telemetry, applied);
        if let Some(context) = telemetry.context() {
            turn.usage(Usage {
                context,
                window: Some(settings::window(&self.cli.model)),
            });
        }
        let tokens = telemetry.billed(reader.outcome.and_then(|outcome| outcome.stats));
        let cost = tokens.and_then(|_| telemetry.cost());
        turn.billed(tokens, cost);
        self.cli.send_events(&mut turn).await?;
        if turn.turn().text.is_empty() && telemetry.context().is_none() {
            let message = "Gemini CLI ended its turn without asking the model";
            return Err(Failure::new(Cause::AgentCrashed, message).into());
        }
        Ok(turn.finish(started.elapsed()))
    }

    fn args(&self, resumes: bool) -> Vec<OsString> {
        let session = if resumes { "--resume" } else { "--session-id" };
        [
            "--output-format",
            "stream-json",
            "--model",
            &self.cli.model,
            session,
            &self.id,
        ]
        .map(OsString::from)
        .to_vec()
    }

    async fn write_settings(
        &self,
        folder: &Path,
        compression: Compression,
        telemetry_file: &Path,
    ) -> Result<(), Failure> {
        let settings =
            settings::settings(&self.cli.spec, &self.cli.model, compression, telemetry_file);
        let projects = settings::projects(folder)?;
        for (name, content) in [("settings.json", settings), ("projects.json", projects)] {
            let path = self.in_home(".gemini").join(name);
            files::write(&path, content.to_string().as_bytes()).await?;
        }
        Ok(())
    }

    fn in_home(&self, name: &str) -> PathBuf {
        self.cli.spec.home.join(name)
    }

    /// Returns the end of the names of this session's files.
    fn file_suffix(&self) -> String {
        format!("-{}.jsonl", self.id.chars().take(8).collect::<String>())
    }

    fn file_path(&self) -> PathBuf {
        let name = format!("session-{FILE_TIME}{}", self.file_suffix());
        settings::chats(&self.cli.spec.home).join(name)
    }

    /// Returns the session's file. Returns `None` before the first turn.
    async fn conversation(&self) -> Result<Option<Vec<u8>>, Failure> {
        files::read_if_exists(&self.file_path()).await
    }

    /// Replaces the session on disk.
    async fn restore(&self, file: Option<&[u8]>) -> Result<(), Failure> {
        for path in self.files().await? {
            files::remove(&path).await?;
        }
        match file {
            Some(file) => files::write(&self.file_path(), file).await,
            None => Ok(()),
        }
    }

    /// Returns all files in which the program would look for this session.
    async fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let suffix = self.file_suffix();
        let mut files = files::entries(&settings::chats(&self.cli.spec.home)).await?;
        files.retain(|path| {
            let name = files::name_of(path);
            name.starts_with("session-") && name.ends_with(&suffix)
        });
        Ok(files)
    }

    /// Renames the file that contains the conversation to our name, and removes the others.
    async fn collect_file(&self) -> Result<(), Failure> {
        let target = self.file_path();
        let files = self.files().await?;
        for path in files.into_iter().filter(|path| *path != target) {
            let file = files::read(&path).await?;
            if session_file::has_conversation(&file) && !target.exists() {
                files::rename(&path, &target).await?;
            } else {
                files::remove(&path).await?;
            }
        }
        if target.exists() {
            Ok(())
        } else {
            Err(Failure::new(
                Cause::AgentCrashed,
                "Gemini CLI did not store the session",
            ))
        }
    }

    /// Reads and removes the telemetry of a turn. Returns `None` if it cannot be read or is longer
    /// than the output of a turn may be.
    async fn read_and_remove(&self, telemetry: &Path) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = self.cli.spec.limits.output_bytes;
        let read = match fs::File::open(telemetry).await {
            Ok(file) => file.take(limit).read_to_end(&mut bytes).await.is_ok(),
            Err(_) => false,
        };
        // Files that cannot be removed now are removed with the run's folder.
        let _ = fs::remove_file(telemetry).await;
        read.then_some(bytes)
    }

    /// Removes the program's error reports, which contain the conversation.
    async fn remove_error_reports(&self) {
        for path in files::entries(&self.cli.spec.home)
            .await
            .unwrap_or_default()
        {
            if files::name_of(&path).starts_with("gemini-client-error-") {
                // Files that cannot be removed now are removed with the run's folder.
                let _ = fs::remove_file(path).await;
            }
        }
    }
}

#[async_trait]
impl AgentSession for GeminiSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        let turn = self.turn(text, Compression::WhenFull).await;
        turn.map_err(|fault| fault.failure)
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        match trigger {
            CompactionTrigger::Manual => Err(Failure::harness(
                "Gemini CLI has no compact command that works without a terminal",
            )),
            CompactionTrigger::Auto => {
                let started = Instant::now();
                let turn = self.turn(NOTHING_TO_DO, Compression::Now).await;
                compaction_turn(&self.cli, turn, started).await
            }
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let fork = Self {
            cli: self.cli.fork(access),
            id: self.id.clone(),
            turns: 0,
        };
        fork.restore(self.conversation().await?.as_deref()).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        Ok(Checkpoint {
            session_id: self.id.clone(),
            // A session without a turn has no file.
            state: self.conversation().await?.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        self.cli.remove_fork().await;
    }
}

/// Records the compactions that both the telemetry and the session file show. Reports an error for
/// each that only one of them shows.
pub(super) fn record_compactions(
    turn: &mut TurnBuilder,
    telemetry: &Telemetry,
    applied: Vec<AppliedCompression>,
) {
    let reductions = telemetry.reductions();
    for _ in applied.len()..reductions.len() {
        turn.error("no break: the telemetry shows a compression, the session file shows none");
    }
    for _ in reductions.len()..applied.len() {
        turn.error("no break: the session file shows a compression, the telemetry shows none");
    }
    for (reduction, applied) in reductions.into_iter().zip(applied) {
        let tail = (!applied.tail.is_empty()).then(|| Reinjected::tail(&[applied.tail]));
        turn.compacted(Compaction {
            trigger: CompactionTrigger::Auto,
            tokens_before: Some(reduction.before),
            tokens_after: Some(reduction.after),
            summary: Some(applied.summary),
            proof: Proof::Reported,
            reinjected: tail.flatten().into_iter().collect(),
        });
    }
}
