//! `/api/v1/tasks/{id}/leaderboard`: the agents of a task, best first.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use entity::status::{Dimension, RunStatus};
use entity::{RunId, agent_run, score, task};
use evaluation::leaderboard::leaderboard;
use evaluation::probe;
use evaluation::scoring::DimensionScore;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::fields::Path;
use crate::ranking::{Best, RankView, best, figures, measured, run_result};
use crate::scope;
use crate::state::{ApiState, Running};

pub(super) fn router() -> OpenApiRouter<Running> {
    OpenApiRouter::new().routes(routes!(show_leaderboard))
}

/// The agents of a task. Only runs that are a measurement are ranked.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeaderboardView {
    task_id: Uuid,
    leaderboard: Vec<RankView>,
    /// The runs that are not part of it, and why.
    unranked: Vec<UnrankedView>,
}

/// A run that is not ranked.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnrankedView {
    agent: String,
    trial: i32,
    status: String,
    /// Why, for people.
    reason: String,
}

/// Ranks the agents of a task.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/leaderboard", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "Best first", body = LeaderboardView),
        (status = 404, description = "There is no such task", body = ErrorBody)))]
async fn show_leaderboard(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<LeaderboardView>, ApiError> {
    let database = &api.platform.database;
    let task = scope::task(database, &caller, &id).await.map_err(|error| {
        if matches!(error, ApiError::NotFound(_)) {
            ApiError::NotFound("Task not found or no agent runs available".to_owned())
        } else {
            error
        }
    })?;
    Ok(Json(ranking_of(&api, &task).await?))
}

/// The leaderboard of a task.
pub(super) async fn ranking_of(
    api: &ApiState,
    task: &task::Model,
) -> Result<LeaderboardView, ApiError> {
    let database = &api.platform.database;
    let runs = scope::runs_of(task)
        .all(database)
        .await
        .map_err(ApiError::database("listing runs"))?;
    let scores = scope::scores_of(task)
        .all(database)
        .await
        .map_err(ApiError::database("listing scores"))?;
    let asked: Vec<Dimension> = serde_json::from_value(task.rubric.clone())
        .map_err(ApiError::internal("reading the rubric of a task"))?;
    Ok(rank(task, &asked, runs, scores))
}

impl LeaderboardView {
    /// Who is first.
    pub(super) fn best(&self) -> Best {
        best(&self.leaderboard)
    }
}

fn rank(
    task: &task::Model,
    asked: &[Dimension],
    runs: Vec<agent_run::Model>,
    scores: Vec<score::Model>,
) -> LeaderboardView {
    let mut by_run: HashMap<RunId, BTreeMap<probe::Dimension, DimensionScore>> = HashMap::new();
    for score in scores {
        by_run
            .entry(score.run_id)
            .or_default()
            .insert(measured(score.dimension), figures(&score));
    }
    let mut results = Vec::new();
    let mut unranked = Vec::new();
    for run in runs {
        match why_unranked(&run) {
            None => {
                let own = by_run.remove(&run.id).unwrap_or_default();
                results.push(run_result(&run, own, run.trial.to_string()));
            }
            Some(reason) => {
                // Not ranked; but whose fault it was is told beside the agent.
                results.push(run_result(&run, BTreeMap::new(), run.trial.to_string()));
                unranked.push(UnrankedView {
                    status: run.status.to_string(),
                    agent: run.agent,
                    trial: run.trial,
                    reason,
                });
            }
        }
    }
    let rows = leaderboard(&results, task.pass_mark, task.seed.cast_unsigned());
    LeaderboardView {
        task_id: task.id.0,
        leaderboard: rows
            .into_iter()
            .map(|row| RankView::new(row, asked))
            .collect(),
        unranked,
    }
}

/// Why a run is no measurement; none if it is one.
fn why_unranked(run: &agent_run::Model) -> Option<String> {
    match run.status {
        RunStatus::Queued => Some("it waits".to_owned()),
        RunStatus::Running | RunStatus::Judging => Some("it is not done yet".to_owned()),
        RunStatus::Cancelled => Some("it was cancelled".to_owned()),
        RunStatus::Error => Some(match run.failure_cause {
            Some(cause) => format!("it failed ({cause})"),
            None => "it failed".to_owned(),
        }),
        RunStatus::Done if run.seal_broken => {
            Some("a tool was used where only memory was allowed".to_owned())
        }
        RunStatus::Done if !run.compression_detected => {
            Some("there was no break of its context".to_owned())
        }
        RunStatus::Done => None,
    }
}
