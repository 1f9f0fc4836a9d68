//! Ranks agents by the runs that are measurements, and tells what became of the others.

mod comparing;
mod judge;
mod row;

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::Dimension;
use serde::{Deserialize, Serialize};

use crate::scoring::RunScore;
use crate::statistics::{DesignEffect, RankInterval, Unit, cluster_interval, mean};

pub use comparing::Comparison;
pub use judge::{JURY, Judge, RECALL_JUDGE, ranking_identity, ranking_judge};
pub use row::{retention_estimate, run_retention};

/// What the leaderboard needs to know of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    pub agent: String,
    pub trial: u32,
    /// Its name, the same in every task on it: what intervals over several pull requests resample.
    pub pull_request: String,
    /// What the run shares with the runs of other agents, such as the task and the trial: agents are
    /// compared within it. An agent has one run of each.
    pub session: String,
    pub outcome: Outcome,
    pub score: RunScore,
    /// What free recall recovered, by the judge that may rank; none without such.
    pub recall: Option<f64>,
    /// What must be the same in all runs that are averaged: name → value.
    pub manifest: BTreeMap<String, String>,
    pub duration_ms: Option<u64>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It came to its end, had a break, kept its seal.
    Measured,
    /// Whose fault it is that it ended without a measurement: [`AGENT`], `provider`, `harness`,
    /// `cancelled`, `budget`, or [`UNKNOWN`].
    Failed { cause: String },
    /// It came to its end and is no measurement, for this reason.
    Void { why: String },
    /// It is not at its end.
    Unfinished,
}

/// The one cause of failures that speaks of the agent.
pub const AGENT: &str = "agent";

/// The name of the pull request that a session stands on. Changes of a local repository have no address
/// of their own: here each is named by its two commits, wherever the copy lies.
pub fn pull_request_of(pr_url: &str, base: Option<&str>, head: Option<&str>) -> String {
    match (base, head) {
        (Some(base), Some(head)) if pr_url.starts_with("file:") => {
            format!("{base}...{head}")
        }
        _ => pr_url.to_owned(),
    }
}

/// Why a run whose seal was broken by the use of a tool is void.
pub const SEAL_BROKEN: &str = "a tool was used where only memory was allowed";

/// Why a run that is void is so, in words; `reason` is what was noted of it: `tool_call`, `canary` or
/// `compaction`. Nothing was noted of the oldest runs.
pub fn why_void(reason: Option<&str>) -> &'static str {
    match reason {
        Some("tool_call") => SEAL_BROKEN,
        Some("canary") => "a file was read where only memory was allowed",
        Some("compaction") => "its context was compacted while it was asked",
        Some(_) | None => "it was not asked from its memory alone",
    }
}

/// Why a run without a break is none.
pub const NO_BREAK: &str = "there was no break of its context";

/// The cause of failures whose cause was not noted.
pub const UNKNOWN: &str = "unknown";

/// A mean with its 95 % interval; no interval for a single trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Estimate {
    pub mean: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// The agents of a task, or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// Best first.
    pub ranked: Vec<Row>,
    /// Agents that cannot be ranked, by name, each with its reason.
    pub unranked: Vec<Row>,
    /// Every two ranked agents by the overall scores of the sessions that both have.
    pub comparisons: Vec<Comparison>,
    /// What is not the same for all ranked agents, beside their own versions and models.
    pub differs: Vec<String>,
}

/// One line of the leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1; agents with equal scores share a rank. None for one that is not ranked.
    pub rank: Option<usize>,
    /// Why it is not ranked.
    pub why_unranked: Option<String>,
    pub agent: String,
    /// Runs that count: the measurements.
    pub trials: usize,
    /// Measurements and failures that the agent caused. Nothing else is an attempt of the agent.
    pub attempts: usize,
    /// The failures that the agent caused, as a share of its attempts, with Wilson's interval.
    pub failure_rate: Estimate,
    /// Pull requests that the measurements stand on.
    pub pull_requests: usize,
    /// What the intervals resample.
    pub unit: Unit,
    /// How much less the overall scores say because sessions share their pull requests; none on one.
    pub design_effect: Option<DesignEffect>,
    pub overall_score: Option<f64>,
    /// The overall score with its interval.
    pub score: Estimate,
    /// The ranks that the data do not exclude; none for a single trial.
    pub ranks: Option<RankInterval>,
    /// Mean post-break score per dimension.
    pub scores: BTreeMap<Dimension, Option<f64>>,
    /// Dimensions that were asked for and have no probe in any run: neither part of the overall
    /// score nor of what is to be passed.
    pub dimensions_without_probes: Vec<Dimension>,
    pub retention: Estimate,
    /// P(right after | right before) over all probes of all runs.
    pub item_retention: Estimate,
    /// What free recall recovered, over the runs where a judge may say so.
    pub recall: Estimate,
    /// Cause → runs that ended without a measurement. Only the cause [`AGENT`] speaks of the agent.
    pub failures: BTreeMap<String, usize>,
    /// Reason → runs that came to their end and are no measurement. They are neither attempts nor
    /// scores: what counts is a selection, which this tells.
    pub void: BTreeMap<String, usize>,
    /// What is not the same in all the runs that were averaged.
    pub differs: Vec<String>,
    pub passed: bool,
    /// Mean wall time of the runs that count.
    pub duration_ms: Option<u64>,
}

