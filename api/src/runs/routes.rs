//! `/api/v1/tasks/{id}/agents`: the runs of a task.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use entity::{RunId, agent_run, artifact, score};
use results::scores::StoredScore;
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::artifacts::routes::download_url;
use crate::caller::Caller;
use crate::http::error::Problem;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{Path, Query};
use crate::runs::dimension_view::DimensionView;
use crate::runs::lookup::{read_trial, run_of};
use crate::state::ApiState;
use crate::tenancy;
use crate::tenancy::TaskSummary;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_runs))
        .routes(routes!(show_run))
}

/// One trial of one agent. Unknown values are null.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunView {
    id: Uuid,
    task_id: Uuid,
    agent: String,
    /// From 1.
    trial: i32,
    /// `queued`, `running`, `judging`, `done`, `error` or `cancelled`.
    status: String,
    /// Current phase of a run in progress.
    phase: Option<String>,
    #[schema(value_type = Object)]
    milestones: Value,
    /// The files of the run, and where to fetch them.
    artifacts: BTreeMap<String, String>,
    #[schema(value_type = Object)]
    stats: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    error_message: Option<String>,
    retry_count: i32,
    /// `provider`, `agent`, `harness`, `cancelled` or `budget`.
    failure_cause: Option<String>,
    #[schema(value_type = Vec<Object>)]
    breaks: Value,
    compression_detected: bool,
    seal_broken: bool,
    /// Source of the baseline: `fork` (a copied conversation) or `split`.
    baseline: Option<String>,
    agent_version: Option<String>,
    /// Model that the agent uses. Null if only its program knows it.
    model: Option<String>,
    overall_score: Option<f64>,
    passed: Option<bool>,
    /// The figures of the first break, by dimension.
    dimensions: BTreeMap<String, DimensionView>,
}

/// Artifacts and scores of a run, from other tables.
#[derive(Default)]
struct RunRecords {
    artifacts: Vec<artifact::Model>,
    scores: Vec<StoredScore>,
}

impl RunView {
    fn new(run: agent_run::Model, records: RunRecords) -> Self {
        let agent_run::Model {
            id,
            task_id,
            agent,
            trial,
            status,
            phase,
            milestones,
            stats,
            breaks,
            compression_detected,
            seal_broken,
            baseline,
            checkpoint: _,
            agent_version,
            model,
            manifest: _,
            retry_count,
            failure_cause,
            error_message,
            overall_score,
            passed,
            created_at,
            updated_at,
            started_at,
            completed_at,
        } = run;
        let artifacts = records
            .artifacts
            .into_iter()
            .map(|artifact| {
                let url = download_url(task_id, &agent, &artifact.name, Some(trial));
                (artifact.name, url)
            })
            .collect();
        let dimensions = records
            .scores
            .into_iter()
            .map(|score| (score.dimension.to_string(), score.figures.into()))
            .collect();
        Self {
            id: id.0,
            task_id: task_id.0,
            agent,
            trial,
            status: status.to_string(),
            phase,
            milestones,
            artifacts,
            stats,
            created_at,
            updated_at,
            started_at,
            completed_at,
            error_message,
            retry_count,
            failure_cause: failure_cause.map(|cause| cause.to_string()),
            breaks,
            compression_detected,
            seal_broken,
            baseline,
            agent_version,
            model,
            overall_score,
            passed,
            dimensions,
        }
    }
}

/// Lists the runs of a task: agents in the requested order, trials from 1.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/agents", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The runs", body = Vec<RunView>),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn list_runs(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Vec<RunView>>, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let mut runs = tenancy::runs_of(&task)
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing runs"))?;
    let order = agents_of(&task)?;
    runs.sort_by_key(|run| order.iter().position(|agent| *agent == run.agent));
    let mut records = records_by_run(&api, &task, None).await?;
    let views = runs.into_iter().map(|run| {
        let own = records.remove(&run.id).unwrap_or_default();
        RunView::new(run, own)
    });
    Ok(Json(views.collect()))
}

/// Shows a run of an agent: the newest trial, or the given one.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/agents/{agent}", tag = "tasks",
    params(
        ("task_id" = Uuid, Path),
        ("agent" = String, Path),
        ("trial" = Option<i32>, Query, minimum = 1, description = "Number of the trial, from 1. By default the newest")),
    responses(
        (status = 200, description = "The run", body = RunView),
        (status = 404, description = "The task or run does not exist", body = ErrorBody),
        (status = 422, description = "The agent does not exist", body = ErrorBody)))]
async fn show_run(
    State(api): State<ApiState>,
    caller: Caller,
    Path((id, agent)): Path<(String, String)>,
    Query(mut query): Query,
) -> Result<Json<RunView>, ApiError> {
    let trial = read_trial(&mut query);
    query.finish()?;
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let Some(run) = run_of(&api, &task, &agent, trial).await? else {
        let registry = api.agents.load().await?;
        if registry.accepts(&agent) || agents_of(&task)?.contains(&agent) {
            return Err(ApiError::no_run(&agent));
        }
        let loc = vec!["path".into(), "agent".into()];
        let problem = Problem::not_one_of(loc, &registry.names(), agent.into());
        return Err(ApiError::Invalid(vec![problem]));
    };
    let mut records = records_by_run(&api, &task, Some(run.id)).await?;
    let own = records.remove(&run.id).unwrap_or_default();
    Ok(Json(RunView::new(run, own)))
}

/// Returns the agents of a task in the requested order.
fn agents_of(task: &TaskSummary) -> Result<Vec<String>, ApiError> {
    serde_json::from_value(task.agents.clone())
        .map_err(ApiError::internal("reading the agents of a task"))
}

/// Loads artifacts and scores by run, with two queries for any number of runs.
async fn records_by_run(
    api: &ApiState,
    task: &TaskSummary,
    only: Option<RunId>,
) -> Result<HashMap<RunId, RunRecords>, ApiError> {
    let mut artifacts = tenancy::artifacts_of(task).filter(artifact::Column::RunId.is_not_null());
    let mut scores = tenancy::scores_of(task);
    if let Some(run) = only {
        artifacts = artifacts.filter(artifact::Column::RunId.eq(run));
        scores = scores.filter(score::Column::RunId.eq(run));
    }
    let database = &api.platform.database;
    let artifacts = artifacts
        .all(database)
        .await
        .map_err(ApiError::database("listing artifacts"))?;
    let scores = scores
        .select_only()
        .columns(StoredScore::COLUMNS)
        .into_model::<StoredScore>()
        .all(database)
        .await
        .map_err(ApiError::database("listing scores"))?;
    let mut records: HashMap<RunId, RunRecords> = HashMap::new();
    for artifact in artifacts {
        if let Some(run) = artifact.run_id {
            records.entry(run).or_default().artifacts.push(artifact);
        }
    }
    for score in scores {
        records.entry(score.run_id).or_default().scores.push(score);
    }
    Ok(records)
}
