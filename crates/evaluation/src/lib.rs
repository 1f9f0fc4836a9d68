//! The instrument: what is asked about a pull request, how answers are graded, and what the
//! grades add up to.
//!
//! Data in, data out: nothing here waits, reads a clock, a file or a database, starts a process or
//! draws a number without a seed. So every published figure can be computed again from what is
//! stored.

mod draw;
pub mod symbols;
pub mod facts;
pub mod probe;
pub mod probes;
pub mod question_bank;
pub mod grading;
pub mod claims;
pub mod judging;
pub mod attribution;
pub mod relevance;
pub mod scoring;
pub mod statistics;
pub mod leaderboard;

/// The version of the instrument. Figures of different versions are never averaged.
pub const INSTRUMENT_VERSION: &str = "4";
