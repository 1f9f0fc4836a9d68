//! Ranked agents held against each other: rank intervals, and every two of them by their sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Estimate, Row, RunResult};
use crate::statistics::{Figure, Unit, compared, rank_intervals};

/// Two agents by the overall scores of the sessions that both have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Comparison {
    pub a: String,
    pub b: String,
    /// Sessions that both have.
    pub sessions: usize,
    /// What is resampled, and how many of it there are.
    pub unit: Unit,
    pub clusters: usize,
    /// The overall score of `a` minus that of `b`.
    pub difference: Estimate,
    /// The interval covers 0, or there is none.
    pub tie: bool,
    /// The smallest difference that so many clusters could have shown (two-sided 5 %, power 80 %).
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

/// Gives rank intervals, by overall score, to agents with more than one run.
pub(super) fn rank(rows: &mut [Row], runs: &[Vec<&RunResult>], seed: u64) {
    let figures: Vec<Vec<Figure>> = runs.iter().map(|own| figures(own)).collect();
    let found = rank_intervals(&figures, seed);
    for ((row, figures), ranks) in rows.iter_mut().zip(&figures).zip(found) {
        row.ranks = ranks.filter(|_| figures.len() > 1);
    }
}

/// Every two agents, in the order of the board.
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
                difference: Estimate {
                    mean: Some(found.mean),
                    low: found.interval.map(|interval| interval.low),
                    high: found.interval.map(|interval| interval.high),
                },
                tie: found.tie,
                smallest_detectable: found.smallest_detectable,
            });
        }
    }
    comparisons
}
