//! Ranks the agents of a task by the runs that count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::interval::{cluster_bootstrap, mean};
use crate::probe::Dimension;
use crate::scoring::{RunScore, passes};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
///
/// Agents are in the order of their overall score, then retention, then name; one without a figure
/// comes after all that have it. A run's retention is the mean of its dimensions' where defined; the
/// interval over runs is a cluster bootstrap.
pub fn leaderboard(runs: &[RunResult], pass_mark: f64, seed: u64) -> Vec<Row> {
    let mut by_agent: BTreeMap<&str, Vec<&RunResult>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.counts) {
        by_agent.entry(&run.agent).or_default().push(run);
    }
    let mut rows: Vec<Row> = by_agent
        .into_iter()
        .map(|(agent, runs)| row(agent, &runs, pass_mark, seed))
        .collect();
    rows.sort_by(|a, b| {
        let score = grain(b.overall_score).cmp(&grain(a.overall_score));
        let retention = grain(b.retention.mean).cmp(&grain(a.retention.mean));
        score.then(retention).then_with(|| a.agent.cmp(&b.agent))
    });
    let mut leader = (1, None);
    for (at, row) in rows.iter_mut().enumerate() {
        let score = grain(row.overall_score);
        if at == 0 || score != leader.1 {
            leader = (at + 1, score);
        }
        row.rank = leader.0;
    }
    rows
}

fn row(agent: &str, runs: &[&RunResult], pass_mark: f64, seed: u64) -> Row {
    let mut scores: BTreeMap<Dimension, Vec<f64>> = BTreeMap::new();
    for run in runs {
        for (&dimension, score) in &run.score.dimensions {
            scores.entry(dimension).or_default().extend(score.post);
        }
    }
    let scores: BTreeMap<Dimension, Option<f64>> = scores
        .into_iter()
        .map(|(dimension, posts)| (dimension, mean(&posts)))
        .collect();
    let overall: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.score.overall_score)
        .collect();
    let retentions: Vec<f64> = runs
        .iter()
        .filter_map(|run| run_retention(&run.score))
        .collect();
    let durations: Vec<u64> = runs.iter().filter_map(|run| run.duration_ms).collect();
    Row {
        rank: 0,
        agent: agent.to_owned(),
        trials: runs.len(),
        overall_score: mean(&overall),
        passed: passes(&scores, pass_mark),
        scores,
        retention: estimate(&retentions, seed),
        duration_ms: mean_duration(&durations),
    }
}

/// The mean retention of a run's dimensions; none where no dimension has one.
pub fn run_retention(score: &RunScore) -> Option<f64> {
    let defined: Vec<f64> = score
        .dimensions
        .values()
        .filter_map(|dimension| dimension.retention)
        .collect();
    mean(&defined)
}

/// The mean of one figure per run, with its cluster bootstrap interval.
pub fn estimate(figures: &[f64], seed: u64) -> Estimate {
    let clusters: Vec<Vec<f64>> = figures.iter().map(|&figure| vec![figure]).collect();
    let interval = cluster_bootstrap(&clusters, seed);
    Estimate {
        mean: mean(figures),
        low: interval.map(|interval| interval.low),
        high: interval.map(|interval| interval.high),
    }
}

/// A score in steps of a billionth, so that rounding neither makes nor breaks a tie.
fn grain(score: Option<f64>) -> Option<i64> {
    score.map(|score| (score * 1e9).round() as i64)
}

fn mean_duration(durations: &[u64]) -> Option<u64> {
    let total: u128 = durations.iter().map(|&duration| u128::from(duration)).sum();
    let mean = total.checked_div(durations.len() as u128)?;
    u64::try_from(mean).ok()
}
