//! The control agents' adapter: one process for each turn, JSON lines, a session file in HOME.
//!
//! Nothing is different from a real tool but the program: see [`crate::control`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Stream, Turn,
};
use crate::control::program::SESSIONS;
use crate::control::program::run_turn;
use crate::control::{Behaviour, ControlProgram, KEY_FILE, WireEvent};
use crate::event::{AgentEvent, Compaction, CompactionTrigger, Proof, ToolCall, Usage};
use crate::failure::{Cause, Failure};
use crate::gathering::Gathering;
use crate::process::{self, Launch, Line};

/// What a control's window is where nobody says.
const DEFAULT_WINDOW: u64 = 32_000;

/// A control agent.
pub(super) struct ControlAdapter {
    profile: Profile,
    /// The agent's name with its parameter.
    agent: String,
    program: ControlProgram,
    presence: OnceCell<Presence>,
}

impl ControlAdapter {
    pub(super) fn new(
        agent: &str,
        display_name: &str,
        program: ControlProgram,
    ) -> Result<Self, String> {
        Behaviour::of_agent(agent)?;
        Ok(Self {
            profile: Profile {
                name: super::family(agent).to_owned(),
                display_name: display_name.to_owned(),
                capabilities: Capabilities {
                    fork: true,
                    manual_compaction: true,
                    auto_compaction: true,
                    resume: true,
                    usage: true,
                    tools_off: true,
                    forced_compaction: false,
                },
                install_hint: "built in".to_owned(),
                control: true,
                environment: Vec::new(),
                default_model: None,
            },
            agent: agent.to_owned(),
            program,
            presence: OnceCell::new(),
        })
    }

    fn session(&self, spec: SessionSpec) -> ControlSession {
        ControlSession {
            agent: self.agent.clone(),
            program: self.program.clone(),
            session: uuid::Uuid::now_v7().to_string(),
            is_fork: false,
            spec,
            forks: AtomicU64::new(0),
        }
    }

    async fn ask_version(&self) -> Presence {
        if self.program.in_process {
            return Presence::Installed {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                program: "this process".to_owned(),
            };
        }
        let (program, mut args) = (self.program.path.clone(), self.program.args.clone());
        args.push("--version".into());
        let missing = |why: String| Presence::Missing {
            why,
            fix: "build the project again, or set CONTROL_BIN to membreak-control".to_owned(),
        };
        let asked = tokio::process::Command::new(&program)
            .args(&args)
            .env_clear()
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(std::time::Duration::from_secs(10), asked).await {
            Ok(Ok(output)) if output.status.success() => Presence::Installed {
                version: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
                program: program.display().to_string(),
            },
            Ok(Ok(output)) => missing(format!(
                "{} ended with {}",
                program.display(),
                output.status
            )),
            Ok(Err(error)) => missing(format!("{} cannot be started: {error}", program.display())),
            Err(_) => missing(format!("{} does not answer", program.display())),
        }
    }
}

#[async_trait]
impl AgentAdapter for ControlAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        Self::new(agent, &self.profile.display_name, self.program.clone())
            .map(|adapter| Arc::new(adapter) as Arc<dyn AgentAdapter>)
            .map_err(Failure::harness)
    }

    async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| self.ask_version())
            .await
            .clone()
    }

    fn endpoint_environment(&self, _: &Endpoint) -> Option<BTreeMap<String, String>> {
        None
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(Box::new(self.session(spec)))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let mut session = self.session(spec);
        session.session.clone_from(&checkpoint.session_id);
        write_session(&session.spec.home, &session.session, &checkpoint.state).await?;
        Ok(Box::new(session))
    }
}

/// A conversation with a control agent.
struct ControlSession {
    agent: String,
    program: ControlProgram,
    session: String,
    is_fork: bool,
    spec: SessionSpec,
    forks: AtomicU64,
}

impl ControlSession {
    async fn turn(&self, prompt: &[u8], compact: bool) -> Result<Turn, Failure> {
        let begun = Instant::now();
        let sealed = self.spec.access == Access::Sealed;
        // A sealed process is not even told where the workspace is.
        let folder = match (&self.spec.workspace, sealed) {
            (Some(workspace), false) => workspace.clone(),
            (_, true) | (None, false) => self.empty_folder().await?,
        };
        if self.program.in_process {
            return self.turn_here(folder, prompt, compact).await;
        }
        let launch = Launch {
            program: self.program.path.clone(),
            args: self.args(sealed, compact),
            folder,
            needs: vec![self.program.path.clone()],
            home: self.spec.home.clone(),
            environment: self.spec.environment.clone(),
            input: prompt.to_vec(),
        };
        self.spec.raw.line(Stream::Stdin, prompt);
        let mut reading = Reading::default();
        let ended = process::run(&launch, &self.spec, |line| reading.line(line)).await?;
        reading.finish(&ended, begun.elapsed())
    }