/// The leaderboard of runs: only measurements are ranked, best first. `seed` fixes the resampling.
///
/// Agents are in the order of their overall score, then retention, then name; one without a figure
/// comes after all that have it. A run's retention is the mean of its dimensions' where defined.
/// Intervals resample sessions, and pull requests where an agent's runs are of several.
///
/// A failure is never turned into a score: nobody knows what it would have been. It is told beside
/// the score, and an agent that failed more than half of its attempts is not ranked by the rest.
pub fn leaderboard(runs: &[RunResult], pass_mark: f64, seed: u64) -> Board {
    let mut by_agent: BTreeMap<&str, Vec<&RunResult>> = BTreeMap::new();
    for run in runs {
        // A run that is not at its end says nothing yet.
        if run.outcome != Outcome::Unfinished {
            by_agent.entry(&run.agent).or_default().push(run);
        }
    }
    let (mut ranked, unranked): (Vec<Row>, Vec<Row>) = by_agent
        .iter()
        .map(|(agent, own)| row::row(agent, own, pass_mark, seed))
        .partition(|row| row.why_unranked.is_none());
    ranked.sort_by(|a, b| {
        let score = grain(b.overall_score).cmp(&grain(a.overall_score));
        let retention = grain(b.retention.mean).cmp(&grain(a.retention.mean));
        score.then(retention).then_with(|| a.agent.cmp(&b.agent))
    });
    let mut leader = (1, None);
    for (at, row) in ranked.iter_mut().enumerate() {
        let score = grain(row.overall_score);
        if at == 0 || score != leader.1 {
            leader = (at + 1, score);
        }
        row.rank = Some(leader.0);
    }
    let measured: Vec<Vec<&RunResult>> = ranked
        .iter()
        .map(|row| {
            let own = by_agent.get(row.agent.as_str()).into_iter().flatten();
            own.copied().filter(|run| is_measured(run)).collect()
        })
        .collect();
    comparing::rank(&mut ranked, &measured, seed);
    Board {
        comparisons: comparing::compare(&ranked, &measured, seed),
        differs: differs_between(&measured.concat()),
        ranked,
        unranked,
    }
}

fn is_measured(run: &RunResult) -> bool {
    run.outcome == Outcome::Measured
}

/// What is the agent's own, and differs between agents as a matter of course.
const OF_THE_AGENT: [&str; 2] = ["agent_version", "model"];

fn differs_between(runs: &[&RunResult]) -> Vec<String> {
    differs(runs, &OF_THE_AGENT)
}

/// The names of what is not the same in all manifests, each with its values.
fn differs(runs: &[&RunResult], except: &[&str]) -> Vec<String> {
    let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for run in runs {
        for (name, value) in &run.manifest {
            values.entry(name).or_default().insert(value.clone());
        }
        // Manifests of older runs do not have it, and scores of other dimensions are other scores.
        let asked: Vec<&str> = run
            .score
            .dimensions
            .keys()
            .map(|one| one.as_str())
            .collect();
        values.entry(RUBRIC).or_default().insert(asked.join(", "));
    }
    values
        .into_iter()
        .filter(|(name, values)| values.len() > 1 && !except.contains(name))
        .map(|(name, values)| {
            let values: Vec<String> = values.into_iter().collect();
            format!("{name}: {}", values.join(" | "))
        })
        .collect()
}

/// The name, in manifests, of the dimensions asked for: their words, with commas.
pub const RUBRIC: &str = "rubric";

/// The name, in manifests, of where the probes come from: [`GENERATED`] or [`IMPORTED`].
pub const PROBES: &str = "probes";

/// The instrument made the probes.
pub const GENERATED: &str = "generated";

/// The probes are those of a question bank that came with the request: somebody chose them.
pub const IMPORTED: &str = "imported";

/// The mean of one figure per run, with its interval.
pub fn estimate(figures: &[f64], seed: u64) -> Estimate {
    let clusters: Vec<Vec<f64>> = figures.iter().map(|&figure| vec![figure]).collect();
    estimate_of(&clusters, seed)
}

/// The mean of all figures of all clusters, with its interval: whole clusters are resampled. The
/// figures are scores or shares of one.
pub fn estimate_of(clusters: &[Vec<f64>], seed: u64) -> Estimate {
    within(clusters, seed, 1.0)
}

/// The same for figures that end at `most`.
fn within(clusters: &[Vec<f64>], seed: u64, most: f64) -> Estimate {
    let interval = cluster_interval(clusters, seed, 0.0..=most);
    Estimate {
        mean: mean(&clusters.concat()),
        low: interval.map(|interval| interval.low),
        high: interval.map(|interval| interval.high),
    }
}

/// A score in steps of a billionth, so that rounding neither makes nor breaks a tie.
fn grain(score: Option<f64>) -> Option<i64> {
    score.map(|score| (score * 1e9).round() as i64)
}
