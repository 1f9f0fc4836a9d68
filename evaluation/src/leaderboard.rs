//! Ranks the agents of a task by the runs that count.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::probe::Dimension;
use crate::scoring::{RunScore, passes};
use crate::statistics::{RankInterval, cluster_interval, mean, rank_intervals};

/// What the leaderboard needs to know of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    pub agent: String,
    pub trial: u32,
    /// What the run shares with the runs of other agents, such as the task and the trial: agents are
    /// compared within it. An agent has one run of each.
    pub cluster: String,
    /// The run came to its end, had a break, kept its seal.
    pub counts: bool,
    /// Whose fault it is that the run ended without a measurement: `provider`, `agent`, `harness`,
    /// `cancelled` or `budget`; none where it did not fail.
    pub failure: Option<String>,
    pub score: RunScore,
    /// What must be the same in all runs that are averaged: name → value.
    pub manifest: BTreeMap<String, String>,
    pub duration_ms: Option<u64>,
}

/// A mean with its 95 % interval; no interval for a single trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// The overall score with its interval.
    pub score: Estimate,
    /// The ranks that the data do not exclude; none for a single trial.
    pub ranks: Option<RankInterval>,
    /// Mean post-break score per dimension.
    pub scores: BTreeMap<Dimension, Option<f64>>,
    pub retention: Estimate,
    /// P(right after | right before) over all probes of all runs; resampled by run.
    pub item_retention: Estimate,
    /// Cause → runs that ended without a measurement. Only the cause `agent` speaks of the agent.
    pub failures: BTreeMap<String, usize>,
    /// What is not the same in all the runs that were averaged.
    pub differs: Vec<String>,
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
    let ranks = ranks(&by_agent, seed);
    let mut rows: Vec<Row> = by_agent
        .into_iter()
        .map(|(agent, counted)| {
            let mut row = row(agent, &counted, pass_mark, seed);
            row.ranks = ranks.get(agent).copied();
            for run in runs.iter().filter(|run| run.agent == agent) {
                if let Some(cause) = &run.failure {
                    *row.failures.entry(cause.clone()).or_default() += 1;
                }
            }
            row
        })
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
    let items: Vec<Vec<f64>> = runs.iter().map(|run| items(&run.score)).collect();
    let durations: Vec<u64> = runs.iter().filter_map(|run| run.duration_ms).collect();
    Row {
        rank: 0,
        agent: agent.to_owned(),
        trials: runs.len(),
        overall_score: mean(&overall),
        score: estimate(&overall, seed),
        ranks: None,
        item_retention: estimate_of(&items, seed),
        failures: BTreeMap::new(),
        differs: differs(runs),
        passed: passes(&scores, pass_mark),
        scores,
        retention: {
            let clusters: Vec<Vec<f64>> = retentions.iter().map(|&one| vec![one]).collect();
            within(&clusters, seed, MOST_RETENTION)
        },
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

/// Per probe that was right before the break: 1 where it is right after it, else 0.
fn items(score: &RunScore) -> Vec<f64> {
    let mut items = Vec::new();
    for dimension in score.dimensions.values() {
        if let (Some(known), Some(kept)) = (dimension.known, dimension.kept) {
            items.extend((0..known).map(|at| if at < kept { 1.0 } else { 0.0 }));
        }
    }
    items
}

/// Rank intervals by overall score, where an agent has more than one run.
fn ranks<'a>(
    by_agent: &BTreeMap<&'a str, Vec<&RunResult>>,
    seed: u64,
) -> BTreeMap<&'a str, RankInterval> {
    let figures: Vec<BTreeMap<String, f64>> = by_agent
        .values()
        .map(|runs| {
            runs.iter()
                .filter_map(|run| Some((run.cluster.clone(), run.score.overall_score?)))
                .collect()
        })
        .collect();
    by_agent
        .keys()
        .zip(&figures)
        .zip(rank_intervals(&figures, seed))
        .filter(|((_, figures), _)| figures.len() > 1)
        .filter_map(|((agent, _), ranks)| Some((*agent, ranks?)))
        .collect()
}

/// The names of what is not the same in all manifests, each with its values.
fn differs(runs: &[&RunResult]) -> Vec<String> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        for (name, value) in &run.manifest {
            values.entry(name).or_default().insert(value);
        }
    }
    values
        .into_iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(name, values)| {
            let values: Vec<&str> = values.into_iter().collect();
            format!("{name}: {}", values.join(", "))
        })
        .collect()
}

/// The mean of one figure per run, with its cluster bootstrap interval.
pub fn estimate(figures: &[f64], seed: u64) -> Estimate {
    let clusters: Vec<Vec<f64>> = figures.iter().map(|&figure| vec![figure]).collect();
    estimate_of(&clusters, seed)
}

/// The mean of all figures of all runs, with its interval: whole runs are resampled. The figures are
/// scores or shares of one: their interval ends there.
pub fn estimate_of(clusters: &[Vec<f64>], seed: u64) -> Estimate {
    within(clusters, seed, 1.0)
}

fn within(clusters: &[Vec<f64>], seed: u64, most: f64) -> Estimate {
    let interval = cluster_interval(clusters, seed);
    Estimate {
        mean: mean(&clusters.concat()),
        // No such figure is outside of this.
        low: interval.map(|interval| interval.low.max(0.0)),
        high: interval.map(|interval| interval.high.min(most)),
    }
}

/// The largest retention there is.
const MOST_RETENTION: f64 = 1.25;

/// A score in steps of a billionth, so that rounding neither makes nor breaks a tie.
fn grain(score: Option<f64>) -> Option<i64> {
    score.map(|score| (score * 1e9).round() as i64)
}

fn mean_duration(durations: &[u64]) -> Option<u64> {
    let total: u128 = durations.iter().map(|&duration| u128::from(duration)).sum();
    let mean = total.checked_div(durations.len() as u128)?;
    u64::try_from(mean).ok()
}
