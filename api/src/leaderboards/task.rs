//! `/api/v1/tasks/{id}/leaderboard`: the agents of a task, best first.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use domain::vocabulary::{Dimension, RunStatus};
use entity::score;
use evaluation::leaderboard::{NO_BREAK, Row, leaderboard, why_void};
use evaluation::scoring::DimensionScore;
use sea_orm::{FromQueryResult, QuerySelect};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::Path;
use crate::leaderboards::view::{
    Best, MeasuredRun, RUN, RankView, SessionComparisonView, best, run_result, void_reason,
};
use crate::state::ApiState;
use crate::tenancy;
use crate::tenancy::TaskSummary;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_leaderboard))
}

/// The agents of a task. Only runs that are a measurement are ranked.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeaderboardView {
    task_id: Uuid,
    leaderboard: Vec<RankView>,
    /// The runs that are not part of it, and why.
    unranked: Vec<UnrankedView>,
    /// The agents that are not ranked: no run is a measurement, or too many of their attempts failed.
    unranked_agents: Vec<RankView>,
    /// Every two ranked agents by the overall scores of the trials that both have.
    comparisons: Vec<SessionComparisonView>,
    /// What is not the same for all ranked agents, beside their own versions and models.
    differs: Vec<String>,
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
    let task = tenancy::task(database, &caller, &id)
        .await
        .map_err(|error| {
            if matches!(error, ApiError::NotFound(_)) {
                ApiError::NotFound("Task not found or no agent runs available".to_owned())
            } else {
                error
            }
        })?;
    Ok(Json(ranking_of(&api, &task).await?))
}

/// The leaderboard of a task.
pub(crate) async fn ranking_of(
    api: &ApiState,
    task: &TaskSummary,
) -> Result<LeaderboardView, ApiError> {
    let database = &api.platform.database;
    let rows = tenancy::measured_runs_of(task)
        .select_only()
        .columns(RUN)
        .column_as(void_reason(), "void_reason")
        .columns(FIGURES)
        .into_model::<MeasuredRow>()
        .all(database)
        .await
        .map_err(ApiError::database("listing runs and scores"))?;
    let asked: Vec<Dimension> = serde_json::from_value(task.rubric.clone())
        .map_err(ApiError::internal("reading the rubric of a task"))?;
    Ok(rank(task, &asked, rows))
}

impl LeaderboardView {
    /// Who is first.
    pub(crate) fn best(&self) -> Best {
        best(&self.leaderboard)
    }
}

/// What a leaderboard needs of a run's figures.
const FIGURES: [score::Column; 14] = [
    score::Column::Dimension,
    score::Column::N,
    score::Column::Cold,
    score::Column::Baseline,
    score::Column::Post,
    score::Column::Retention,
    score::Column::Known,
    score::Column::Kept,
    score::Column::ItemRetention,
    score::Column::StaleRate,
    score::Column::AbstainedRate,
    score::Column::WrongRate,
    score::Column::PartialRate,
    score::Column::UnreadableRate,
];

/// A run and its figures in one dimension, if it has any.
#[derive(FromQueryResult)]
struct MeasuredRow {
    #[sea_orm(nested)]
    run: MeasuredRun,
    dimension: Option<Dimension>,
    n: Option<i32>,
    cold: Option<f64>,
    baseline: Option<f64>,
    post: Option<f64>,
    retention: Option<f64>,
    known: Option<i32>,
    kept: Option<i32>,
    item_retention: Option<f64>,
    stale_rate: Option<f64>,
    abstained_rate: Option<f64>,
    wrong_rate: Option<f64>,
    partial_rate: Option<f64>,
    unreadable_rate: Option<f64>,
}

impl MeasuredRow {
    fn split(self) -> (MeasuredRun, Option<(Dimension, DimensionScore)>) {
        let count = |value: Option<i32>| value.and_then(|value| usize::try_from(value).ok());
        let score = self.dimension.map(|dimension| {
            let score = DimensionScore {
                n: count(self.n).unwrap_or(0),
                cold: self.cold,
                baseline: self.baseline,
                post: self.post,
                retention: self.retention,
                known: count(self.known),
                kept: count(self.kept),
                item_retention: self.item_retention,
                stale_rate: self.stale_rate,
                abstained_rate: self.abstained_rate,
                wrong_rate: self.wrong_rate,
                partial_rate: self.partial_rate,
                unreadable_rate: self.unreadable_rate,
            };
            (dimension, score)
        });
        (self.run, score)
    }
}

fn rank(task: &TaskSummary, asked: &[Dimension], rows: Vec<MeasuredRow>) -> LeaderboardView {
    let mut runs: Vec<(MeasuredRun, BTreeMap<Dimension, DimensionScore>)> = Vec::new();
    for row in rows {
        let (run, score) = row.split();
        if runs.last().is_none_or(|(last, _)| last.id != run.id) {
            runs.push((run, BTreeMap::new()));
        }
        if let (Some((_, scores)), Some((dimension, score))) = (runs.last_mut(), score) {
            scores.insert(dimension, score);
        }
    }
    let mut results = Vec::new();
    let mut unranked = Vec::new();
    for (run, own) in runs {
        match why_unranked(&run) {
            None => results.push(run_result(&run, own, PULL_REQUEST, run.trial.to_string())),
            Some(reason) => {
                // Not ranked; but whose fault it was is told beside the agent.
                let session = run.trial.to_string();
                results.push(run_result(&run, BTreeMap::new(), PULL_REQUEST, session));
                unranked.push(UnrankedView {
                    status: run.status.to_string(),
                    agent: run.agent,
                    trial: run.trial,
                    reason,
                });
            }
        }
    }
    let board = leaderboard(&results, task.pass_mark, task.seed.cast_unsigned());
    let views = |rows: Vec<Row>| {
        let rows = rows.into_iter();
        rows.map(|row| RankView::new(row, asked)).collect()
    };
    LeaderboardView {
        task_id: task.id.0,
        leaderboard: views(board.ranked),
        unranked,
        unranked_agents: views(board.unranked),
        comparisons: board.comparisons.into_iter().map(Into::into).collect(),
        differs: board.differs,
    }
}

/// A task has one.
const PULL_REQUEST: &str = "this";

/// Why a run is no measurement; none if it is one.
fn why_unranked(run: &MeasuredRun) -> Option<String> {
    match run.status {
        RunStatus::Queued => Some("it waits".to_owned()),
        RunStatus::Running | RunStatus::Judging => Some("it is not done yet".to_owned()),
        RunStatus::Cancelled => Some("it was cancelled".to_owned()),
        RunStatus::Error => Some(match run.failure_cause {
            Some(cause) => format!("it failed ({cause})"),
            None => "it failed".to_owned(),
        }),
        RunStatus::Done if run.seal_broken => Some(why_void(run.void_reason.as_deref()).to_owned()),
        RunStatus::Done if !run.compression_detected => Some(NO_BREAK.to_owned()),
        RunStatus::Done => None,
    }
}