    /// The same without a process.
    async fn turn_here(
        &self,
        folder: PathBuf,
        prompt: &[u8],
        compact: bool,
    ) -> Result<Turn, Failure> {
        let begun = Instant::now();
        let sealed = self.spec.access == Access::Sealed;
        let args: Vec<String> = self
            .args(sealed, compact)
            .into_iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let home = self.spec.home.clone();
        let prompt = String::from_utf8_lossy(prompt).into_owned();
        let told = tokio::task::spawn_blocking(move || {
            let mut out = Vec::new();
            run_turn(&args, Some(home), &folder, || Ok(prompt), &mut out);
            out
        })
        .await
        .map_err(|error| Failure::harness(format!("the control agent broke: {error}")))?;
        let mut reading = Reading::default();
        for bytes in told
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            self.spec.raw.line(Stream::Stdout, bytes);
            let line = Line {
                bytes: bytes.to_vec(),
                whole_length: bytes.len() as u64,
                cut: false,
            };
            for event in reading.line(&line)? {
                // A reader that is gone needs no events.
                let _ = self.spec.events.send(event).await;
            }
        }
        match reading.ended {
            Some((false, _)) => Ok(reading.gathering.finish(begun.elapsed())),
            Some((true, message)) => Err(Failure::new(
                Cause::AgentCrashed,
                message.unwrap_or_default(),
            )),
            None => Err(Failure::harness("the control agent broke off")),
        }
    }

    fn args(&self, sealed: bool, compact: bool) -> Vec<OsString> {
        let window = self.spec.context_tokens.unwrap_or(DEFAULT_WINDOW);
        let mut args = self.program.args.clone();
        let mut option = |name: &str, value: String| {
            args.push(name.into());
            args.push(value.into());
        };
        option("--behaviour", self.agent.clone());
        option("--session", self.session.clone());
        option("--window", window.to_string());
        option("--seed", self.spec.seed.to_string());
        if sealed {
            args.push("--sealed".into());
        }
        if compact {
            args.push("--compact".into());
        }
        if self.is_fork && sealed {
            // A sealed fork answers one question and is thrown away.
            args.push("--no-persist".into());
        }
        args
    }

    async fn empty_folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.spec.home.join("empty");
        create(&folder).await?;
        Ok(folder)
    }

    fn session_file(&self) -> PathBuf {
        session_file(&self.spec.home, &self.session)
    }
}

#[async_trait]
impl AgentSession for ControlSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.turn(text.as_bytes(), false).await
    }

    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure> {
        match how {
            CompactionTrigger::Manual => self.turn(b"", true).await,
            CompactionTrigger::Auto => Err(Failure::harness(
                "a control agent's threshold cannot be lowered",
            )),
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let number = self.forks.fetch_add(1, Ordering::Relaxed);
        let home = self.spec.home.join("forks").join(number.to_string());
        create(&home.join(SESSIONS)).await?;
        // Links, not copies: a session file is never changed, only replaced by a new one.
        link(&self.spec.home.join(KEY_FILE), &home.join(KEY_FILE)).await?;
        link(&self.session_file(), &session_file(&home, &self.session)).await?;
        let workspace = match access {
            Access::Workspace => self.spec.workspace.clone(),
            Access::Sealed => None,
        };
        let spec = SessionSpec {
            home,
            workspace,
            access,
            ..self.spec.clone()
        };
        Ok(Box::new(Self {
            agent: self.agent.clone(),
            program: self.program.clone(),
            session: self.session.clone(),
            is_fork: true,
            spec,
            forks: AtomicU64::new(0),
        }))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        let state = match tokio::fs::read(self.session_file()).await {
            Ok(state) => state,
            // A session that never had a turn.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(Failure::harness(format!(
                    "the session cannot be read: {error}"
                )));
            }
        };
        Ok(Checkpoint {
            session_id: self.session.clone(),
            state,
        })
    }

    async fn close(self: Box<Self>) {
        if self.is_fork {
            // What cannot be removed now goes with the run's folder.
            let _ = tokio::fs::remove_dir_all(&self.spec.home).await;
        }
    }
}

fn session_file(home: &Path, session: &str) -> PathBuf {
    home.join(SESSIONS).join(format!("{session}.json"))
}

async fn write_session(home: &Path, session: &str, state: &[u8]) -> Result<(), Failure> {
    create(&home.join(SESSIONS)).await?;
    if state.is_empty() {
        return Ok(());
    }
    tokio::fs::write(session_file(home, session), state)
        .await
        .map_err(|error| Failure::harness(format!("the session cannot be written: {error}")))
}

async fn create(folder: &Path) -> Result<(), Failure> {
    tokio::fs::create_dir_all(folder)
        .await
        .map_err(|error| Failure::harness(format!("{} cannot be made: {error}", folder.display())))
}

