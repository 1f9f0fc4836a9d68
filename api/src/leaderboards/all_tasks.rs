//! `/api/v1/leaderboard`: agents over all tasks.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::vocabulary::{Dimension, RunStatus};
use entity::{RunId, TaskId, agent_run, judging, recall, score, task};
use evaluation::INSTRUMENT_VERSION;
use evaluation::leaderboard::{
    Judge, Outcome, RECALL_JUDGE, Row, RunResult, leaderboard, pull_request_of, ranking_identity,
    ranking_judge,
};
use evaluation::scoring::DimensionScore;
use sea_orm::{
    ColumnTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{Fields, Query};
use crate::leaderboards::view::{
    MeasuredRun, RUN, RankView, SessionComparisonView, run_result, void_reason,
};
use crate::state::ApiState;
use crate::tenancy;

/// Runs that one leaderboard stands on, at most: the newest.
const MOST_RUNS: u64 = 20_000;
/// Fixes the resampling, so that the same runs give the same intervals.
const SEED: u64 = 1;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
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
    left_out: BTreeMap<String, usize>,
    /// There are more runs than this board may stand on: the oldest were not looked at.
    cut_at_runs: Option<u64>,
    leaderboard: Vec<RankView>,
    /// The agents that are not ranked: no run is a measurement, or too many of their attempts failed.
    unranked_agents: Vec<RankView>,
    /// Every two ranked agents by the overall scores of the tasks and trials that both have.
    comparisons: Vec<SessionComparisonView>,
    /// What is not the same for all ranked agents, beside their own versions and models.
    differs: Vec<String>,
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

/// Ranks agents over all tasks, with intervals that resample pull requests (sessions where there is one).
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
    // One more than there may be tells whether there are more.
    let newest = || {
        asked
            .narrow(tenancy::all_runs(&caller))
            .filter(agent_run::Column::Status.is_in([
                RunStatus::Done,
                RunStatus::Error,
                RunStatus::Cancelled,
            ]))
            .order_by_desc(agent_run::Column::CompletedAt)
            .order_by_desc(agent_run::Column::Id)
            .limit(MOST_RUNS + 1)
            .select_only()
    };
    let runs = newest()
        .columns(RUN)
        .column_as(void_reason(), "void_reason")
        .column(agent_run::Column::TaskId)
        .columns([
            task::Column::PrUrl,
            task::Column::BaseSha,
            task::Column::HeadSha,
        ])
        .column_as(task::Column::QuestionBank.is_not_null(), "imported")
        .into_model::<BoardRun>()
        .all(database)
        .await
        .map_err(ApiError::database("listing runs"))?;
    let ids = newest().column(agent_run::Column::Id).into_query();
    let scores = tenancy::all_scores(&caller)
        .filter(score::Column::RunId.in_subquery(ids))
        .select_only()
        .columns(FIGURES)
        .into_model::<BoardScore>()
        .all(database)
        .await
        .map_err(ApiError::database("listing scores"))?;
    let recalls = tenancy::all_recalls(&caller)
        .filter(
            recall::Column::RunId.in_subquery(newest().column(agent_run::Column::Id).into_query()),
        )
        .filter(recall::Column::Recall.is_not_null())
        .select_only()
        .columns([
            recall::Column::RunId,
            recall::Column::Judge,
            recall::Column::Recall,
        ])
        .column(judging::Column::Judges)
        .into_model::<BoardRecall>()
        .all(database)
        .await
        .map_err(ApiError::database("listing free recalls"))?;
    // Resampling takes its time.
    let view = tokio::task::spawn_blocking(move || board(&asked, runs, &scores, recalls))
        .await
        .map_err(ApiError::internal("ranking"))?;
    Ok(Json(view))
}

/// What a leaderboard over tasks needs of a run.
#[derive(FromQueryResult)]
struct BoardRun {
    #[sea_orm(nested)]
    run: MeasuredRun,
    task_id: TaskId,
    pr_url: String,
    base_sha: Option<String>,
    head_sha: Option<String>,
    /// Its probes are those of a question bank that came with the request.
    imported: bool,
}

/// The columns of [`BoardScore`].
const FIGURES: [score::Column; 11] = [
    score::Column::RunId,
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
];

/// What it needs of a run's figures in one dimension.
#[derive(FromQueryResult)]
struct BoardScore {
    run_id: RunId,
    dimension: Dimension,
    n: i32,
    cold: Option<f64>,
    baseline: Option<f64>,
    post: Option<f64>,
    retention: Option<f64>,
    known: Option<i32>,
    kept: Option<i32>,
    item_retention: Option<f64>,
    stale_rate: Option<f64>,
}

