//! The leaderboard of one task.

use domain::vocabulary::RunStatus;
use evaluation::leaderboard::{Board, leaderboard};

use super::run::RankedRun;

/// The agents of a task.
#[derive(Clone, Debug)]
pub struct TaskLeaderboard {
    /// Ranked agents, unranked agents and their comparisons.
    pub board: Board,
    /// Runs that are not measurements.
    pub unranked: Vec<UnrankedRun>,
}

/// A run that is not a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnrankedRun {
    /// Agent with its parameter, as requested.
    pub agent: String,
    /// Number of the trial, from 1.
    pub trial: u32,
    /// Progress of the run.
    pub status: RunStatus,
    /// Reason, for people.
    pub reason: String,
}

/// Ranks the agents of one task. `seed` is the seed of the task and fixes the resampling.
pub fn task_leaderboard(
    runs: impl IntoIterator<Item = RankedRun>,
    pass_mark: f64,
    seed: i64,
) -> TaskLeaderboard {
    let mut unranked = Vec::new();
    let mut results = Vec::new();
    for run in runs {
        if let Some(reason) = run.state.reason_unranked() {
            unranked.push(UnrankedRun {
                agent: run.agent.clone(),
                trial: run.trial,
                status: run.state.status,
                reason,
            });
        }
        let session = run.trial.to_string();
        results.push(run.into_result(session));
    }
    TaskLeaderboard {
        board: leaderboard(&results, pass_mark, seed.cast_unsigned()),
        unranked,
    }
}
