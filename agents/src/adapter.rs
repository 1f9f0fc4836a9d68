//! What an agent is to the orchestrator.

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

/// A kind of agent.
#[async_trait]
pub trait AgentAdapter: Send + Sync {
    /// What is known without asking the program.
    fn profile(&self) -> &Profile;

    /// The adapter for an agent whose name carries a parameter, such as `control-lossy:0.25`, or
    /// `claude:MODEL`: real agents take the name of a model.
    ///
    /// # Errors
    ///
    /// The agent takes no parameter, or not this one.
    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure>;

    /// Whether the program is there, and which version. May start it; callers cache.
    async fn probe(&self) -> Presence;

    /// The variables that make the program ask the models at `endpoint` instead of its provider's;
    /// none where it cannot be told.
    fn endpoint_environment(&self, endpoint: &Endpoint) -> Option<BTreeMap<String, String>>;

    /// Begins a session. The folders of `spec` exist.
    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure>;

    /// Goes on from a checkpoint of a session that this adapter made, in a fresh HOME.
    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure>;
}

/// A conversation with an agent.
#[async_trait]
pub trait AgentSession: Send {
    /// Says something and waits for the end of the turn. Events go to `SessionSpec::events` as
    /// they happen; the [`Turn`] gathers them.
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure>;

    /// Brings a compaction about: by the program's own command ([`CompactionTrigger::Manual`],
    /// where it has [`Capabilities::manual_compaction`]), or by lowering the program's own
    /// threshold for one turn ([`CompactionTrigger::Auto`], where it has
    /// [`Capabilities::forced_compaction`]). A compaction that did not happen is a `Turn` without
    /// a [`Compaction`].
    async fn compact(&mut self, how: CompactionTrigger) -> Result<Turn, Failure>;

    /// A copy of the conversation as it is now, with tools and workspace as `access` says. Leaves
    /// the original untouched, and later turns of the original leave the copy untouched.
    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure>;

    /// All that [`AgentAdapter::resume`] needs, as of now.
    async fn checkpoint(&self) -> Result<Checkpoint, Failure>;

    /// Ends the session and every process of it.
    async fn close(self: Box<Self>);
}

/// What is known of an agent without asking its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Such as `claude`; a queue is named after it.
    pub name: String,
    pub display_name: String,
    pub capabilities: Capabilities,
    /// How a user gets it.
    pub install_hint: String,
    /// Built in to test the instrument: may be given an answer key, never a real agent.
    pub control: bool,
    /// The variables of the worker's environment that the program gets. No other passes.
    #[serde(default)]
    pub environment: Vec<String>,
    /// The model that is asked for where none is; none: the agent cannot be told a model.
    #[serde(default)]
    pub default_model: Option<String>,
}

/// What an agent can do. A stage asks these, never for a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Can copy a conversation.
    pub fork: bool,
    /// Has a compact command that works headless.
    pub manual_compaction: bool,
    /// Compacts by itself when its context is full.
    pub auto_compaction: bool,
    /// Can be made to compact by itself at a chosen turn, by lowering its threshold.
    #[serde(default)]
    pub forced_compaction: bool,
    /// Can go on from a checkpoint in another process.
    pub resume: bool,
    /// Tells how full its context is.
    pub usage: bool,
    /// Offers no tools to its model while it is sealed. Where a program cannot, the seal rests on the
    /// sandbox and on refused permissions alone.
    #[serde(default)]
    pub tools_off: bool,
}

/// Whether an agent's program is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "presence", rename_all = "snake_case")]
pub enum Presence {
    Installed { version: String, program: String },
    Missing { why: String, fix: String },
}

/// How the keys of model stubs begin, so that figures that come of one can always be told from
/// figures of a model.
pub const STUB_KEY: &str = "sk-stub-";

/// Where models are asked: a provider of one's own choice, or a stub.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Without a path, such as `http://127.0.0.1:8099`.
    pub url: String,
    pub key: String,
}

/// Whether a session may use tools and see the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read-only tools, in the workspace.
    Workspace,
    /// No tools offered, no workspace readable.
    Sealed,
}

/// All that a session is begun with.
#[derive(Clone)]
pub struct SessionSpec {
    /// The session's own HOME: an empty folder of its own, writable.
    pub home: PathBuf,
    /// The folder the agent works in while it has access; none: it never sees one.
    pub workspace: Option<PathBuf>,
    pub access: Access,
    /// The context size, in tokens, that the agent is to have, where its program lets us choose.
    pub context_tokens: Option<u64>,
    /// Whether the program may compact by itself.
    pub compacts: bool,
    /// Fixes the random draws of controls; other agents have no use for it.
    pub seed: u64,
    /// Environment variables beyond the adapter's own allow-list.
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    /// What the program is confined by.
    pub sandbox: Sandbox,
    /// Every line the program writes, as it was written.
    pub raw: Arc<dyn RawSink>,
    /// Events as they happen. Bounded: a slow reader slows the agent down.
    pub events: mpsc::Sender<AgentEvent>,
    /// Kills the process group when it is cancelled.
    pub cancel: CancellationToken,
}

impl SessionSpec {
    /// The context size, in tokens, at which the program is to compact by itself; none: it is not
    /// to. A sealed session never does, else its questions would be asked after a break that nobody
    /// meant.
    pub fn compact_at(&self) -> Option<u64> {
        let may = self.compacts && self.access == Access::Workspace;
        self.context_tokens.filter(|_| may).map(Self::full)
    }

    /// When a context of so many tokens is full: at four fifths, about where the real programs
    /// compact.
    pub fn full(context_tokens: u64) -> u64 {
        context_tokens / 5 * 4
    }
}

/// Takes the raw lines of a program.
pub trait RawSink: Send + Sync {
    /// One line, without its end, cut at [`Limits::line_bytes`].
    fn line(&self, stream: Stream, line: &[u8]);
}

/// Which pipe a raw line came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// What a program may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one turn.
    pub turn: Duration,
    /// Without any output.
    pub stall: Duration,
    /// One line of output; the rest is cut.
    pub line_bytes: usize,
    /// The output of one turn.
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

/// What came of a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// All that the agent said in the turn.
    pub text: String,
    /// The context after the turn.
    pub usage: Option<Usage>,
    /// What the turn was billed for; missing where the program does not tell all of it.
    pub tokens: Option<Tokens>,
    /// What the turn cost; missing rather than a part of it.
    pub cost: Option<Cost>,
    pub tool_calls: Vec<ToolCall>,
    pub compactions: Vec<Compaction>,
    pub duration: Duration,
}

/// What a session can be continued from. Only its own adapter reads `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub session_id: String,
    pub state: Vec<u8>,
}
