//! `/api/v1/leaderboard`: agents over all tasks.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use entity::status::{Dimension, RunStatus};
use entity::{RunId, agent_run, score, task};
use evaluation::INSTRUMENT_VERSION;
use evaluation::leaderboard::{RunResult, leaderboard};
use evaluation::probe;
use evaluation::scoring::DimensionScore;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::fields::{Fields, Query};
use crate::ranking::{MeasuredRun, RankView, figures, measured, run_result};
use crate::running::Running;
use crate::scope;
use crate::state::ApiState;

/// Runs that one leaderboard stands on, at most: the newest.
const MOST_RUNS: u64 = 20_000;
/// Fixes the resampling, so that the same runs give the same intervals.
const SEED: u64 = 1;

pub(super) fn router() -> OpenApiRouter<Running> {
    OpenApiRouter::new().routes(routes!(show_board))
}

/// Which runs a leaderboard over tasks stands on.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `show_board` reads it")]
pub(crate) struct BoardQuery {
    /// Only tasks of this repository, `owner/name`.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    repo: Option<String>,
    /// Only this agent, with its parameter where it has one.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    agent: Option<String>,
    /// Only runs that asked this model.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    model: Option<String>,
    /// Only runs that ended at this time or later (RFC 3339).
    from: Option<DateTime<Utc>>,
    /// Only runs that ended before this time (RFC 3339).
    to: Option<DateTime<Utc>>,
    /// The score that a dimension must reach to pass.
    #[param(minimum = 0, maximum = 1, default = 0.5)]
    pass_mark: Option<f64>,
    /// Also runs whose models were a stub.
    #[param(default = false)]
    include_stub: Option<bool>,
}

/// The agents over all tasks asked for. Only runs that are a measurement are ranked.
#[derive(Serialize, ToSchema)]
pub(crate) struct BoardView {
    /// Figures of other versions of the instrument are not part of it.
    instrument_version: &'static str,
    /// Tasks with at least one run that is ranked.
    tasks: usize,
    /// Runs that are ranked.
    runs: usize,
    /// Reason → runs that were left out.
    left_out: BTreeMap<&'static str, usize>,
    leaderboard: Vec<RankView>,
}

struct Asked {
    repo: Option<String>,
    agent: Option<String>,
    model: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    pass_mark: f64,
    include_stub: bool,
}

impl Asked {
    fn read(mut query: Fields) -> Result<Self, ApiError> {
        let asked = Self {
            repo: query.text("repo"),
            agent: query.text("agent"),
            model: query.text("model"),
            from: query.time("from"),
            to: query.time("to"),
            pass_mark: query.number("pass_mark", 0.0, 1.0).unwrap_or(0.5),
            include_stub: query.flag("include_stub").unwrap_or(false),
        };
        query.finish()?;
        Ok(asked)
    }

    /// Narrows a query that joins runs and tasks.
    fn narrow<E: sea_orm::EntityTrait>(&self, mut wanted: Select<E>) -> Select<E> {
        if let Some(repo) = &self.repo {
            wanted = wanted.filter(task::Column::Repo.eq(repo.as_str()));
        }
        if let Some(agent) = &self.agent {
            wanted = wanted.filter(agent_run::Column::Agent.eq(agent.as_str()));
        }
        if let Some(model) = &self.model {
            wanted = wanted.filter(agent_run::Column::Model.eq(model.as_str()));
        }
        if let Some(from) = self.from {
            wanted = wanted.filter(agent_run::Column::CompletedAt.gte(from));
        }
        if let Some(to) = self.to {
            wanted = wanted.filter(agent_run::Column::CompletedAt.lt(to));
        }
        wanted
    }
}

/// Ranks agents over all tasks, with intervals that resample sessions (agent × pull request × trial).
#[utoipa::path(get, path = "/api/v1/leaderboard", tag = "leaderboard", params(BoardQuery),
    responses(
        (status = 200, description = "Best first", body = BoardView),
        (status = 422, description = "The query is not valid", body = ErrorBody)))]
async fn show_board(
    State(api): State<ApiState>,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<BoardView>, ApiError> {
    let asked = Asked::read(query)?;
    let database = &api.platform.database;
    let runs = asked
        .narrow(scope::all_runs(&caller))
        .filter(agent_run::Column::Status.is_in([RunStatus::Done, RunStatus::Error]))
        .order_by_desc(agent_run::Column::CompletedAt)
        .order_by_desc(agent_run::Column::Id)
        .limit(MOST_RUNS)
        .all(database)
        .await
        .map_err(ApiError::database("listing runs"))?;
    let scores = asked
        .narrow(scope::all_scores(&caller))
        .filter(agent_run::Column::Status.eq(RunStatus::Done))
        .all(database)
        .await
        .map_err(ApiError::database("listing scores"))?;
    // Resampling takes its time.
    let view = tokio::task::spawn_blocking(move || board(&asked, runs, scores))
        .await
        .map_err(ApiError::internal("ranking"))?;
    Ok(Json(view))
}

fn board(asked: &Asked, runs: Vec<agent_run::Model>, scores: Vec<score::Model>) -> BoardView {
    let mut by_run: HashMap<RunId, BTreeMap<probe::Dimension, DimensionScore>> = HashMap::new();
    for score in scores {
        by_run
            .entry(score.run_id)
            .or_default()
            .insert(measured(score.dimension), figures(&score));
    }
    let mut left_out: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut results: Vec<RunResult> = Vec::new();
    let mut tasks = std::collections::BTreeSet::new();
    for run in runs {
        let own = by_run.remove(&run.id).unwrap_or_default();
        let task = run.task_id;
        let run = MeasuredRun::from(run);
        let result = run_result(&run, own, format!("{task}/{}", run.trial));
        let version = result.manifest.get("instrument_version");
        let stub = run
            .model
            .as_deref()
            .is_some_and(|model| model.ends_with("@stub"));
        let reason = if stub && !asked.include_stub {
            Some("the model was a stub")
        } else if result.failure.is_some() {
            None
        } else if version.map(String::as_str) != Some(INSTRUMENT_VERSION) {
            Some("measured by another version of the instrument")
        } else if run.seal_broken {
            Some("a tool was used where only memory was allowed")
        } else if !run.compression_detected {
            Some("there was no break of its context")
        } else {
            None
        };
        match reason {
            Some(reason) => *left_out.entry(reason).or_default() += 1,
            None => {
                if result.counts {
                    tasks.insert(task);
                }
                results.push(result);
            }
        }
    }
    let rows = leaderboard(&results, asked.pass_mark, SEED);
    BoardView {
        instrument_version: INSTRUMENT_VERSION,
        tasks: tasks.len(),
        runs: results.iter().filter(|result| result.counts).count(),
        left_out,
        leaderboard: rows
            .into_iter()
            .map(|row| RankView::new(row, Dimension::ALL))
            .collect(),
    }
}
