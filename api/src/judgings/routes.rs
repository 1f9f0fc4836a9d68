//! `/api/v1/tasks/{id}/judge` and `…/judgings`: judging a finished task again, and the figures of
//! every judging, old or new.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::vocabulary::JudgingStatus;
use entity::{RunId, judging, recall};
use results::scores::StoredScore;
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::Path;
use crate::judgings::create::{Refused, judge_again};
use crate::runs::dimension_view::DimensionView;
use crate::state::ApiState;
use crate::tenancy;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(judge_task))
        .routes(routes!(list_judgings))
        .routes(routes!(show_judging))
}

/// One judging of a task. A new judging replaces nothing.
#[derive(Serialize, ToSchema)]
pub(crate) struct JudgingView {
    /// From 1: the one that the runs were judged by when they ended.
    number: i32,
    /// `queued`, `done` or `error`.
    status: String,
    /// Whether its figures are the ones that are shown.
    shown: bool,
    /// Judges with their false accepts and rejects on the adversarial battery, and whether they may
    /// rank.
    #[schema(value_type = Vec<Object>)]
    judges: Value,
    /// Agreement between jurors. Null with fewer than two.
    #[schema(value_type = Option<Object>)]
    agreement: Option<Value>,
    error_message: Option<String>,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

/// One judging with its figures.
#[derive(Serialize, ToSchema)]
pub(crate) struct JudgedView {
    #[serde(flatten)]
    judging: JudgingView,
    /// Artifact of the task with the grade of every answer. Null unless the judging is done.
    answers: Option<String>,
    runs: Vec<JudgedRunView>,
}

/// Results of one judging for one run.
#[derive(Serialize, ToSchema)]
pub(crate) struct JudgedRunView {
    id: Uuid,
    agent: String,
    /// From 1.
    trial: i32,
    breaks: Vec<JudgedBreakView>,
    /// Free recall and open questions as claims against facts, by topic, break, arm and judge.
    recall: Vec<RecallView>,
}

/// The figures of one break.
#[derive(Serialize, ToSchema)]
pub(crate) struct JudgedBreakView {
    /// From 1.
    #[serde(rename = "break")]
    break_index: i32,
    dimensions: BTreeMap<String, DimensionView>,
}

/// One free recall or answer to an open question, graded by one judge or by the jury. Undefined
/// values are null.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecallView {
    /// `free_recall`, or the open question: `purpose`, `risks`, `rollback`.
    topic: String,
    /// From 1; 0 in the cold arm.
    #[serde(rename = "break")]
    break_index: i32,
    /// `cold` (open questions only), `baseline` or `post`.
    arm: String,
    /// `deterministic/1`, a model, or `jury`; `none` where there was no model that could judge it.
    judge: String,
    /// Number of jurors that voted, for the jury.
    jurors: Option<i32>,
    /// Facts of the sheet that were looked for.
    facts: i32,
    /// Facts about which the text makes a claim.
    claimed: i32,
    /// Facts that the text states correctly.
    right: i32,
    /// Facts without a readable verdict.
    ungraded: i32,
    /// right / claimed.
    precision: Option<f64>,
    /// right / judged.
    recall: Option<f64>,
    /// Reason for missing figures.
    note: Option<String>,
}

impl From<recall::Model> for RecallView {
    fn from(recall: recall::Model) -> Self {
        let recall::Model {
            id: _,
            run_id: _,
            judging: _,
            topic,
            arm,
            break_index,
            judge,
            facts,
            claimed,
            right,
            ungraded,
            precision,
            recall,
            jurors,
            note,
            created_at: _,
        } = recall;
        Self {
            topic: topic.to_string(),
            break_index,
            arm: arm.to_string(),
            judge,
            jurors,
            facts,
            claimed,
            right,
            ungraded,
            precision,
            recall,
            note,
        }
    }
}

/// Groups figures by break, in order.
fn by_break(scores: Vec<StoredScore>) -> Vec<JudgedBreakView> {
    let mut breaks: BTreeMap<i32, BTreeMap<String, DimensionView>> = BTreeMap::new();
    for score in scores {
        let dimensions = breaks.entry(score.break_index).or_default();
        dimensions.insert(score.dimension.to_string(), score.figures.into());
    }
    breaks
        .into_iter()
        .map(|(break_index, dimensions)| JudgedBreakView {
            break_index,
            dimensions,
        })
        .collect()
}

