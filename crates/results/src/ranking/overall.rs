//! The leaderboard over all tasks.

use std::collections::{BTreeMap, BTreeSet};

use entity::RunId;
use evaluation::INSTRUMENT_VERSION;
use evaluation::leaderboard::{Board, Outcome, RECALL_JUDGE, leaderboard};

use super::run::RankedRun;

/// Seed of the resampling, so that the same runs give the same intervals.
const SEED: u64 = 1;

/// Options of the leaderboard over all tasks.
#[derive(Clone, Copy, Debug)]
pub struct OverallOptions {
    /// Score that a dimension must reach to pass.
    pub pass_mark: f64,
    /// Whether runs that asked a model stub count.
    pub include_stub: bool,
}

/// The agents over all tasks.
#[derive(Clone, Debug)]
pub struct OverallLeaderboard {
    /// Ranked agents, unranked agents and their comparisons.
    pub board: Board,
    /// Number of tasks with at least one measurement.
    pub tasks: usize,
    /// Measurements with the names of their pull requests, in the order of the input.
    pub measured: Vec<(RunId, String)>,
    /// Reason → number of runs that were left out.
    pub left_out: BTreeMap<String, usize>,
}

/// Ranks agents over all tasks. Intervals resample pull requests as soon as there are two.
pub fn overall_leaderboard(
    runs: impl IntoIterator<Item = RankedRun>,
    options: &OverallOptions,
) -> OverallLeaderboard {
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut leave_out = |reason: &str| *left_out.entry(reason.to_owned()).or_default() += 1;
    let mut results = Vec::new();
    let mut tasks = BTreeSet::new();
    let mut measured = Vec::new();
    for mut run in runs {
        if let Some(reason) = exclusion(&run, options) {
            leave_out(reason);
            continue;
        }
        match run.state.outcome() {
            Outcome::Measured => {
                tasks.insert(run.task);
                measured.push((run.id, run.pull_request.clone()));
            }
            Outcome::Void { why } => leave_out(&why),
            Outcome::Unfinished => leave_out("it is not done"),
            // Each agent's row counts its failures.
            Outcome::Failed { .. } => {}
        }
        if let Some(recall) = &run.recall {
            // Tasks may have different judges.
            run.manifest
                .insert(RECALL_JUDGE.to_owned(), recall.judge.clone());
        }
        let session = format!("{}/{}", run.task, run.trial);
        results.push(run.into_result(session));
    }
    OverallLeaderboard {
        board: leaderboard(&results, options.pass_mark, SEED),
        tasks: tasks.len(),
        measured,
        left_out,
    }
}

/// Returns the reason why a run is not part of the leaderboard at all, not even as a failure.
fn exclusion(run: &RankedRun, options: &OverallOptions) -> Option<&'static str> {
    let version = run.instrument_version.as_deref();
    let other_version = match run.state.outcome() {
        // A run that failed at its start, or has not started, has no version and no figures.
        Outcome::Failed { .. } | Outcome::Unfinished => {
            version.is_some_and(|version| version != INSTRUMENT_VERSION)
        }
        Outcome::Measured | Outcome::Void { .. } => version != Some(INSTRUMENT_VERSION),
    };
    if run.model_stub && !options.include_stub {
        Some("the model was a stub")
    } else if other_version {
        Some("measured by another version of the instrument")
    } else if run.imported_probes {
        Some("its probes are those of an imported question bank")
    } else {
        None
    }
}
