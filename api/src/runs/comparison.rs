//! `/api/v1/tasks/{id}/comparison`: the agents of a task side by side.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::vocabulary::{RunStatus, TaskStatus};
use entity::agent_run;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::Path;
use crate::leaderboards::task::leaderboard_of;
use crate::state::ApiState;
use crate::tenancy;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(compare_agents))
}

/// The agents of a task side by side.
#[derive(Serialize, ToSchema)]
pub(crate) struct ComparisonView {
    task_id: Uuid,
    pr_url: String,
    repo: String,
    pr_number: Option<i64>,
    #[schema(value_type = String)]
    status: TaskStatus,
    /// By agent: its newest trial.
    agents: BTreeMap<String, ComparedView>,
    summary: SummaryView,
    /// Agent with the best score. Null if nothing was measured or several agents are equal.
    winner: Option<String>,
    /// Score of the winner. Null if nothing was measured.
    best_score: Option<f64>,
    /// Whether the data exclude that another agent is better. Null for single trials.
    winner_is_clear: Option<bool>,
}

/// The newest trial of an agent.
#[derive(Serialize, ToSchema)]
pub(crate) struct ComparedView {
    agent: String,
    trial: i32,
    #[schema(value_type = String)]
    status: RunStatus,
    #[schema(value_type = Object)]
    stats: Value,
    #[schema(value_type = Object)]
    milestones: Value,
    error_message: Option<String>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    metrics: ComparedMetrics,
}

/// Measured values. Unknown values are null.
#[derive(Serialize, ToSchema)]
pub(crate) struct ComparedMetrics {
    total_tokens: Option<i64>,
    /// Whether a limit of turns, time, tokens or money ended it.
    hit_limit: bool,
    compression_detected: bool,
    deep_dive_iterations: Option<i64>,
    /// Trigger of the first break, as the agent's program reports it. Null without a break.
    detection_method: Option<String>,
    overall_score: Option<f64>,
}

/// Number of runs by status.
#[derive(Serialize, ToSchema)]
pub(crate) struct SummaryView {
    total_agents: usize,
    completed: usize,
    failed: usize,
    running: usize,
    cancelled: usize,
}

/// Compares the agents of a task. The winner has the best score, as on the leaderboard.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/comparison", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The comparison", body = ComparisonView),
        (status = 404, description = "The task does not exist", body = ErrorBody),
        (status = 422, description = "The id is invalid", body = ErrorBody)))]
async fn compare_agents(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ComparisonView>, ApiError> {
    let database = &api.platform.database;
    let task = tenancy::task(database, &caller, &id).await?;
    // Sorted by agent and trial, so the newest trial replaces older ones.
    let mut newest: BTreeMap<String, agent_run::Model> = BTreeMap::new();
    for run in tenancy::runs_of(&task)
        .all(database)
        .await
        .map_err(ApiError::database("listing runs"))?
    {
        newest.insert(run.agent.clone(), run);
    }
    let count =
        |wanted: fn(RunStatus) -> bool| newest.values().filter(|run| wanted(run.status)).count();
    let summary = SummaryView {
        total_agents: newest.len(),
        completed: count(|status| status == RunStatus::Done),
        failed: count(|status| status == RunStatus::Error),
        running: count(|status| !status.is_final()),
        cancelled: count(|status| status == RunStatus::Cancelled),
    };
    let best = leaderboard_of(&api, &task).await?.best();
    Ok(Json(ComparisonView {
        task_id: task.id.0,
        pr_url: task.pr_url,
        repo: task.repo,
        pr_number: task.pr_number,
        status: task.status,
        agents: newest
            .into_iter()
            .map(|(agent, run)| (agent, run.into()))
            .collect(),
        summary,
        winner: best.winner,
        best_score: best.score,
        winner_is_clear: best.is_clear,
    }))
}

impl From<agent_run::Model> for ComparedView {
    fn from(run: agent_run::Model) -> Self {
        // Programs of the first service wrote numbers as text.
        let number = |name: &str| {
            let value = run.stats.get(name)?;
            value.as_i64().or_else(|| value.as_str()?.parse().ok())
        };
        let first_break = run.breaks.get(0).and_then(|first| first.get("trigger"));
        let metrics = ComparedMetrics {
            total_tokens: number("total_tokens"),
            hit_limit: run.failure_cause == Some(domain::vocabulary::FailureCause::Budget),
            compression_detected: run.compression_detected,
            deep_dive_iterations: number("deep_dive_iterations").or_else(|| number("turns")),
            detection_method: first_break.and_then(Value::as_str).map(str::to_owned),
            overall_score: run.overall_score,
        };
        Self {
            agent: run.agent,
            trial: run.trial,
            status: run.status,
            stats: run.stats,
            milestones: run.milestones,
            error_message: run.error_message,
            started_at: run.started_at,
            completed_at: run.completed_at,
            metrics,
        }
    }
}
