//! What leaderboards have in common: from rows of the database to ranked agents.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::vocabulary::{Dimension, FailureCause, RunStatus};
use entity::{RunId, agent_run};
use evaluation::leaderboard::{
    Comparison, Estimate, NO_BREAK, Outcome, Row, RunResult, UNKNOWN, why_void,
};
use evaluation::scoring::{DimensionScore, RunScore};
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, SimpleExpr};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One agent over all its trials that count.
#[derive(Serialize, ToSchema)]
pub(crate) struct RankView {
    /// From 1; equal scores share a rank. Null only in `unranked_agents`.
    rank: Option<usize>,
    /// Why it is not ranked: no run is a measurement, or more than half of its attempts failed.
    why_unranked: Option<String>,
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
    /// How many runs count: the measurements.
    trials: usize,
    /// Measurements, and failures that the agent caused. Nothing else is an attempt of the agent.
    attempts: usize,
    /// The failures that the agent caused, as a share of its attempts, with Wilson's interval.
    failure_rate: EstimateView,
    /// What the intervals resample: `session`, or `pull_request` as soon as there are two.
    unit: &'static str,
    /// Pull requests that the measurements stand on.
    pull_requests: usize,
    /// How much less the scores say because sessions share their pull requests; null on one.
    design_effect: Option<DesignEffectView>,
    /// Dimensions asked for that have no probe: neither part of the score nor of what is to be passed.
    dimensions_without_probes: Vec<&'static str>,
    /// The overall score with its interval.
    score: EstimateView,
    retention: EstimateView,
    /// P(right after | right before), over all probes.
    item_retention: EstimateView,
    /// What free recall recovered, by the judge that may rank; null on the board of one task, whose
    /// `result.json` has it.
    recall: EstimateView,
    /// The ranks that the data do not exclude; null for a single trial.
    rank_low: Option<usize>,
    rank_high: Option<usize>,
    /// Cause → runs that ended without a measurement. Only `agent` speaks of the agent.
    failures: BTreeMap<String, usize>,
    /// Reason → runs that came to their end and are no measurement, in no other figure of the row.
    void: BTreeMap<String, usize>,
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

/// How much less sessions say because they share their pull requests.
#[derive(Serialize, ToSchema)]
pub(crate) struct DesignEffectView {
    /// Intraclass correlation of the scores within pull requests.
    icc: f64,
    /// How many times larger the variance of the mean is than with independent sessions.
    effect: f64,
    /// So many independent sessions would say as much.
    effective_n: f64,
}

/// Two ranked agents by the overall scores of the sessions (task and trial) that both have.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionComparisonView {
    a: String,
    b: String,
    /// Sessions that both have.
    sessions: usize,
    /// What is resampled: `session` or `pull_request`.
    unit: &'static str,
    /// How many of it there are.
    clusters: usize,
    /// The overall score of `a` minus that of `b`.
    difference: EstimateView,
    /// The interval covers 0, or there is none: no difference may be claimed.
    tie: bool,
    /// The smallest difference that so many could have shown (two-sided 5 %, power 80 %).
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
    pub(crate) fn new(row: Row, asked: &[Dimension]) -> Self {
        let scores = asked.iter().map(|dimension| {
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
            design_effect: row.design_effect.map(|found| DesignEffectView {
                icc: found.icc,
                effect: found.effect,
                effective_n: found.effective_n,
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
    /// What broke its seal, as far as it was noted.
    pub(crate) void_reason: Option<String>,
}

/// The last field of [`MeasuredRun`], which is no column.
pub(crate) fn void_reason() -> SimpleExpr {
    Expr::cust(r#""agent_run"."stats" ->> 'void_reason'"#)
}

/// The columns of [`MeasuredRun`].
pub(crate) const RUN: [agent_run::Column; 13] = [
    agent_run::Column::Id,
    agent_run::Column::Agent,
    agent_run::Column::Trial,
    agent_run::Column::Status,
    agent_run::Column::FailureCause,
    agent_run::Column::CompressionDetected,
    agent_run::Column::SealBroken,
    agent_run::Column::OverallScore,
    agent_run::Column::Passed,
    agent_run::Column::Manifest,
    agent_run::Column::StartedAt,
    agent_run::Column::CompletedAt,
    agent_run::Column::Model,
];

impl MeasuredRun {
    /// What became of it.
    pub(crate) fn outcome(&self) -> Outcome {
        let failed = |otherwise: &str| Outcome::Failed {
            cause: self
                .failure_cause
                .map_or_else(|| otherwise.to_owned(), |cause| cause.to_string()),
        };
        let void = |why: &str| Outcome::Void {
            why: why.to_owned(),
        };
        match self.status {
            RunStatus::Queued | RunStatus::Running | RunStatus::Judging => Outcome::Unfinished,
            RunStatus::Error => failed(UNKNOWN),
            RunStatus::Cancelled => failed(FailureCause::Cancelled.as_str()),
            RunStatus::Done if self.seal_broken => void(why_void(self.void_reason.as_deref())),
            RunStatus::Done if !self.compression_detected => void(NO_BREAK),
            RunStatus::Done => Outcome::Measured,
        }
    }
}

/// What a leaderboard needs to know of a run; `session` is what it shares with runs of other agents.
pub(crate) fn run_result(
    run: &MeasuredRun,
    dimensions: BTreeMap<Dimension, DimensionScore>,
    pull_request: &str,
    session: String,
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
        pull_request: pull_request.to_owned(),
        session,
        outcome: run.outcome(),
        recall: None,
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
