//! Rows of a leaderboard, as clients see them.

use std::collections::BTreeMap;

use domain::vocabulary::{Dimension, RunStatus};
use evaluation::leaderboard::{Comparison, Estimate, Row};
use serde::Serialize;
use utoipa::ToSchema;

/// An agent with the figures of all its measurements.
#[derive(Serialize, ToSchema)]
pub(crate) struct RankView {
    /// Rank, from 1. Equal scores share a rank. Null only in `unranked_agents`.
    rank: Option<usize>,
    /// Reason why the agent is not ranked: no run is a measurement, or more than half of its attempts
    /// failed.
    why_unranked: Option<String>,
    agent: String,
    #[schema(value_type = String)]
    status: &'static str,
    overall_score: Option<f64>,
    /// Mean score after the break (compaction), by requested dimension: AR (accurate retrieval), TTL
    /// (test-time learning), LRU (long-range understanding), SF (selective forgetting).
    scores: BTreeMap<String, Option<f64>>,
    passed: bool,
    /// Mean time of a run, in seconds.
    execution_time: Option<f64>,
    compression_detected: bool,
    /// Number of measurements.
    trials: usize,
    /// Number of measurements and of failures that the agent caused. Other runs are not attempts.
    attempts: usize,
    /// Failures that the agent caused, as a share of its attempts, with a Wilson interval.
    failure_rate: EstimateView,
    /// Unit that the intervals resample: `session`, or `pull_request` if there are at least two.
    unit: &'static str,
    /// Number of pull requests among the measurements.
    pull_requests: usize,
    /// Loss of precision because sessions share pull requests. Null with one pull request.
    design_effect: Option<DesignEffectView>,
    /// Requested dimensions without a probe. They count neither for the score nor for passing.
    dimensions_without_probes: Vec<&'static str>,
    /// Overall score with its interval.
    score: EstimateView,
    /// Score after the break divided by the score before it (baseline).
    retention: EstimateView,
    /// Probability that a probe is answered correctly after the break, if it was answered correctly
    /// before. Over all probes.
    item_retention: EstimateView,
    /// Share of the fact sheet that free recall recovered, by the judge that may rank. Null on the
    /// leaderboard of one task, whose `result.json` has it.
    recall: EstimateView,
    /// Best rank that the data do not exclude. Null for a single trial.
    rank_low: Option<usize>,
    /// Worst rank that the data do not exclude. Null for a single trial.
    rank_high: Option<usize>,
    /// Cause → number of runs that failed. Only the cause `agent` is a fault of the agent.
    failures: BTreeMap<String, usize>,
    /// Reason → number of void runs: they finished and are not measurements. No other figure of the row
    /// includes them.
    void: BTreeMap<String, usize>,
    /// Conditions that differ between the averaged runs, such as the version of the agent.
    differs: Vec<String>,
}

/// A mean with its 95 % interval.
#[derive(Serialize, ToSchema)]
pub(crate) struct EstimateView {
    mean: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

impl From<Estimate> for EstimateView {
    fn from(estimate: Estimate) -> Self {
        let Estimate { mean, low, high } = estimate;
        Self { mean, low, high }
    }
}

/// Loss of precision because sessions share pull requests.
#[derive(Serialize, ToSchema)]
pub(crate) struct DesignEffectView {
    /// Intraclass correlation of the scores within pull requests.
    icc: f64,
    /// Variance of the mean, divided by its variance with independent sessions.
    effect: f64,
    /// Number of independent sessions with the same precision.
    effective_n: f64,
}

/// Two ranked agents, compared by the overall scores of the sessions (task and trial) of both.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionComparisonView {
    a: String,
    b: String,
    /// Number of sessions that both agents have.
    sessions: usize,
    /// Unit that the interval resamples: `session` or `pull_request`.
    unit: &'static str,
    /// Number of these units.
    clusters: usize,
    /// Overall score of `a` minus that of `b`.
    difference: EstimateView,
    /// Whether the interval covers 0 or is missing. Then no difference may be claimed.
    tie: bool,
    /// Smallest difference that this number of units can detect (two-sided 5 %, power 80 %).
    smallest_detectable: Option<f64>,
}

impl From<Comparison> for SessionComparisonView {
    fn from(comparison: Comparison) -> Self {
        let Comparison {
            a,
            b,
            sessions,
            unit,
            clusters,
            difference,
            tie,
            smallest_detectable,
        } = comparison;
        Self {
            a,
            b,
            sessions,
            unit: unit.as_str(),
            clusters,
            difference: difference.into(),
            tie,
            smallest_detectable,
        }
    }
}

impl RankView {
    /// Returns the view of a row with the scores of the requested dimensions.
    pub(crate) fn new(row: Row, requested: &[Dimension]) -> Self {
        let scores = requested.iter().map(|dimension| {
            let score = row.scores.get(dimension).copied().flatten();
            (dimension.to_string(), score)
        });
        Self {
            rank: row.rank,
            why_unranked: row.why_unranked,
            scores: scores.collect(),
            agent: row.agent,
            status: if row.trials > 0 {
                RunStatus::Done
            } else {
                RunStatus::Error
            }
            .as_str(),
            overall_score: row.overall_score,
            passed: row.passed,
            execution_time: row.duration_ms.map(seconds),
            compression_detected: row.trials > 0,
            trials: row.trials,
            attempts: row.attempts,
            failure_rate: row.failure_rate.into(),
            unit: row.unit.as_str(),
            pull_requests: row.pull_requests,
            design_effect: row.design_effect.map(|design| DesignEffectView {
                icc: design.icc,
                effect: design.effect,
                effective_n: design.effective_n,
            }),
            dimensions_without_probes: row
                .dimensions_without_probes
                .iter()
                .map(|dimension| dimension.as_str())
                .collect(),
            score: row.score.into(),
            retention: row.retention.into(),
            item_retention: row.item_retention.into(),
            recall: row.recall.into(),
            rank_low: row.ranks.map(|ranks| ranks.low),
            rank_high: row.ranks.map(|ranks| ranks.high),
            failures: row.failures,
            void: row.void,
            differs: row.differs,
        }
    }
}

/// The best agent of a leaderboard.
pub(crate) struct Best {
    /// Name of the agent. `None` if several agents share the first rank.
    pub(crate) winner: Option<String>,
    pub(crate) score: Option<f64>,
    /// Whether the data exclude that another agent is better. `None` for single trials.
    pub(crate) is_clear: Option<bool>,
}

/// Returns the best agent of a leaderboard.
pub(crate) fn best(rows: &[RankView]) -> Best {
    let mut first = rows.iter().filter(|row| row.rank == Some(1));
    match (first.next(), first.next()) {
        (Some(only), None) if only.overall_score.is_some() => Best {
            winner: Some(only.agent.clone()),
            score: only.overall_score,
            is_clear: only.rank_high.map(|worst| worst == 1),
        },
        (several, _) => Best {
            winner: None,
            score: several.and_then(|row| row.overall_score),
            is_clear: None,
        },
    }
}

/// Returns the views of several rows.
pub(crate) fn views(rows: Vec<Row>, requested: &[Dimension]) -> Vec<RankView> {
    rows.into_iter()
        .map(|row| RankView::new(row, requested))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "no run takes 2^53 milliseconds")]
fn seconds(duration_ms: u64) -> f64 {
    duration_ms as f64 / 1000.0
}
