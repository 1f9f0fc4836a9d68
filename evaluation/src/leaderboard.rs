//! Ranks the agents of a task by the runs that count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::probe::Dimension;
use crate::scoring::RunScore;

/// What the leaderboard needs to know of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    pub agent: String,
    pub trial: u32,
    /// The run came to its end, had a break, kept its seal.
    pub counts: bool,
    pub score: RunScore,
    pub duration_ms: Option<u64>,
}

/// A mean with its 95 % interval; no interval for a single trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// One line of the leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1; agents with equal scores share a rank.
    pub rank: usize,
    pub agent: String,
    /// Runs that count.
    pub trials: usize,
    pub overall_score: Option<f64>,
    /// Mean post-break score per dimension.
    pub scores: BTreeMap<Dimension, Option<f64>>,
    pub retention: Estimate,
    pub passed: bool,
    /// Mean wall time of the runs that count.
    pub duration_ms: Option<u64>,
}

/// The leaderboard of a task: only runs that count, best first. `seed` fixes the resampling.
pub fn leaderboard(_runs: &[RunResult], _pass_mark: f64, _seed: u64) -> Vec<Row> {
    Vec::new()
}
