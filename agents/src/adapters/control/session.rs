//! A conversation with a control agent.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use async_trait::async_trait;

use super::stream::StreamReader;
use crate::adapter::{Access, AgentSession, Checkpoint, SessionSpec, Stream, Turn};
use crate::adapters::cli_adapter::files;
use crate::adapters::cli_adapter::session::CliSession;
use crate::control::program::{SESSIONS, run_turn};
use crate::control::{ControlProgram, KEY_FILE};
use crate::event::CompactionTrigger;
use crate::failure::Failure;
use crate::process::{self, Line};
use crate::program::InstalledProgram;

/// Default size of a control's window, in tokens.
const DEFAULT_WINDOW: u64 = 32_000;

/// A conversation with a control agent.
pub(super) struct ControlSession {
    cli: CliSession,
    agent: String,
    program: ControlProgram,
    session: String,
}

impl ControlSession {
    pub(super) fn new(
        agent: String,
        program: ControlProgram,
        session: String,
        spec: SessionSpec,
    ) -> Self {
        let installed = InstalledProgram {
            path: program.path.clone(),
            folders: vec![program.path.clone()],
            search_path: OsString::new(),
        };
        Self {
            cli: CliSession::new(installed, String::new(), spec),
            agent,
            program,
            session,
        }
    }

    /// Writes the session file of a checkpoint.
    pub(super) async fn restore(&self, state: &[u8]) -> Result<(), Failure> {
        if state.is_empty() {
            return Ok(());
        }
        files::write(&self.session_file(), state).await
    }

    async fn turn(&self, prompt: &[u8], compact: bool) -> Result<Turn, Failure> {
        let started = Instant::now();
        let folder = self.cli.working_folder().await?;
        if self.program.in_process {
            return self.turn_in_process(folder, prompt, compact).await;
        }
        let spec = &self.cli.spec;
        let args = self.args(compact);
        let launch = self
            .cli
            .launch(args, folder, spec.environment.clone(), prompt.to_vec());
        spec.raw.line(Stream::Stdin, prompt);
        let mut reader = StreamReader::default();
        let exit = process::run(&launch, spec, |line| reader.line(line)).await?;
        reader.finish(&exit, started.elapsed())
    }

    /// Runs a turn without a process.
    async fn turn_in_process(
        &self,
        folder: PathBuf,
        prompt: &[u8],
        compact: bool,
    ) -> Result<Turn, Failure> {
        let started = Instant::now();
        let args: Vec<String> = self
            .args(compact)
            .into_iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let home = self.cli.spec.home.clone();
        let prompt = String::from_utf8_lossy(prompt).into_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut output = Vec::new();
            run_turn(&args, Some(home), &folder, || Ok(prompt), &mut output);
            output
        })
        .await
        .map_err(|error| Failure::harness(format!("the control agent panicked: {error}")))?;
        let mut reader = StreamReader::default();
        for bytes in output
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            self.cli.spec.raw.line(Stream::Stdout, bytes);
            let line = Line {
                bytes: bytes.to_vec(),
                whole_length: bytes.len() as u64,
                cut: false,
            };
            for event in reader.line(&line)? {
                // A closed receiver does not fail a turn.
                let _ = self.cli.spec.events.send(event).await;
            }
        }
        reader.finish_in_process(started.elapsed())
    }

    fn args(&self, compact: bool) -> Vec<OsString> {
        let spec = &self.cli.spec;
        let window = spec.context_tokens.unwrap_or(DEFAULT_WINDOW);
        let mut args = self.program.args.clone();
        let mut option = |name: &str, value: String| {
            args.push(name.into());
            args.push(value.into());
        };
        option("--behaviour", self.agent.clone());
        option("--session", self.session.clone());
        option("--window", window.to_string());
        option("--seed", spec.seed.to_string());
        if self.cli.is_sealed() {
            args.push("--sealed".into());
        }
        if compact {
            args.push("--compact".into());
        }
        if self.cli.is_fork() && self.cli.is_sealed() {
            // A sealed fork answers one question and is then discarded.
            args.push("--no-persist".into());
        }
        args
    }

    fn session_file(&self) -> PathBuf {
        let name = format!("{}.json", self.session);
        self.cli.spec.home.join(SESSIONS).join(name)
    }
}

#[async_trait]
impl AgentSession for ControlSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.turn(text.as_bytes(), false).await
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        match trigger {
            CompactionTrigger::Manual => self.turn(b"", true).await,
            CompactionTrigger::Auto => Err(Failure::harness(
                "a control agent cannot lower its compaction threshold",
            )),
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let fork = Self {
            cli: self.cli.fork(access),
            agent: self.agent.clone(),
            program: self.program.clone(),
            session: self.session.clone(),
        };
        let (home, fork_home) = (&self.cli.spec.home, &fork.cli.spec.home);
        files::create_folder(fork_home.join(SESSIONS)).await?;
        // Links instead of copies: a session file is never changed, only replaced by a new one.
        link(&home.join(KEY_FILE), &fork_home.join(KEY_FILE)).await?;
        link(&self.session_file(), &fork.session_file()).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        // A session without a turn has no file.
        let state = files::read_if_exists(&self.session_file()).await?;
        Ok(Checkpoint {
            session_id: self.session.clone(),
            state: state.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        self.cli.remove_fork().await;
    }
}

/// Links a file that may not exist.
async fn link(from: &Path, to: &Path) -> Result<(), Failure> {
    match tokio::fs::hard_link(from, to).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(files::could_not("link", from)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
