//! The control agents: agents whose correct result is known in advance.
//!
//! **Perfect understanding, real memory.** A control gets the answer key in a file in its own HOME,
//! so it needs no model to understand what it reads. But it may use an entry only while the entry's
//! evidence is, word for word, in its context. The context is bounded: it fills with prompts and
//! with files of the workspace, and is compacted when it is full. Before its first compaction a
//! control looks for evidence anywhere in its context. Afterwards only the entry's own note counts.
//! So a control remembers exactly what its compaction kept.
//!
//! A control is a program of its own, one process per turn, and prints JSON lines like the headless
//! command-line tools. Its adapter runs it through the same process runner.

pub mod key;
pub mod program;
mod command;
mod context;
mod behaviour;
mod wire;

pub use behaviour::Behaviour;
pub use command::{ControlProgram, SUBCOMMAND};
pub use key::KEY_FILE;
pub(crate) use wire::{WireEvent, WireTrigger};
