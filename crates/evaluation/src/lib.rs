//! The instrument: questions about a pull request, the grading of answers, and the figures of the
//! grades.
//!
//! The crate maps data to data. It awaits nothing, reads no clock, file or database, starts no
//! process, and draws no number without a seed. So every published figure can be computed again
//! from stored data.

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

/// Version of the instrument. Figures of different versions are never averaged.
pub const INSTRUMENT_VERSION: &str = "4";
