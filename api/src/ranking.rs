//! What leaderboards have in common: from rows of the database to ranked agents.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use entity::status::{Dimension, FailureCause, RunStatus};
use entity::{RunId, agent_run, score};
use evaluation::leaderboard::{Estimate, Row, RunResult};
use evaluation::probe;
use evaluation::scoring::{DimensionScore, RunScore};
use sea_orm::FromQueryResult;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One agent over all its trials that count.
#[derive(Serialize, ToSchema)]
pub(crate) struct RankView {
    /// From 1; equal scores share a rank.
    rank: usize,
    agent: String,
    #[schema(value_type = String)]
    status: &'static str,
    overall_score: Option<f64>,
    /// Mean score after the break, by dimension asked for.
    scores: BTreeMap<String, Option<f64>>,
    passed: bool,
    /// Mean time of a run, in seconds.
    execution_time: Option<f64>,
    compression_detected: bool,
    /// How many runs count.
    trials: usize,
    /// The overall score with its interval; resampled by run.
    score: EstimateView,
    retention: EstimateView,
    /// P(right after | right before), over all probes.
    item_retention: EstimateView,
    /// The ranks that the data do not exclude; null for a single trial.
    rank_low: Option<usize>,
    rank_high: Option<usize>,
    /// Cause → runs that ended without a measurement. Only `agent` speaks of the agent.
    failures: BTreeMap<String, usize>,
    /// What is not the same in all runs that were averaged, such as the agent's version.
    differs: Vec<String>,
}

/// A mean and its 95 % interval.
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

impl RankView {
    pub(crate) fn new(row: Row, asked: &[Dimension]) -> Self {
        let scores = asked.iter().map(|dimension| {
            let score = row.scores.get(&measured(*dimension)).copied().flatten();
            (dimension.to_string(), score)
        });
        Self {
            rank: row.rank,
            scores: scores.collect(),
            agent: row.agent,
            status: RunStatus::Done.as_str(),
            overall_score: row.overall_score,
            passed: row.passed,
            execution_time: row.duration_ms.map(seconds),
            compression_detected: true,
            trials: row.trials,
            score: row.score.into(),
            retention: row.retention.into(),
            item_retention: row.item_retention.into(),
            rank_low: row.ranks.map(|ranks| ranks.low),
            rank_high: row.ranks.map(|ranks| ranks.high),
            failures: row.failures,
            differs: row.differs,
        }
    }
}

/// Who is first.
pub(crate) struct Best {
    /// None where several are.
    pub(crate) winner: Option<String>,
    pub(crate) score: Option<f64>,
    /// Whether the data exclude that another agent is better; none where they cannot tell.
    pub(crate) is_clear: Option<bool>,
}

/// Who is first on a leaderboard.
pub(crate) fn best(rows: &[RankView]) -> Best {
    let mut first = rows.iter().filter(|row| row.rank == 1);
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

/// What a leaderboard needs of a run's row.
#[derive(Clone, FromQueryResult)]
pub(crate) struct MeasuredRun {
    pub(crate) id: RunId,
    pub(crate) agent: String,
    pub(crate) trial: i32,
    pub(crate) status: RunStatus,
    pub(crate) failure_cause: Option<FailureCause>,
    pub(crate) compression_detected: bool,
    pub(crate) seal_broken: bool,
    pub(crate) overall_score: Option<f64>,
    pub(crate) passed: Option<bool>,
    pub(crate) manifest: Option<Value>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) model: Option<String>,
}

impl From<agent_run::Model> for MeasuredRun {
    fn from(run: agent_run::Model) -> Self {
        Self {
            id: run.id,
            agent: run.agent,
            trial: run.trial,
            status: run.status,
            failure_cause: run.failure_cause,
            compression_detected: run.compression_detected,
            seal_broken: run.seal_broken,
            overall_score: run.overall_score,
            passed: run.passed,
            manifest: run.manifest,
            started_at: run.started_at,
            completed_at: run.completed_at,
            model: run.model,
        }
    }
}

/// What a leaderboard needs to know of a run; `cluster` is what it shares with runs of other agents.
pub(crate) fn run_result(
    run: &MeasuredRun,
    dimensions: BTreeMap<probe::Dimension, DimensionScore>,
    cluster: String,
) -> RunResult {
    let fields = run.manifest.as_ref().and_then(|value| value.as_object());
    let manifest = fields
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        })
        .collect();
    RunResult {
        agent: run.agent.clone(),
        trial: run.trial.unsigned_abs(),
        cluster,
        counts: run.status == RunStatus::Done && run.compression_detected && !run.seal_broken,
        failure: run.failure_cause.map(|cause| cause.to_string()),
        score: RunScore {
            dimensions,
            overall_score: run.overall_score,
            passed: run.passed,
        },
        manifest,
        duration_ms: duration_ms(run),
    }
}

fn duration_ms(run: &MeasuredRun) -> Option<u64> {
    let lasted = run.completed_at? - run.started_at?;
    u64::try_from(lasted.num_milliseconds()).ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 milliseconds are longer than any run"
)]
fn seconds(duration_ms: u64) -> f64 {
    duration_ms as f64 / 1000.0
}

pub(crate) fn figures(score: &score::Model) -> DimensionScore {
    DimensionScore {
        n: usize::try_from(score.n).unwrap_or(0),
        cold: score.cold,
        baseline: score.baseline,
        post: score.post,
        retention: score.retention,
        known: score.known.and_then(|known| usize::try_from(known).ok()),
        kept: score.kept.and_then(|kept| usize::try_from(kept).ok()),
        item_retention: score.item_retention,
        stale_rate: score.stale_rate,
        abstained_rate: score.abstained_rate,
        wrong_rate: score.wrong_rate,
    }
}

/// The stored word in the instrument's own vocabulary.
pub(crate) fn measured(dimension: Dimension) -> probe::Dimension {
    match dimension {
        Dimension::Ar => probe::Dimension::Ar,
        Dimension::Ttl => probe::Dimension::Ttl,
        Dimension::Lru => probe::Dimension::Lru,
        Dimension::Sf => probe::Dimension::Sf,
    }
}
