//! Interface between the orchestrator and agents.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Cost, Tokens};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::event::{AgentEvent, Compaction, CompactionTrigger, ToolCall, Usage};
use crate::failure::Failure;
use crate::sandbox::Sandbox;

pub use domain::Capabilities;

/// Creates sessions with one kind of agent.
#[async_trait]
pub trait AgentAdapter: Send + Sync {
    /// Returns the properties that are known without asking the program.
    fn profile(&self) -> &Profile;

    /// Returns the adapter for a name with a parameter, such as `control-lossy:0.25` or
    /// `claude:MODEL`. The parameter of a real agent is a model.
    ///
    /// # Errors
    ///
    /// Fails if the agent accepts no parameter, or not this one.
    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure>;

    /// Returns whether the program is installed, and its version. May start the program. Callers
    /// cache the result.
    async fn probe(&self) -> Presence;

    /// Returns the variables that make the program use the models at `endpoint`. Returns `None` if
    /// its provider cannot be replaced.
    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>>;

    /// Begins a session. The folders of `spec` must exist.
    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure>;

    /// Continues from a checkpoint of one of this adapter's sessions, in a fresh HOME.
    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure>;
}

/// A conversation with an agent.
#[async_trait]
pub trait AgentSession: Send {
    /// Sends a prompt and waits for the end of the turn. Events go to `SessionSpec::events` as they
    /// happen. The [`Turn`] contains all of them.
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure>;

    /// Requests a compaction. [`CompactionTrigger::Manual`] uses the program's own command and
    /// needs [`Capabilities::manual_compaction`]. [`CompactionTrigger::Auto`] lowers the program's
    /// own threshold for one turn and needs [`Capabilities::forced_compaction`]. If no compaction
    /// happened, the `Turn` has no [`Compaction`].
    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure>;

    /// Copies the conversation as it is now. `access` decides on the tools and the workspace of the
    /// copy. Later turns of either conversation do not change the other.
    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure>;

    /// Returns the state that [`AgentAdapter::resume`] needs.
    async fn checkpoint(&self) -> Result<Checkpoint, Failure>;

    /// Ends the session and all of its processes.
    async fn close(self: Box<Self>);
}

/// Properties of an agent that are known without asking its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Name such as `claude`. The agent's queue has this name.
    pub name: String,
    pub display_name: String,
    pub capabilities: Capabilities,
    /// Instruction for installing the program.
    pub install_hint: String,
    /// Whether it is a control agent, which tests the instrument. Only control agents may get an
    /// answer key.
    pub control: bool,
    /// Variables of the worker's environment that the program gets. It gets no others.
    #[serde(default)]
    pub environment: Vec<String>,
    /// Model that is used if the agent's name has none. `None` if the model cannot be chosen.
    #[serde(default)]
    pub default_model: Option<String>,
}

/// Presence of an agent's program on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "presence", rename_all = "snake_case")]
pub enum Presence {
    Installed { version: String, program: String },
    Missing { why: String, fix: String },
}

/// Prefix of the keys of model stubs. It marks results that were produced with a stub instead of a
/// model.
pub const STUB_KEY: &str = "sk-stub-";

/// Address of models: a provider, or a stub.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address without a path, such as `http://127.0.0.1:8099`.
    pub url: String,
    pub key: String,
}

/// Access of a session to tools and workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read-only tools, in the workspace.
    Workspace,
    /// No tools offered, no workspace readable.
    Sealed,
}

/// Parameters of a session.
#[derive(Clone)]
pub struct SessionSpec {
    /// HOME of the session: an empty, writable folder.
    pub home: PathBuf,
    /// Folder that the agent works in while it has access. `None` if it never has a workspace.
    pub workspace: Option<PathBuf>,
    pub access: Access,
    /// Context size of the agent in tokens, if its program allows a choice.
    pub context_tokens: Option<u64>,
    /// Whether the program may compact by itself.
    pub may_compact: bool,
    /// Seed of the random draws of control agents. Other agents ignore it.
    pub seed: u64,
    /// Environment variables of the program.
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    /// Sandbox of the program.
    pub sandbox: Sandbox,
    /// Receives every line of the program, unchanged.
    pub raw: Arc<dyn RawSink>,
    /// Receives events as they happen. The channel is bounded: a slow reader slows the agent down.
    pub events: mpsc::Sender<AgentEvent>,
    /// Cancels the session and kills its process group.
    pub cancel: CancellationToken,
}

impl SessionSpec {
    /// Returns the context size, in tokens, at which the program compacts by itself. Returns `None`
    /// if it must not compact. A sealed session never compacts: its questions would be asked after
    /// an unintended break.
    pub fn compact_at(&self) -> Option<u64> {
        let may_compact = self.may_compact && self.access == Access::Workspace;
        self.context_tokens
            .filter(|_| may_compact)
            .map(Self::full_context)
    }

    /// Returns the size at which a context counts as full: four fifths of its tokens. Real programs
    /// compact at about this size.
    pub fn full_context(context_tokens: u64) -> u64 {
        context_tokens / 5 * 4
    }
}

/// Receiver of the raw lines of a program.
pub trait RawSink: Send + Sync {
    /// Receives one line without its end, cut at [`Limits::line_bytes`].
    fn line(&self, stream: Stream, line: &[u8]);
}

/// Standard stream of a raw line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// Limits of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Duration of one turn.
    pub turn: Duration,
    /// Time without any output.
    pub stall: Duration,
    /// Length of one line of output. The rest of the line is cut.
    pub line_bytes: usize,
    /// Output of one turn.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turn: Duration::from_secs(30 * 60),
            stall: Duration::from_secs(5 * 60),
            line_bytes: 8 << 20,
            output_bytes: 256 << 20,
        }
    }
}

/// Result of a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// The whole answer of the agent.
    pub text: String,
    /// Size of the context after the turn.
    pub usage: Option<Usage>,
    /// Billed tokens. `None` if the program does not report all of them.
    pub tokens: Option<Tokens>,
    /// Cost of the turn. `None` if a part of it is unknown.
    pub cost: Option<Cost>,
    pub tool_calls: Vec<ToolCall>,
    pub compactions: Vec<Compaction>,
    pub duration: Duration,
}

/// State from which a session can be continued. Only its own adapter reads `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub session_id: String,
    pub state: Vec<u8>,
}

impl Checkpoint {
    /// Returns the session's id as a UUID.
    ///
    /// # Errors
    ///
    /// Fails if it is not one. `program` names the agent in the message.
    pub(crate) fn uuid(&self, program: &str) -> Result<uuid::Uuid, Failure> {
        uuid::Uuid::parse_str(&self.session_id).map_err(|_| {
            Failure::harness(format!(
                "invalid checkpoint: {:?} is not a session id of {program}",
                self.session_id
            ))
        })
    }
}
