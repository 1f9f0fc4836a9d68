//! `/api/v1/tasks/{id}/leaderboard`: the agents of a task, best first.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use entity::status::{Dimension, RunStatus};
use entity::{RunId, agent_run, score, task};
use evaluation::leaderboard::{Row, RunResult, leaderboard};
use evaluation::probe;
use evaluation::scoring::{DimensionScore, RunScore};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::fields::Path;
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

/// One agent over all its trials that count.
#[derive(Serialize, ToSchema)]
pub(crate) struct RankView {
    /// From 1; equal scores share a rank.
    rank: usize,
    agent: String,
    #[schema(value_type = String)]
    status: &'static str,
    overall_score: Option<f64>,
    /// Mean score after the break, by dimension asked for.
    scores: BTreeMap<String, Option<f64>>,
    passed: bool,
    /// Mean time of a run, in seconds.
    execution_time: Option<f64>,
    compression_detected: bool,
    /// How many runs count.
    trials: usize,
    retention: EstimateView,
}

/// A mean and its 95 % interval.
#[derive(Serialize, ToSchema)]
pub(crate) struct EstimateView {
    mean: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
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

impl RankView {
    fn new(row: Row, asked: &[Dimension]) -> Self {
        let scores = asked.iter().map(|dimension| {
            let score = row.scores.get(&measured(*dimension)).copied().flatten();
            (dimension.to_string(), score)
        });
        Self {
            rank: row.rank,
            scores: scores.collect(),
            agent: row.agent,
            status: RunStatus::Done.as_str(),
            overall_score: row.overall_score,
            passed: row.passed,
            execution_time: row.duration_ms.map(seconds),
            compression_detected: true,
            trials: row.trials,
            retention: EstimateView {
                mean: row.retention.mean,
                low: row.retention.low,
                high: row.retention.high,
            },
        }
    }
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
    let runs = scope::runs_of(&task)
        .all(database)
        .await
        .map_err(ApiError::database("listing runs"))?;
    let scores = scope::scores_of(&task)
        .all(database)
        .await
        .map_err(ApiError::database("listing scores"))?;
    let asked: Vec<Dimension> = serde_json::from_value(task.rubric.clone())
        .map_err(ApiError::internal("reading the rubric of a task"))?;
    Ok(Json(rank(&task, &asked, runs, scores)))
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
            None => results.push(RunResult {
                trial: run.trial.unsigned_abs(),
                counts: true,
                duration_ms: duration_ms(&run),
                score: RunScore {
                    dimensions: by_run.remove(&run.id).unwrap_or_default(),
                    overall_score: run.overall_score,
                    passed: run.passed,
                },
                agent: run.agent,
            }),
            Some(reason) => unranked.push(UnrankedView {
                status: run.status.to_string(),
                agent: run.agent,
                trial: run.trial,
                reason,
            }),
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

fn duration_ms(run: &agent_run::Model) -> Option<u64> {
    let lasted = run.completed_at? - run.started_at?;
    u64::try_from(lasted.num_milliseconds()).ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 milliseconds are longer than any run"
)]
fn seconds(duration_ms: u64) -> f64 {
    duration_ms as f64 / 1000.0
}

fn figures(score: &score::Model) -> DimensionScore {
    DimensionScore {
        n: usize::try_from(score.n).unwrap_or(0),
        cold: score.cold,
        baseline: score.baseline,
        post: score.post,
        retention: score.retention,
        item_retention: score.item_retention,
        stale_rate: score.stale_rate,
        abstained_rate: score.abstained_rate,
        wrong_rate: score.wrong_rate,
    }
}

/// The stored word in the instrument's own vocabulary.
fn measured(dimension: Dimension) -> probe::Dimension {
    match dimension {
        Dimension::Ar => probe::Dimension::Ar,
        Dimension::Ttl => probe::Dimension::Ttl,
        Dimension::Lru => probe::Dimension::Lru,
        Dimension::Sf => probe::Dimension::Sf,
    }
}
