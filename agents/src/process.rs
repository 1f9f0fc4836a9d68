//! Runs agents' programs: each in its own session of processes, with a cleared environment, with
//! limits, and within the bounds of [`crate::sandbox`].
//!
//! No process outlives a turn. The group is killed when the leader has exited, when a limit is
//! reached, when the turn is cancelled and when the future is dropped. The kernel kills the leader
//! when the worker's thread that started it ends, so that a killed worker leaves no agent behind.
//! That signal belongs to a thread: [`run()`] must be polled by the runtime's own threads, which live
//! as long as the process, and never on a blocking thread.

mod launch;
mod limits;
mod lines;
mod group;
mod run;
mod interactive;

pub use interactive::InteractiveProcess;
pub use launch::Launch;
pub use limits::send_events;
pub(crate) use limits::{stalled, turn_timed_out};
pub use lines::{Line, LineReader};
pub use run::{ProgramExit, run};
