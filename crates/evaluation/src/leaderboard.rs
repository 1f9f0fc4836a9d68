//! Ranks agents by their measurements, and reports the outcome of all other runs.

mod run_result;
mod estimate;
mod manifest;
mod row;
mod comparing;
mod judge;

use std::collections::BTreeMap;

pub use comparing::Comparison;
pub use estimate::{Estimate, estimate, estimate_of};
pub use judge::{JURY, Judge, RECALL_JUDGE, ranking_identity, ranking_judge};
pub use manifest::{GENERATED, IMPORTED, PROBES, RUBRIC};
pub use row::{Row, retention_estimate, run_retention};
pub use run_result::{
    AGENT, NO_BREAK, Outcome, RunResult, SEAL_BROKEN, UNKNOWN, pull_request_of, why_void,
};

use manifest::differs_between;
use run_result::is_measured;

/// The agents of one or several tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// Ranked agents, best first.
    pub ranked: Vec<Row>,
    /// Agents that cannot be ranked, by name, each with the reason.
    pub unranked: Vec<Row>,
    /// All pairs of ranked agents, compared by the overall scores of their common sessions.
    pub comparisons: Vec<Comparison>,
    /// Manifest entries that differ between ranked agents, except their own versions and models.
    pub differs: Vec<String>,
}

/// Builds the leaderboard of runs. Only measurements are ranked, best first. `seed` determines the
/// resampling.
///
/// Agents are ordered by overall score, then retention, then name. An agent without a figure comes
/// after all that have it. The retention of a run is the mean of its dimensions' retentions, where
/// defined. Intervals resample sessions, or pull requests if an agent's runs are of several.
///
/// A failure never becomes a score, because the missing score is unknown. It is reported beside the
/// score. An agent that failed more than half of its attempts is not ranked by the rest.
pub fn leaderboard(runs: &[RunResult], pass_mark: f64, seed: u64) -> Board {
    let mut by_agent: BTreeMap<&str, Vec<&RunResult>> = BTreeMap::new();
    for run in runs {
        // An unfinished run has no outcome yet.
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

/// Returns a score in steps of a billionth, so that rounding neither creates nor breaks a tie.
fn grain(score: Option<f64>) -> Option<i64> {
    score.map(|score| (score * 1e9).round() as i64)
}
