//! The control agents: agents whose right result is known beforehand.
//!
//! **Perfect understanding, real memory.** A control is given the answer key in a file in its own
//! HOME, so it needs no model to understand what it reads. But it may use an entry only while the
//! entry's evidence stands, word for word, in its context, and the context is bounded: it fills up
//! with what the control is told and what it reads from the workspace, and when it is full it is
//! compacted. Before its first compaction a control looks for evidence anywhere in its context;
//! afterwards what it kept of an entry is that entry's own note. So what a control still knows is
//! what its compaction kept, and nothing else.
//!
//! A control is a program of its own, one process for each turn, and speaks JSON lines like the
//! headless command-line tools do; its adapter drives it through the same process runner.

pub mod key;
pub mod program;
mod context;
mod behaviour;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;

pub use behaviour::Behaviour;
pub(crate) use wire::{WireEvent, WireTrigger};

/// The name of the file with the answer key, in a control's HOME.
pub const KEY_FILE: &str = "answer-key.json";

/// The first argument by which a program of this project becomes a control agent.
pub const SUBCOMMAND: &str = "control-agent";

/// How the control agents' program is started.
///
/// It is an executable of its own (`membreak-control`). Every program of this project can also be
/// it, by the first argument [`SUBCOMMAND`], because `cargo run` builds one executable only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlProgram {
    pub path: PathBuf,
    pub args: Vec<OsString>,
    /// The same code in this process instead of a process for each turn: for measuring the
    /// instrument itself over thousands of runs, where nothing is asked about processes. There is no
    /// sandbox and no limit then, which controls of our own do not need.
    pub in_process: bool,
}

impl ControlProgram {
    /// The running executable itself.
    ///
    /// # Errors
    ///
    /// The system cannot tell where the executable is.
    pub fn this_executable() -> std::io::Result<Self> {
        Ok(Self {
            path: std::env::current_exe()?,
            args: vec![SUBCOMMAND.into()],
            in_process: false,
        })
    }

    /// The program at `path`, or, where none is given, the running executable.
    ///
    /// # Errors
    ///
    /// The system cannot tell where the executable is.
    pub fn at_or_this(path: Option<&std::path::Path>) -> std::io::Result<Self> {
        path.map_or_else(Self::this_executable, |path| Ok(Self::own_executable(path)))
    }

    /// An executable that is nothing but the control agents.
    pub fn own_executable(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            in_process: false,
        }
    }

    /// No program at all: see [`Self::in_process`].
    pub fn in_this_process() -> Self {
        Self {
            path: PathBuf::new(),
            args: Vec::new(),
            in_process: true,
        }
    }
}
