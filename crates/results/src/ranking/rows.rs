//! Columns that a leaderboard needs, and their conversion into [`RankedRun`].

use chrono::{DateTime, Utc};
use domain::vocabulary::{FailureCause, RunStatus};
use entity::{RunId, TaskId, agent_run, task};
use evaluation::leaderboard::pull_request_of;
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QuerySelect, Select};
use serde_json::Value;

use super::run::{RankedRun, RunState, duration_ms, manifest_fields};
use crate::scores::ScoresByDimension;

/// Suffix of a model's name that stands for a model stub.
const STUB_SUFFIX: &str = "@stub";

/// Field of a run's manifest with the version of the instrument.
pub(crate) const INSTRUMENT_VERSION_FIELD: &str = "instrument_version";

/// Columns of a run that a leaderboard needs.
#[derive(Clone, Debug, FromQueryResult)]
pub struct RunRow {
    /// Id of the run.
    pub id: RunId,
    /// Task of the run.
    pub task_id: TaskId,
    /// Agent with its parameter, as requested.
    pub agent: String,
    /// Number of the trial, from 1.
    pub trial: i32,
    /// Progress of the run.
    pub status: RunStatus,
    /// Party responsible for a failure.
    pub failure_cause: Option<FailureCause>,
    /// Whether there is evidence of a break.
    pub compression_detected: bool,
    /// Whether the run is void.
    pub seal_broken: bool,
    /// Mean score of the dimensions asked for.
    pub overall_score: Option<f64>,
    /// Whether enough dimensions reached the pass mark.
    pub passed: Option<bool>,
    /// Conditions that must be equal in all runs that are averaged.
    pub manifest: Option<Value>,
    /// Start of the first attempt.
    pub started_at: Option<DateTime<Utc>>,
    /// End of the run.
    pub completed_at: Option<DateTime<Utc>>,
    /// Model that the agent asks, as far as it is known.
    pub model: Option<String>,
    /// Recorded reason of a void run. It is a field of `stats` and not a column.
    pub void_reason: Option<String>,
}

impl RunRow {
    const COLUMNS: [agent_run::Column; 14] = [
        agent_run::Column::Id,
        agent_run::Column::TaskId,
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

    /// Adds the columns of a run to a query that already ends in `select_only`.
    pub fn select<E: EntityTrait>(query: Select<E>) -> Select<E> {
        query
            .columns(Self::COLUMNS)
            .column_as(void_reason(), "void_reason")
    }

    /// Returns the state from which the outcome of the run follows.
    pub fn state(&self) -> RunState {
        RunState {
            status: self.status,
            failure_cause: self.failure_cause,
            compression_detected: self.compression_detected,
            seal_broken: self.seal_broken,
            void_reason: self.void_reason.clone(),
        }
    }

    /// Returns the run as leaderboards see it, without free recall.
    pub fn into_ranked(self, task: &TaskRow, scores: ScoresByDimension) -> RankedRun {
        let manifest = manifest_fields(self.manifest.as_ref());
        let model = self.model.as_deref();
        RankedRun {
            state: self.state(),
            pull_request: task.pull_request(),
            model_stub: model.is_some_and(is_stub),
            instrument_version: manifest.get(INSTRUMENT_VERSION_FIELD).cloned(),
            imported_probes: task.imported_probes,
            manifest,
            scores,
            recall: None,
            duration_ms: duration_ms(self.started_at, self.completed_at),
            id: self.id,
            task: self.task_id,
            agent: self.agent,
            trial: self.trial.unsigned_abs(),
            overall_score: self.overall_score,
            passed: self.passed,
        }
    }
}

impl From<&agent_run::Model> for RunRow {
    fn from(run: &agent_run::Model) -> Self {
        Self {
            id: run.id,
            task_id: run.task_id,
            agent: run.agent.clone(),
            trial: run.trial,
            status: run.status,
            failure_cause: run.failure_cause,
            compression_detected: run.compression_detected,
            seal_broken: run.seal_broken,
            overall_score: run.overall_score,
            passed: run.passed,
            manifest: run.manifest.clone(),
            started_at: run.started_at,
            completed_at: run.completed_at,
            model: run.model.clone(),
            void_reason: run.stats["void_reason"].as_str().map(str::to_owned),
        }
    }
}

fn void_reason() -> SimpleExpr {
    Expr::cust(r#""agent_run"."stats" ->> 'void_reason'"#)
}

/// Returns whether a model's name stands for a model stub.
pub(crate) fn is_stub(model: &str) -> bool {
    model.ends_with(STUB_SUFFIX)
}

/// Columns of a task that a leaderboard needs.
#[derive(Clone, Debug, FromQueryResult)]
pub struct TaskRow {
    /// Address of the pull request.
    pub pr_url: String,
    /// Base commit, once it is resolved.
    pub base_sha: Option<String>,
    /// Head commit, once it is resolved.
    pub head_sha: Option<String>,
    /// Whether the probes are those of a question bank that came with the request.
    pub imported_probes: bool,
}

impl TaskRow {
    /// Adds the columns of a task to a query that joins the task and already ends in `select_only`.
    pub fn select<E: EntityTrait>(query: Select<E>) -> Select<E> {
        query
            .columns([
                task::Column::PrUrl,
                task::Column::BaseSha,
                task::Column::HeadSha,
            ])
            .column_as(task::Column::QuestionBank.is_not_null(), "imported_probes")
    }

    fn pull_request(&self) -> String {
        pull_request_of(
            &self.pr_url,
            self.base_sha.as_deref(),
            self.head_sha.as_deref(),
        )
    }
}

impl From<&task::Model> for TaskRow {
    fn from(task: &task::Model) -> Self {
        Self {
            pr_url: task.pr_url.clone(),
            base_sha: task.base_sha.clone(),
            head_sha: task.head_sha.clone(),
            imported_probes: task.question_bank.is_some(),
        }
    }
}