impl JudgingView {
    fn new(row: judging::Model, shown: i32) -> Self {
        let judging::Model {
            id: _,
            task_id: _,
            number,
            status,
            judges,
            agreement,
            error_message,
            created_by: _,
            created_at,
            completed_at,
        } = row;
        Self {
            shown: number == shown,
            number,
            status: status.to_string(),
            judges,
            agreement,
            error_message,
            created_at,
            completed_at,
        }
    }
}

/// Judges a finished task again, by the judges that the workers have now, without running its agents.
#[utoipa::path(post, path = "/api/v1/tasks/{task_id}/judge", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 202, description = "The queued judging", body = JudgingView),
        (status = 404, description = "The task does not exist", body = ErrorBody),
        (status = 409, description = "The task is not done, or a judging is pending", body = ErrorBody)))]
async fn judge_task(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<JudgingView>), ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let row = judge_again(&api.platform, task.id, &caller.actor())
        .await
        .map_err(|refused| match refused {
            Refused::Gone => ApiError::no_task(),
            Refused::NotDone | Refused::Waiting => ApiError::NotYet(refused.to_string()),
            Refused::Database(error) => ApiError::database("judging a task again")(error),
        })?;
    let view = JudgingView::new(row, task.judging);
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Lists the judgings of a task, oldest first.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/judgings", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The judgings", body = Vec<JudgingView>),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn list_judgings(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Vec<JudgingView>>, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let rows = tenancy::judgings_of(&task)
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing judgings"))?;
    let views = rows
        .into_iter()
        .map(|row| JudgingView::new(row, task.judging));
    Ok(Json(views.collect()))
}

/// Shows one judging with its own figures, even if it is no longer the shown one. A later judging
/// does not change them.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/judgings/{number}", tag = "tasks",
    params(
        ("task_id" = Uuid, Path),
        ("number" = i32, Path, minimum = 1, description = "From 1")),
    responses(
        (status = 200, description = "The judging", body = JudgedView),
        (status = 404, description = "The task or judging does not exist", body = ErrorBody)))]
async fn show_judging(
    State(api): State<ApiState>,
    caller: Caller,
    Path((id, asked)): Path<(String, String)>,
) -> Result<Json<JudgedView>, ApiError> {
    let database = &api.platform.database;
    let task = tenancy::task(database, &caller, &id).await?;
    let no_judging = || ApiError::no_judging(&asked);
    let number: i32 = asked.parse().map_err(|_| no_judging())?;
    let row = tenancy::judgings_of(&task)
        .filter(judging::Column::Number.eq(number))
        .one(database)
        .await
        .map_err(ApiError::database("finding a judging"))?
        .ok_or_else(no_judging)?;
    let runs = tenancy::runs_of(&task)
        .all(database)
        .await
        .map_err(ApiError::database("listing runs"))?;
    let scores = tenancy::scores_of_judging(&task, number)
        .select_only()
        .columns(StoredScore::COLUMNS)
        .into_model::<StoredScore>()
        .all(database)
        .await
        .map_err(ApiError::database("listing scores"))?;
    let recalls = tenancy::recalls_of_judging(&task, number)
        .all(database)
        .await
        .map_err(ApiError::database("listing free recalls"))?;
    let mut of_run: HashMap<RunId, (Vec<StoredScore>, Vec<RecallView>)> = HashMap::new();
    for score in scores {
        of_run.entry(score.run_id).or_default().0.push(score);
    }
    for recall in recalls {
        let own = of_run.entry(recall.run_id).or_default();
        own.1.push(recall.into());
    }
    let runs = runs
        .into_iter()
        .map(|run| {
            let (scores, recall) = of_run.remove(&run.id).unwrap_or_default();
            JudgedRunView {
                id: run.id.0,
                agent: run.agent,
                trial: run.trial,
                breaks: by_break(scores),
                recall,
            }
        })
        .collect();
    let answers = match row.status {
        JudgingStatus::Done if number == task.judging => Some("answers.jsonl".to_owned()),
        JudgingStatus::Done => Some(format!("judging-{number}-answers.jsonl")),
        JudgingStatus::Queued | JudgingStatus::Error => None,
    };
    Ok(Json(JudgedView {
        judging: JudgingView::new(row, task.judging),
        answers,
        runs,
    }))
}
