//! Rows and comparisons of a leaderboard in a document.

use std::collections::BTreeMap;

use evaluation::leaderboard::{Estimate, Row};
use evaluation::statistics::{DesignEffect, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One agent on a leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowPart {
    /// Rank, from 1; agents with equal scores share a rank. Null only in `unranked_agents`.
    pub rank: Option<usize>,
    /// Reason why the agent is not ranked.
    #[serde(default)]
    pub why_unranked: Option<String>,
    pub agent: String,
    /// Number of measurements: the runs that count.
    pub trials: usize,
    /// Measurements and failures caused by the agent. Other failures are not attempts of the agent.
    #[serde(default)]
    pub attempts: Option<usize>,
    /// Failures caused by the agent as a share of its attempts, with Wilson's 95 % interval.
    #[serde(default)]
    pub failure_rate: Estimate,
    /// Unit of the resampling: the `session`, or the `pull_request` as soon as there are two.
    #[serde(default)]
    pub unit: Unit,
    /// Number of pull requests with measurements.
    #[serde(default)]
    pub pull_requests: Option<usize>,
    /// Loss of information because sessions share their pull requests; null for one pull request.
    #[serde(default)]
    pub design_effect: Option<DesignEffect>,
    pub overall_score: Option<f64>,
    /// Dimension → mean score after the break.
    pub scores: BTreeMap<String, Option<f64>>,
    /// Requested dimensions without a probe. They count neither in the overall score nor among the
    /// dimensions to pass.
    #[serde(default)]
    pub dimensions_without_probes: Vec<String>,
    /// The overall score with its 95 % interval.
    #[serde(default)]
    pub score: Estimate,
    pub retention: Estimate,
    /// P(right after | right before), with its 95 % interval.
    #[serde(default)]
    pub item_retention: Estimate,
    /// Best rank that the data do not exclude, by pairwise differences at 95 % (Bonferroni over an
    /// agent's comparisons); null with a single trial.
    #[serde(default)]
    pub rank_low: Option<usize>,
    /// Worst such rank.
    #[serde(default)]
    pub rank_high: Option<usize>,
    /// Mean recall of the jury, or of the deterministic judge; null if no judge may rank.
    #[serde(default)]
    pub recall: Option<f64>,
    /// The same with its 95 % interval.
    #[serde(default)]
    pub free_recall: Estimate,
    /// Cause → runs that ended without a measurement. Only `agent` counts against the agent.
    #[serde(default)]
    pub failures: BTreeMap<String, usize>,
    /// Reason → void runs: they finished, are not measurements, and are in no other figure of the
    /// row.
    #[serde(default)]
    pub void: BTreeMap<String, usize>,
    /// Conditions that differ between the averaged runs, such as `agent_version`.
    #[serde(default)]
    pub differs: Vec<String>,
    pub passed: bool,
}

impl From<Row> for RowPart {
    fn from(row: Row) -> Self {
        let names = row.dimensions_without_probes.iter();
        Self {
            dimensions_without_probes: names.map(ToString::to_string).collect(),
            scores: row
                .scores
                .into_iter()
                .map(|(dimension, score)| (dimension.to_string(), score))
                .collect(),
            rank: row.rank,
            why_unranked: row.why_unranked,
            agent: row.agent,
            trials: row.trials,
            attempts: Some(row.attempts),
            failure_rate: row.failure_rate,
            unit: row.unit,
            pull_requests: Some(row.pull_requests),
            design_effect: row.design_effect,
            overall_score: row.overall_score,
            score: row.score,
            retention: row.retention,
            item_retention: row.item_retention,
            rank_low: row.ranks.map(|ranks| ranks.low),
            rank_high: row.ranks.map(|ranks| ranks.high),
            recall: row.recall.mean,
            free_recall: row.recall,
            failures: row.failures,
            void: row.void,
            differs: row.differs,
            passed: row.passed,
        }
    }
}

/// Two agents on the same probes after the break.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonPart {
    pub a: String,
    pub b: String,
    /// Probes that both were asked in the same trial.
    pub pairs: usize,
    /// Trials that both ran.
    pub clusters: usize,
    /// Mean grade of `a` minus mean grade of `b`, with its 95 % interval.
    pub difference: Estimate,
    /// Whether the difference is undecided: the interval covers 0, or there is none.
    pub tie: bool,
    /// Smallest difference that so many clusters could have shown (two-sided 5 %, power 80 %).
    pub smallest_detectable: Option<f64>,
}
