//! The conformance suite: behaviour that every adapter must show, whichever program it drives.
//!
//! The program talks to a model stub, so nothing costs anything, and the stub records every
//! request. Checks read these records instead of trusting the program's reports. A capability that
//! an agent declares as missing is reported as declared, never skipped silently.

mod check;
mod bench;
mod conversation;
mod breaks;
mod seal;
mod faults;
mod suite;

pub use bench::processes_below;
pub use check::{Check, Outcome, Subject};
pub use suite::{CHECKS, run, run_one};
