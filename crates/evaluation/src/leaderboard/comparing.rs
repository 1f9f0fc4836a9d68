//! Compares ranked agents: rank intervals, and all pairs by their sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::estimate::Estimate;
use super::row::Row;
use super::run_result::RunResult;
use crate::statistics::{Figure, Unit, compared, rank_intervals};

/// Two agents, compared by the overall scores of their common sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Comparison {
    pub a: String,
    pub b: String,
    /// Number of common sessions.
    pub sessions: usize,
    /// The resampled unit, and the number of clusters.
    pub unit: Unit,
    pub clusters: usize,
    /// The overall score of `a` minus that of `b`.
    pub difference: Estimate,
    /// The interval covers 0, or there is none.
    pub tie: bool,
    /// The smallest difference that this number of clusters could have shown (two-sided 5 %, power
    /// 80 %).
    pub smallest_detectable: Option<f64>,
}

fn figures(runs: &[&RunResult]) -> Vec<Figure> {
    runs.iter()
        .filter_map(|run| {
            Some(Figure {
                pull_request: run.pull_request.clone(),
                session: run.session.clone(),
                value: run.score.overall_score?,
            })
        })
        .collect()
}

/// Sets rank intervals, by overall score, for agents with more than one run.
pub(super) fn rank(rows: &mut [Row], runs: &[Vec<&RunResult>], seed: u64) {
    let figures: Vec<Vec<Figure>> = runs.iter().map(|own| figures(own)).collect();
    let found = rank_intervals(&figures, seed);
    for ((row, figures), ranks) in rows.iter_mut().zip(&figures).zip(found) {
        row.ranks = ranks.filter(|_| figures.len() > 1);
    }
}

/// Returns the comparisons of all pairs of agents, in the order of the leaderboard.
pub(super) fn compare(rows: &[Row], runs: &[Vec<&RunResult>], seed: u64) -> Vec<Comparison> {
    let agents: Vec<(&str, Vec<Figure>)> = rows
        .iter()
        .map(|row| row.agent.as_str())
        .zip(runs.iter().map(|own| figures(own)))
        .collect();
    let mut comparisons = Vec::new();
    for (at, (a, of_a)) in agents.iter().enumerate() {
        for (b, of_b) in &agents[at + 1..] {
            let Some((unit, found)) = compared(of_a, of_b, seed) else {
                continue;
            };
            comparisons.push(Comparison {
                a: (*a).to_owned(),
                b: (*b).to_owned(),
                sessions: found.pairs,
                unit,
                clusters: found.clusters,
                difference: Estimate::new(Some(found.mean), found.interval),
                tie: found.tie,
                smallest_detectable: found.smallest_detectable,
            });
        }
    }
    comparisons
}
