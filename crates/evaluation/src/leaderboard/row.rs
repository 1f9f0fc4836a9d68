//! One agent: the figures of its measurements, and the outcome of its other runs.

use std::collections::BTreeMap;

use domain::vocabulary::Dimension;

use serde::{Deserialize, Serialize};

use super::estimate::{Estimate, within};
use super::manifest::differs;
use super::run_result::{AGENT, Outcome, RunResult, is_measured};
use crate::scoring::{RunScore, passes};
use crate::statistics::{DesignEffect, RankInterval, Unit, by_unit, design_effect, mean, wilson};

/// The maximum retention.
const MOST_RETENTION: f64 = 1.25;

/// One line of the leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Rank from 1. Agents with equal scores share a rank. `None` for an agent that is not ranked.
    pub rank: Option<usize>,
    /// Reason for which it is not ranked.
    pub why_unranked: Option<String>,
    pub agent: String,
    /// Number of measurements.
    pub trials: usize,
    /// Measurements and failures that the agent caused. Other runs are not attempts of the agent.
    pub attempts: usize,
    /// Failures that the agent caused, as a share of its attempts, with Wilson's interval.
    pub failure_rate: Estimate,
    /// Number of pull requests of the measurements.
    pub pull_requests: usize,
    /// The resampled unit of the intervals.
    pub unit: Unit,
    /// Loss of information because sessions share their pull requests. `None` for one pull request.
    pub design_effect: Option<DesignEffect>,
    pub overall_score: Option<f64>,
    /// The overall score with its interval.
    pub score: Estimate,
    /// Ranks that the data do not exclude. `None` for a single trial.
    pub ranks: Option<RankInterval>,
    /// Mean post-break score per dimension.
    pub scores: BTreeMap<Dimension, Option<f64>>,
    /// Requested dimensions without a probe in any run. They count neither in the overall score nor
    /// among the dimensions to pass.
    pub dimensions_without_probes: Vec<Dimension>,
    pub retention: Estimate,
    /// P(right after | right before) over all probes of all runs.
    pub item_retention: Estimate,
    /// Recall of free recall, over the runs whose judge may rank.
    pub recall: Estimate,
    /// Runs that failed without a measurement, by cause. Only the cause [`AGENT`] is the agent's
    /// fault.
    pub failures: BTreeMap<String, usize>,
    /// Finished runs that are not measurements, by reason. They are neither attempts nor scores.
    /// The measurements are a selection, and this shows what was excluded.
    pub void: BTreeMap<String, usize>,
    /// Manifest entries that differ between the averaged runs.
    pub differs: Vec<String>,
    pub passed: bool,
    /// Mean wall time of the measurements.
    pub duration_ms: Option<u64>,
}

/// Returns the row of an agent, without its rank.
pub(super) fn row(agent: &str, runs: &[&RunResult], pass_mark: f64, seed: u64) -> Row {
    let counted: Vec<&RunResult> = runs
        .iter()
        .copied()
        .filter(|run| is_measured(run))
        .collect();
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    let mut void: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        match &run.outcome {
            Outcome::Failed { cause } => *failures.entry(cause.clone()).or_default() += 1,
            Outcome::Void { why } => *void.entry(why.clone()).or_default() += 1,
            Outcome::Measured | Outcome::Unfinished => {}
        }
    }
    let failed = failures.get(AGENT).copied().unwrap_or_default();
    let attempts = counted.len() + failed;
    let (scores, dimensions_without_probes) = scores(&counted);
    let score = estimated(&counted, seed, 1.0, |run| {
        run.score.overall_score.into_iter().collect()
    });
    let (unit, clusters) = by_unit(counted.iter().map(|run| {
        let score = run.score.overall_score.into_iter().collect();
        (run.pull_request.as_str(), score)
    }));
    Row {
        rank: None,
        why_unranked: why_unranked(counted.len(), failed, &failures, &void),
        agent: agent.to_owned(),
        trials: counted.len(),
        attempts,
        failure_rate: failure_rate(failed, attempts),
        pull_requests: pull_requests(&counted),
        unit,
        design_effect: match unit {
            Unit::Session => None,
            Unit::PullRequest => design_effect(&clusters),
        },
        overall_score: score.mean,
        score,
        ranks: None,
        passed: passes(&scores, pass_mark),
        scores,
        dimensions_without_probes,
        retention: estimated(&counted, seed, MOST_RETENTION, |run| {
            run_retention(&run.score).into_iter().collect()
        }),
        item_retention: estimated(&counted, seed, 1.0, |run| items(&run.score)),
        recall: estimated(&counted, seed, 1.0, |run| run.recall.into_iter().collect()),
        failures,
        void,
        differs: differs(&counted, &[]),
        duration_ms: mean_duration(&counted),
    }
}

