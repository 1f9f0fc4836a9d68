//! `/api/v1/leaderboard`: agents over all tasks.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::vocabulary::Dimension;
use entity::{agent_run, recall};
use evaluation::INSTRUMENT_VERSION;
use results::ranking::{
    OverallFilter, OverallOptions, RankedRun, RecallRow, RunRow, SelectedTasks, TaskRow,
    overall_leaderboard, ranking_recalls,
};
use results::scores::{StoredScore, scores_by_run};
use sea_orm::{ColumnTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{FieldReader, Query};
use crate::leaderboards::view::{RankView, SessionComparisonView, views};
use crate::state::ApiState;
use crate::tenancy;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_board))
}

/// Query of the leaderboard over all tasks. Only tasks that have ended count.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `show_board` reads it")]
pub(crate) struct BoardQuery {
    /// Only tasks of this repository, `owner/name`.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    repo: Option<String>,
    /// Only this agent, with its parameter if it has one.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    agent: Option<String>,
    /// Only runs of this model.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    model: Option<String>,
    /// Only tasks that ended at this time or later (RFC 3339).
    from: Option<DateTime<Utc>>,
    /// Only tasks that ended before this time (RFC 3339).
    to: Option<DateTime<Utc>>,
    /// Score that a dimension must reach to pass.
    #[param(minimum = 0, maximum = 1, default = 0.5)]
    pass_mark: Option<f64>,
    /// Whether runs of a model stub count.
    #[param(default = false)]
    include_stub: Option<bool>,
}

/// The agents over all tasks that have ended. Only measurements are ranked.
#[derive(Serialize, ToSchema)]
pub(crate) struct BoardView {
    /// Version of the instrument. Runs of other versions are left out.
    instrument_version: &'static str,
    /// Number of tasks with at least one measurement.
    tasks: usize,
    /// Number of measurements.
    runs: usize,
    /// Reason → number of runs that were left out.
    left_out: BTreeMap<String, usize>,
    /// Number of tasks on this leaderboard, if older tasks were left out because of a limit.
    cut_at_tasks: Option<u64>,
    /// Number of runs of these tasks, if older tasks were left out because of a limit.
    cut_at_runs: Option<u64>,
    leaderboard: Vec<RankView>,
    /// Agents that are not ranked: no run is a measurement, or too many of their attempts failed.
    unranked_agents: Vec<RankView>,
    /// Each pair of ranked agents, compared by the overall scores of the tasks and trials of both.
    comparisons: Vec<SessionComparisonView>,
    /// Conditions that differ between ranked agents, other than their own versions and models.
    differs: Vec<String>,
}

/// Reads the query of a leaderboard over all tasks.
fn read_query(mut query: FieldReader) -> Result<(OverallFilter, OverallOptions), ApiError> {
    let filter = OverallFilter {
        repo: query.text("repo"),
        agent: query.text("agent"),
        model: query.text("model"),
        ended_from: query.time("from"),
        ended_before: query.time("to"),
    };
    let options = OverallOptions {
        pass_mark: query.number("pass_mark", 0.0, 1.0).unwrap_or(0.5),
        include_stub: query.flag("include_stub").unwrap_or(false),
    };
    query.finish()?;
    Ok((filter, options))
}

/// Ranks agents over all tasks that have ended. Intervals resample pull requests, or sessions if
/// there is only one pull request.
#[utoipa::path(get, path = "/api/v1/leaderboard", tag = "leaderboard", params(BoardQuery),
    responses(
        (status = 200, description = "The agents, best first", body = BoardView),
        (status = 422, description = "The query is invalid", body = ErrorBody)))]
async fn show_board(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<BoardView>, ApiError> {
    let (filter, options) = read_query(query)?;
    let selected = filter
        .select_tasks(&state.platform.database, tenancy::tasks(&caller))
        .await
        .map_err(ApiError::database("listing tasks"))?;
    let runs = load_runs(&state, &caller, &filter, &selected).await?;
    // Resampling takes time and would block the other requests of this thread.
    let overall = tokio::task::spawn_blocking(move || overall_leaderboard(runs, &options))
        .await
        .map_err(ApiError::internal("ranking"))?;
    let board = overall.board;
    Ok(Json(BoardView {
        instrument_version: INSTRUMENT_VERSION,
        tasks: overall.tasks,
        runs: overall.measured.len(),
        left_out: overall.left_out,
        cut_at_tasks: selected.cut_at_tasks,
        cut_at_runs: selected.cut_at_runs,
        leaderboard: views(board.ranked, &Dimension::ALL),
        unranked_agents: views(board.unranked, &Dimension::ALL),
        comparisons: board.comparisons.into_iter().map(Into::into).collect(),
        differs: board.differs,
    }))
}

/// A run with its task.
#[derive(FromQueryResult)]
struct BoardRow {
    #[sea_orm(nested)]
    run: RunRow,
    #[sea_orm(nested)]
    task: TaskRow,
}

/// Loads the matching runs of the selected tasks with their scores and free recalls.
async fn load_runs(
    state: &ApiState,
    caller: &Caller,
    filter: &OverallFilter,
    selected: &SelectedTasks,
) -> Result<Vec<RankedRun>, ApiError> {
    let database = &state.platform.database;
    let in_tasks = || agent_run::Column::TaskId.is_in(selected.ids.iter().copied());
    let query = filter
        .matching_runs(tenancy::all_runs(caller).filter(in_tasks()))
        .order_by_desc(agent_run::Column::CompletedAt)
        .order_by_desc(agent_run::Column::Id)
        .select_only();
    let rows = TaskRow::select(RunRow::select(query))
        .into_model::<BoardRow>()
        .all(database)
        .await
        .map_err(ApiError::database("listing runs"))?;
    let scores = filter
        .matching_runs(tenancy::all_scores(caller).filter(in_tasks()))
        .select_only()
        .columns(StoredScore::COLUMNS)
        .into_model::<StoredScore>()
        .all(database)
        .await
        .map_err(ApiError::database("listing scores"))?;
    let recalls = filter
        .matching_runs(tenancy::all_recalls(caller).filter(in_tasks()))
        .filter(recall::Column::Recall.is_not_null())
        .select_only();
    let recalls = RecallRow::select(recalls)
        .into_model::<RecallRow>()
        .all(database)
        .await
        .map_err(ApiError::database("listing free recalls"))?;
    let mut scores = scores_by_run(scores);
    let mut recalls = ranking_recalls(recalls);
    let runs = rows.into_iter().map(|BoardRow { run, task }| {
        let own_scores = scores.remove(&run.id).unwrap_or_default();
        let mut ranked = run.into_ranked(&task, own_scores);
        ranked.recall = recalls.remove(&ranked.id);
        ranked
    });
    Ok(runs.collect())
}