async fn link(from: &Path, to: &Path) -> Result<(), Failure> {
    match tokio::fs::hard_link(from, to).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::harness(format!(
            "{} cannot be linked: {error}",
            from.display()
        ))),
    }
}

/// The turn as far as it was read.
#[derive(Default)]
struct Reading {
    gathering: Gathering,
    ended: Option<(bool, Option<String>)>,
}

impl Reading {
    fn line(&mut self, line: &Line) -> Result<Vec<AgentEvent>, Failure> {
        if line.cut {
            return Err(Failure::harness("a line of the control agent is too long"));
        }
        let event = serde_json::from_slice::<WireEvent>(&line.bytes).map_err(|error| {
            Failure::harness(format!(
                "a line of the control agent cannot be read: {error}"
            ))
        })?;
        let gathering = &mut self.gathering;
        match event {
            WireEvent::Init { .. } | WireEvent::Other => {}
            WireEvent::Text { text } => gathering.text(&text),
            WireEvent::ToolCall { id, tool, target } => {
                gathering.tool_call(ToolCall { id, tool, target });
            }
            WireEvent::ToolResult {
                id,
                is_error,
                bytes,
            } => gathering.tool_result(&id, is_error, bytes),
            WireEvent::Compacted {
                trigger,
                tokens_before,
                tokens_after,
                summary,
            } => gathering.compacted(Compaction {
                trigger: match trigger {
                    crate::control::WireTrigger::Auto => CompactionTrigger::Auto,
                    crate::control::WireTrigger::Manual => CompactionTrigger::Manual,
                },
                tokens_before: Some(tokens_before),
                tokens_after: Some(tokens_after),
                summary: Some(summary),
                proof: Proof::Reported,
                reinjected: Vec::new(),
            }),
            WireEvent::Usage { context, window } => gathering.usage(Usage {
                context,
                window: Some(window),
            }),
            WireEvent::Result { is_error, message } => self.ended = Some((is_error, message)),
        }
        Ok(gathering.take_events())
    }

    fn finish(
        self,
        ended: &process::Ended,
        duration: std::time::Duration,
    ) -> Result<Turn, Failure> {
        match self.ended {
            Some((false, _)) if ended.status.success() => Ok(self.gathering.finish(duration)),
            Some((_, message)) => Err(Failure::new(
                Cause::AgentCrashed,
                message.unwrap_or_else(|| format!("the control agent ended with {}", ended.status)),
            )),
            None => Err(Failure::new(
                Cause::AgentCrashed,
                format!(
                    "the control agent ended with {} in the middle of a turn: {}",
                    ended.status, ended.stderr
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A turn as the program wrote it.
    const RECORDED: &str = r#"{"type":"init","session":"s","version":"0.1.0"}
{"type":"tool_call","id":"call-1","tool":"read","target":"pull_request.diff"}
{"type":"tool_result","id":"call-1","is_error":false,"bytes":120}
{"type":"something_new","detail":[1,2]}
{"type":"compacted","trigger":"auto","tokens_before":900,"tokens_after":80,"summary":"[AR-01] x"}
{"type":"text","text":"one"}
{"type":"text","text":"two"}
{"type":"usage","context":110,"window":1000}
{"type":"result","is_error":false,"message":null}"#;

    fn line(bytes: &[u8]) -> Line {
        Line {
            bytes: bytes.to_vec(),
            cut: false,
            whole_length: bytes.len() as u64 + 1,
        }
    }

    #[test]
    fn a_recorded_turn_is_read_whole_and_unknown_kinds_are_skipped() {
        let mut reading = Reading::default();
        let told: Vec<_> = RECORDED
            .lines()
            .flat_map(|text| reading.line(&line(text.as_bytes())).expect("a good line"))
            .collect();
        assert_eq!(told.len(), 6);
        let turn = reading.gathering.turn();
        assert_eq!(turn.text, "one\ntwo");
        assert_eq!(turn.tool_calls.len(), 1);
        assert_eq!(turn.compactions[0].tokens_before, Some(900));
        assert_eq!(turn.usage.map(|usage| usage.context), Some(110));
        assert_eq!(reading.ended, Some((false, None)));
    }

    #[test]
    fn a_line_that_was_cut_is_our_failure_and_no_event() {
        let mut cut = line(br#"{"type":"text","text":"one"}"#);
        cut.cut = true;
        let failure = Reading::default().line(&cut).expect_err("a cut line");
        assert_eq!(failure.cause, Cause::Harness);
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reading::default().line(&line(&bytes));
        }

        #[test]
        fn a_recorded_line_with_a_broken_byte_is_read_or_refused(
            number in 0_usize..9, at in 0_usize..90, byte in any::<u8>(),
        ) {
            let mut bytes = RECORDED.lines().nth(number).unwrap_or_default().as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Reading::default().line(&line(&bytes));
        }
    }
}
