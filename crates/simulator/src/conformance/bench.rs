//! Fixture of every check: a model stub, folders, and recorded sessions.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agents::adapter::{
    Access, AgentAdapter, AgentSession, Limits, RawSink, SessionSpec, Stream, Turn,
};
use agents::event::AgentEvent;
use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::check::Subject;
use crate::model_stub::{Keep, ModelStub, Recorded, Rules};

/// Context size of sessions, in tokens: the smallest that all programs accept.
pub(super) const CONTEXT: u64 = 60_000;
/// Time limit of one turn. Most turns take a second or two.
const TURN_LIMIT: Duration = Duration::from_secs(90);

/// Fixture of one check.
pub(super) struct Bench {
    pub(super) adapter: Arc<dyn AgentAdapter>,
    pub(super) stub: ModelStub,
    pub(super) recorder: Arc<Recorder>,
    pub(super) cancel: CancellationToken,
    subject: Subject,
    folder: tempfile::TempDir,
}

/// Raw lines and events of the sessions of a check.
#[derive(Default)]
pub(super) struct Recorder {
    raw: Mutex<Vec<u8>>,
    events: Mutex<Vec<AgentEvent>>,
}

impl RawSink for Recorder {
    fn line(&self, _: Stream, line: &[u8]) {
        let mut raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        raw.extend_from_slice(line);
        raw.push(b'\n');
    }
}

impl Recorder {
    /// Returns all raw lines of all streams.
    pub(super) fn raw(&self) -> String {
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&raw).into_owned()
    }

    pub(super) fn events(&self) -> Vec<AgentEvent> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }
}

impl Bench {
    pub(super) async fn new(subject: &Subject) -> anyhow::Result<Self> {
        let stub = ModelStub::start(Rules::keeping(Keep::Nothing))
            .await
            .context("starting the model stub")?;
        std::fs::create_dir_all(&subject.folder).context("creating a folder")?;
        let folder = tempfile::tempdir_in(&subject.folder).context("creating a folder")?;
        Ok(Self {
            adapter: Arc::clone(&subject.adapter),
            stub,
            recorder: Arc::default(),
            cancel: CancellationToken::new(),
            subject: subject.clone(),
            folder,
        })
    }

    /// Returns the folder that sessions work in.
    pub(super) fn workspace(&self) -> anyhow::Result<PathBuf> {
        let workspace = self.folder.path().join("workspace");
        std::fs::create_dir_all(&workspace).context("creating the workspace")?;
        Ok(workspace)
    }

    /// Writes a file into the workspace.
    pub(super) fn write_file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.workspace()?.join(name);
        std::fs::write(&path, text).context("writing into the workspace")?;
        Ok(path)
    }

    /// Returns the HOME of the session with this number.
    pub(super) fn home(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("home-{number}"))
    }

    /// Returns the parameters of a session.
    pub(super) fn spec(&self, number: u32, access: Access) -> anyhow::Result<SessionSpec> {
        let home = self.home(number);
        std::fs::create_dir_all(&home).context("creating a HOME")?;
        let environment = self
            .adapter
            .endpoint_environment(&self.stub.endpoint())
            .context("the agent cannot be pointed at the model stub")?;
        Ok(SessionSpec {
            home,
            workspace: match access {
                Access::Workspace => Some(self.workspace()?),
                Access::Sealed => None,
            },
            access,
            context_tokens: Some(CONTEXT),
            may_compact: false,
            seed: 1,
            environment,
            limits: Limits {
                turn: TURN_LIMIT,
                stall: self.subject.stall,
                ..Limits::default()
            },
            sandbox: self.subject.sandbox.clone(),
            raw: Arc::<Recorder>::clone(&self.recorder),
            events: self.record_events(),
            cancel: self.cancel.clone(),
        })
    }

    fn record_events(&self) -> mpsc::Sender<AgentEvent> {
        let (sender, mut receiver) = mpsc::channel(64);
        let recorder = Arc::clone(&self.recorder);
        tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                let mut events = recorder
                    .events
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                events.push(event);
            }
        });
        sender
    }

    /// Opens a session with access that does not compact by itself.
    pub(super) async fn open(&self) -> anyhow::Result<Box<dyn AgentSession>> {
        self.open_with(|_| {}).await
    }

    /// Opens such a session with changed parameters.
    pub(super) async fn open_with(
        &self,
        change: impl FnOnce(&mut SessionSpec) + Send,
    ) -> anyhow::Result<Box<dyn AgentSession>> {
        let mut spec = self.spec(1, Access::Workspace)?;
        change(&mut spec);
        Ok(self.adapter.open(spec).await?)
    }

    /// Returns the last request to the model.
    pub(super) fn last_request(&self) -> anyhow::Result<Recorded> {
        let mut requests = self.stub.model_requests();
        requests.pop().context("no request reached the model")
    }
}

/// Returns a word that occurs nowhere else.
pub(super) fn unique_word(prefix: &str) -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &unique[..12])
}

/// Returns varied text without meaning. Programs detect repetition.
pub(super) fn filler(number: u32, chars: usize) -> String {
    let mut text = format!("Note {number}. Keep it in mind; nothing is to be done.\n");
    let mut line = 0;
    while text.len() < chars {
        line += 1;
        text.push_str(&format!(
            "Item {line} of note {number} is about part {} of shelf {}.\n",
            line * 31 % 97,
            line * 17 % 89 + number
        ));
    }
    text
}

/// Sends a prompt and returns the turn.
pub(super) async fn send(session: &mut Box<dyn AgentSession>, text: &str) -> anyhow::Result<Turn> {
    let turn = session.prompt(text).await;
    turn.with_context(|| format!("sending {:?}", text.chars().take(40).collect::<String>()))
}

/// Returns the processes whose HOME is a folder or below it.
pub fn processes_below(folder: &Path) -> Vec<u32> {
    let home = format!("HOME={}", folder.display());
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| {
            std::fs::read(format!("/proc/{process}/environ")).is_ok_and(|environment| {
                environment
                    .split(|&byte| byte == 0)
                    .any(|variable| variable.starts_with(home.as_bytes()))
            })
        })
        .collect()
}
