//! `/api/v1/tasks/{id}/leaderboard`: the agents of one task, best first.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use domain::vocabulary::Dimension;
use results::ranking::{RankedRun, RunRow, TaskRow, UnrankedRun, task_leaderboard};
use results::scores::StoredScore;
use sea_orm::{FromQueryResult, QuerySelect};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::Path;
use crate::leaderboards::view::{Best, RankView, SessionComparisonView, best, views};
use crate::state::ApiState;
use crate::tenancy::{self, TaskSummary};

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_leaderboard))
}

/// The agents of one task. Only measurements are ranked.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeaderboardView {
    task_id: Uuid,
    leaderboard: Vec<RankView>,
    /// Runs that are not measurements, each with its reason.
    unranked: Vec<UnrankedView>,
    /// Agents that are not ranked: no run is a measurement, or too many of their attempts failed.
    unranked_agents: Vec<RankView>,
    /// Each pair of ranked agents, compared by the overall scores of the trials of both.
    comparisons: Vec<SessionComparisonView>,
    /// Conditions that differ between ranked agents, other than their own versions and models.
    differs: Vec<String>,
}

/// A run that is not a measurement.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnrankedView {
    agent: String,
    trial: u32,
    status: String,
    /// Reason, for people.
    reason: String,
}

impl From<UnrankedRun> for UnrankedView {
    fn from(run: UnrankedRun) -> Self {
        let UnrankedRun {
            agent,
            trial,
            status,
            reason,
        } = run;
        Self {
            agent,
            trial,
            status: status.to_string(),
            reason,
        }
    }
}

/// Ranks the agents of a task.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/leaderboard", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The agents, best first", body = LeaderboardView),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn show_leaderboard(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<LeaderboardView>, ApiError> {
    let database = &state.platform.database;
    let task = tenancy::task(database, &caller, &id)
        .await
        .map_err(|error| {
            if matches!(error, ApiError::NotFound(_)) {
                ApiError::NotFound("Task not found or no agent runs available".to_owned())
            } else {
                error
            }
        })?;
    Ok(Json(leaderboard_of(&state, &task).await?))
}

/// Returns the leaderboard of a task.
pub(crate) async fn leaderboard_of(
    state: &ApiState,
    task: &TaskSummary,
) -> Result<LeaderboardView, ApiError> {
    let query = tenancy::measured_runs_of(task).select_only();
    let rows = RunRow::select(query)
        .columns(StoredScore::COLUMNS)
        .into_model::<ScoredRunRow>()
        .all(&state.platform.database)
        .await
        .map_err(ApiError::database("listing runs and scores"))?;
    let requested: Vec<Dimension> = serde_json::from_value(task.rubric.clone())
        .map_err(ApiError::internal("reading the rubric of a task"))?;
    let ranking = task_leaderboard(ranked_runs(task, rows), task.pass_mark, task.seed);
    Ok(LeaderboardView {
        task_id: task.id.0,
        leaderboard: views(ranking.board.ranked, &requested),
        unranked: ranking.unranked.into_iter().map(Into::into).collect(),
        unranked_agents: views(ranking.board.unranked, &requested),
        comparisons: ranking
            .board
            .comparisons
            .into_iter()
            .map(Into::into)
            .collect(),
        differs: ranking.board.differs,
    })
}

impl LeaderboardView {
    /// Returns the best agent.
    pub(crate) fn best(&self) -> Best {
        best(&self.leaderboard)
    }
}

/// A run with its score in one dimension, if it has one.
#[derive(FromQueryResult)]
struct ScoredRunRow {
    #[sea_orm(nested)]
    run: RunRow,
    #[sea_orm(nested)]
    score: Option<StoredScore>,
}

/// Merges the rows of each run. Rows of the same run are adjacent.
fn ranked_runs(task: &TaskSummary, rows: Vec<ScoredRunRow>) -> Vec<RankedRun> {
    let task = TaskRow {
        pr_url: task.pr_url.clone(),
        base_sha: task.base_sha.clone(),
        head_sha: task.head_sha.clone(),
        imported_probes: task.imported_probes,
    };
    let mut runs: Vec<RankedRun> = Vec::new();
    for ScoredRunRow { run, score } in rows {
        if runs.last().is_none_or(|last| last.id != run.id) {
            runs.push(run.into_ranked(&task, BTreeMap::new()));
        }
        if let (Some(run), Some(score)) = (runs.last_mut(), score) {
            run.scores.insert(score.dimension, score.figures);
        }
    }
    runs
}