/// Returns the mean of a figure of each run, with the resampled interval.
fn estimated(
    runs: &[&RunResult],
    seed: u64,
    most: f64,
    figures: impl Fn(&RunResult) -> Vec<f64>,
) -> Estimate {
    let (_, clusters) = by_unit(
        runs.iter()
            .map(|run| (run.pull_request.as_str(), figures(run))),
    );
    within(&clusters, seed, most)
}

/// Returns the mean of a share of the known probes per session, with its interval. A session is a
/// pull request with its shares. As a retention, the maximum is 1.25.
pub fn retention_estimate<'a>(
    sessions: impl IntoIterator<Item = (&'a str, Vec<f64>)>,
    seed: u64,
) -> Estimate {
    let (_, clusters) = by_unit(sessions);
    within(&clusters, seed, MOST_RETENTION)
}

/// With more failures than measurements, the rest is a selection of successes.
fn why_unranked(
    measured: usize,
    failed: usize,
    failures: &BTreeMap<String, usize>,
    void: &BTreeMap<String, usize>,
) -> Option<String> {
    let attempts = measured + failed;
    if measured > 0 {
        return (failed > measured).then(|| {
            format!("fails too often to be ranked: {failed} of {attempts} attempts failed")
        });
    }
    let failures = failures
        .iter()
        .map(|(cause, count)| format!("{count} failed ({cause})"));
    let void = void.iter().map(|(why, count)| format!("{count}: {why}"));
    let reasons: Vec<String> = failures.chain(void).collect();
    Some(format!("no run is a measurement ({})", reasons.join("; ")))
}

fn failure_rate(failed: usize, attempts: usize) -> Estimate {
    if attempts == 0 {
        return Estimate::default();
    }
    let count = |runs: usize| u32::try_from(runs).unwrap_or(u32::MAX);
    let interval = wilson(count(failed), count(attempts));
    Estimate {
        mean: Some(failed as f64 / attempts as f64),
        low: Some(interval.low),
        high: Some(interval.high),
    }
}

fn pull_requests(runs: &[&RunResult]) -> usize {
    let names: std::collections::BTreeSet<&str> =
        runs.iter().map(|run| run.pull_request.as_str()).collect();
    names.len()
}

/// Returns the mean per dimension, and the dimensions without a probe in any run.
fn scores(runs: &[&RunResult]) -> (BTreeMap<Dimension, Option<f64>>, Vec<Dimension>) {
    let mut posts: BTreeMap<Dimension, (usize, Vec<f64>)> = BTreeMap::new();
    for run in runs {
        for (&dimension, score) in &run.score.dimensions {
            let (probes, posts) = posts.entry(dimension).or_default();
            *probes += score.n;
            posts.extend(score.post);
        }
    }
    let without = posts.iter().filter(|(_, (probes, _))| *probes == 0);
    let without = without.map(|(&dimension, _)| dimension).collect();
    let scores = posts.iter();
    let scores = scores.map(|(&dimension, (_, posts))| (dimension, mean(posts)));
    (scores.collect(), without)
}

/// Returns the mean retention of the dimensions of a run. Returns `None` if no dimension has one.
pub fn run_retention(score: &RunScore) -> Option<f64> {
    let defined: Vec<f64> = score
        .dimensions
        .values()
        .filter_map(|dimension| dimension.retention)
        .collect();
    mean(&defined)
}

/// Returns a value for each probe that was right before the break: 1 if it is right afterwards,
/// else 0.
fn items(score: &RunScore) -> Vec<f64> {
    let mut items = Vec::new();
    for dimension in score.dimensions.values() {
        if let (Some(known), Some(kept)) = (dimension.known, dimension.kept) {
            items.extend((0..known).map(|at| if at < kept { 1.0 } else { 0.0 }));
        }
    }
    items
}

fn mean_duration(runs: &[&RunResult]) -> Option<u64> {
    let durations: Vec<u64> = runs.iter().filter_map(|run| run.duration_ms).collect();
    let total: u128 = durations.iter().map(|&duration| u128::from(duration)).sum();
    let mean = total.checked_div(durations.len() as u128)?;
    u64::try_from(mean).ok()
}
