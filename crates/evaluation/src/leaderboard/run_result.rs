//! A run as the leaderboard reads it.

use std::collections::BTreeMap;

use crate::scoring::RunScore;

/// The input of the leaderboard for one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    pub agent: String,
    pub trial: u32,
    /// Name of the pull request, the same in every task on it. Intervals over several pull requests
    /// resample it.
    pub pull_request: String,
    /// The part that the run shares with runs of other agents, such as the task and the trial.
    /// Agents are compared within it. An agent has one run of each.
    pub session: String,
    pub outcome: Outcome,
    pub score: RunScore,
    /// Recall of free recall, by the judge that may rank. `None` without such a judge.
    pub recall: Option<f64>,
    /// Entries that must be the same in all averaged runs: name → value.
    pub manifest: BTreeMap<String, String>,
    pub duration_ms: Option<u64>,
}

/// Outcome of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The run finished, had a break, and kept its seal.
    Measured,
    /// The run failed without a measurement. The cause is [`AGENT`], `provider`, `harness`,
    /// `cancelled`, `budget`, or [`UNKNOWN`].
    Failed { cause: String },
    /// The run finished, but is not a measurement, for this reason.
    Void { why: String },
    /// The run is not finished.
    Unfinished,
}

/// The only cause of failures that is the agent's fault.
pub const AGENT: &str = "agent";

/// Returns the name of the pull request of a session. Changes of a local repository have no
/// address, so their two commits are the name, wherever the copy is.
pub fn pull_request_of(pr_url: &str, base: Option<&str>, head: Option<&str>) -> String {
    match (base, head) {
        (Some(base), Some(head)) if pr_url.starts_with("file:") => {
            format!("{base}...{head}")
        }
        _ => pr_url.to_owned(),
    }
}

/// Reason of a void run whose seal was broken by a tool call.
pub const SEAL_BROKEN: &str = "a tool was used where only memory was allowed";

/// Returns the reason of a void run in words. `reason` is the recorded code: `tool_call`, `canary`
/// or `compaction`. The oldest runs have none.
pub fn why_void(reason: Option<&str>) -> &'static str {
    match reason {
        Some("tool_call") => SEAL_BROKEN,
        Some("canary") => "a file was read where only memory was allowed",
        Some("compaction") => "its context was compacted while it was asked",
        Some(_) | None => "it was not asked from its memory alone",
    }
}

/// Reason of a void run without a break.
pub const NO_BREAK: &str = "there was no break of its context";

/// Cause of failures without a recorded cause.
pub const UNKNOWN: &str = "unknown";

pub(super) fn is_measured(run: &RunResult) -> bool {
    run.outcome == Outcome::Measured
}