impl From<&BoardScore> for DimensionScore {
    fn from(score: &BoardScore) -> Self {
        let count = |count: i32| usize::try_from(count).ok();
        Self {
            n: count(score.n).unwrap_or(0),
            cold: score.cold,
            baseline: score.baseline,
            post: score.post,
            retention: score.retention,
            known: score.known.and_then(count),
            kept: score.kept.and_then(count),
            item_retention: score.item_retention,
            stale_rate: score.stale_rate,
            // The board has no rates.
            ..Self::default()
        }
    }
}

/// Why a run is no part of a board at all, not even as a failure.
fn why_apart(asked: &Asked, found: &BoardRun) -> Option<&'static str> {
    let model = found.run.model.as_deref();
    let manifest = found.run.manifest.as_ref();
    let version = manifest.and_then(|manifest| manifest.get("instrument_version")?.as_str());
    // A run that failed at once has no manifest, and is no figure of any version.
    let is_other = match found.run.outcome() {
        Outcome::Failed { .. } => version.is_some_and(|version| version != INSTRUMENT_VERSION),
        Outcome::Measured | Outcome::Void { .. } | Outcome::Unfinished => {
            version != Some(INSTRUMENT_VERSION)
        }
    };
    if model.is_some_and(|model| model.ends_with("@stub")) && !asked.include_stub {
        Some("the model was a stub")
    } else if is_other {
        Some("measured by another version of the instrument")
    } else if found.imported {
        Some("its probes are those of an imported question bank")
    } else {
        None
    }
}

/// One free recall of a run, and the judges of its judging.
#[derive(FromQueryResult)]
struct BoardRecall {
    run_id: RunId,
    judge: String,
    recall: f64,
    judges: Value,
}

/// Run → what the judge that may rank found recovered, and who that is.
fn recovered(recalls: Vec<BoardRecall>) -> HashMap<RunId, (f64, String)> {
    recalls
        .into_iter()
        .filter_map(|found| {
            let judges: Vec<Judge> = serde_json::from_value(found.judges).ok()?;
            let identity = ranking_identity(&judges)?;
            let ranking = ranking_judge(judges)?;
            (ranking == found.judge).then_some((found.run_id, (found.recall, identity)))
        })
        .collect()
}

fn board(
    asked: &Asked,
    mut runs: Vec<BoardRun>,
    scores: &[BoardScore],
    recalls: Vec<BoardRecall>,
) -> BoardView {
    let most = usize::try_from(MOST_RUNS).unwrap_or(usize::MAX);
    let is_cut = runs.len() > most;
    runs.truncate(most);
    let mut by_run: HashMap<RunId, BTreeMap<Dimension, DimensionScore>> = HashMap::new();
    for score in scores {
        by_run
            .entry(score.run_id)
            .or_default()
            .insert(score.dimension, score.into());
    }
    let mut recovered = recovered(recalls);
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut results: Vec<RunResult> = Vec::new();
    let mut tasks = std::collections::BTreeSet::new();
    let mut count = 0;
    for found in runs {
        if let Some(reason) = why_apart(asked, &found) {
            *left_out.entry(reason.to_owned()).or_default() += 1;
            continue;
        }
        let own = by_run.remove(&found.run.id).unwrap_or_default();
        let session = format!("{}/{}", found.task_id, found.run.trial);
        let (base, head) = (found.base_sha.as_deref(), found.head_sha.as_deref());
        let pull_request = pull_request_of(&found.pr_url, base, head);
        let mut result = run_result(&found.run, own, &pull_request, session);
        if let Some((recall, judge)) = recovered.remove(&found.run.id) {
            result.recall = Some(recall);
            // Tasks may have been judged by others.
            result.manifest.insert(RECALL_JUDGE.to_owned(), judge);
        }
        match &result.outcome {
            Outcome::Measured => {
                tasks.insert(found.task_id);
                count += 1;
            }
            Outcome::Void { why } => *left_out.entry(why.clone()).or_default() += 1,
            // Told beside each agent.
            Outcome::Failed { .. } | Outcome::Unfinished => {}
        }
        results.push(result);
    }
    let board = leaderboard(&results, asked.pass_mark, SEED);
    let views = |rows: Vec<Row>| {
        let rows = rows.into_iter();
        rows.map(|row| RankView::new(row, &Dimension::ALL))
            .collect()
    };
    BoardView {
        instrument_version: INSTRUMENT_VERSION,
        tasks: tasks.len(),
        runs: count,
        left_out,
        cut_at_runs: is_cut.then_some(MOST_RUNS),
        leaderboard: views(board.ranked),
        unranked_agents: views(board.unranked),
        comparisons: board.comparisons.into_iter().map(Into::into).collect(),
        differs: board.differs,
    }
}
