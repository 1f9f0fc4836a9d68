//! One run as leaderboards see it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::vocabulary::{FailureCause, RunStatus};
use entity::{RunId, TaskId, agent_run};
use evaluation::leaderboard::{NO_BREAK, Outcome, RunResult, UNKNOWN, why_void};
use evaluation::scoring::RunScore;
use serde_json::Value;

use super::recall::RankedRecall;
use crate::scores::ScoresByDimension;

/// State of a run, from which its [`Outcome`] follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    /// Progress of the run.
    pub status: RunStatus,
    /// Party responsible for a failure.
    pub failure_cause: Option<FailureCause>,
    /// Whether there is evidence of a break.
    pub compression_detected: bool,
    /// Whether the run is void.
    pub seal_broken: bool,
    /// Recorded reason of a void run: `tool_call`, `canary` or `compaction`.
    pub void_reason: Option<String>,
}

impl RunState {
    /// Returns whether the run is a measurement: it is done, had a break and kept its seal.
    pub fn is_measurement(&self) -> bool {
        self.outcome() == Outcome::Measured
    }

    /// Returns whether the run may have a score: it had a break and kept its seal.
    pub fn may_be_scored(&self) -> bool {
        self.compression_detected && !self.seal_broken
    }

    /// Returns the outcome of the run. Every leaderboard decides by it.
    pub fn outcome(&self) -> Outcome {
        let failed = |default: &'static str| Outcome::Failed {
            cause: self
                .failure_cause
                .map_or(default, FailureCause::as_str)
                .to_owned(),
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

    /// Returns the reason why the run is not a measurement, or `None` if it is one.
    pub fn reason_unranked(&self) -> Option<String> {
        match (self.status, self.outcome()) {
            (_, Outcome::Measured) => None,
            (_, Outcome::Void { why }) => Some(why),
            (RunStatus::Queued, _) => Some("it waits".to_owned()),
            (RunStatus::Cancelled, _) => Some("it was cancelled".to_owned()),
            (_, Outcome::Unfinished) => Some("it is not done yet".to_owned()),
            (_, Outcome::Failed { .. }) => Some(match self.failure_cause {
                Some(cause) => format!("it failed ({cause})"),
                None => "it failed".to_owned(),
            }),
        }
    }
}

impl From<&agent_run::Model> for RunState {
    fn from(run: &agent_run::Model) -> Self {
        Self {
            status: run.status,
            failure_cause: run.failure_cause,
            compression_detected: run.compression_detected,
            seal_broken: run.seal_broken,
            void_reason: run.stats["void_reason"].as_str().map(str::to_owned),
        }
    }
}

/// One run as leaderboards see it, whether it was loaded from rows or from a result document.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedRun {
    /// Id of the run.
    pub id: RunId,
    /// Task of the run.
    pub task: TaskId,
    /// Agent with its parameter, as requested.
    pub agent: String,
    /// Number of the trial, from 1.
    pub trial: u32,
    /// State from which the outcome follows.
    pub state: RunState,
    /// Name of the pull request, the same in every task on it.
    pub pull_request: String,
    /// Whether the agent asked a model stub.
    pub model_stub: bool,
    /// Version of the instrument that measured the run, if it got far enough to have one.
    pub instrument_version: Option<String>,
    /// Whether the probes are those of a question bank that came with the request.
    pub imported_probes: bool,
    /// Conditions that must be equal in all runs that are averaged.
    pub manifest: BTreeMap<String, String>,
    /// Scores after the first break.
    pub scores: ScoresByDimension,
    /// Mean score of the dimensions asked for.
    pub overall_score: Option<f64>,
    /// Whether enough dimensions reached the pass mark.
    pub passed: Option<bool>,
    /// Free recall by the judge that may rank, if there is one.
    pub recall: Option<RankedRecall>,
    /// Wall time from the start of the first attempt to the end.
    pub duration_ms: Option<u64>,
}

impl RankedRun {
    /// Returns the input of the leaderboard. Runs of different agents are compared within `session`.
    pub(super) fn into_result(self, session: String) -> RunResult {
        RunResult {
            agent: self.agent,
            trial: self.trial,
            pull_request: self.pull_request,
            session,
            outcome: self.state.outcome(),
            recall: self.recall.map(|recall| recall.value),
            score: RunScore {
                dimensions: self.scores,
                overall_score: self.overall_score,
                passed: self.passed,
            },
            manifest: self.manifest,
            duration_ms: self.duration_ms,
        }
    }
}

/// Returns the wall time between the start of the first attempt and the end.
pub fn duration_ms(
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
) -> Option<u64> {
    let elapsed = completed_at? - started_at?;
    u64::try_from(elapsed.num_milliseconds()).ok()
}

/// Returns the fields of a stored manifest as text.
pub fn manifest_fields(manifest: Option<&Value>) -> BTreeMap<String, String> {
    let fields = manifest.and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        })
        .collect()
}
