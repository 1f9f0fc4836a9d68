//! `/api/v1/tasks/{id}/judge` and `…/judgings`: judging a finished task again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use entity::judging;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::fields::Path;
use crate::judging::{Refused, judge_again};
use crate::running::Running;
use crate::scope;
use crate::state::ApiState;

pub(super) fn router() -> OpenApiRouter<Running> {
    OpenApiRouter::new()
        .routes(routes!(judge_task))
        .routes(routes!(list_judgings))
}

/// One judging of a task. What is judged again is added; nothing is replaced.
#[derive(Serialize, ToSchema)]
pub(crate) struct JudgingView {
    /// From 1: the one that the runs were judged by when they ended.
    number: i32,
    /// `queued`, `done` or `error`.
    status: String,
    /// Whether its figures are the ones that are shown.
    shown: bool,
    /// Who judged, with their false accepts and rejects on the adversarial battery, and whether they
    /// may rank.
    #[schema(value_type = Vec<Object>)]
    judges: Value,
    /// How far the jurors agree; null with fewer than two.
    #[schema(value_type = Option<Object>)]
    agreement: Option<Value>,
    error_message: Option<String>,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
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
        (status = 202, description = "The judging, waiting", body = JudgingView),
        (status = 404, description = "There is no such task", body = ErrorBody),
        (status = 409, description = "The task is not done, or is being judged already", body = ErrorBody)))]
async fn judge_task(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<JudgingView>), ApiError> {
    let task = scope::task(&api.platform.database, &caller, &id).await?;
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
        (status = 404, description = "There is no such task", body = ErrorBody)))]
async fn list_judgings(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Vec<JudgingView>>, ApiError> {
    let task = scope::task(&api.platform.database, &caller, &id).await?;
    let rows = scope::judgings_of(&task)
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing judgings"))?;
    let views = rows
        .into_iter()
        .map(|row| JudgingView::new(row, task.judging));
    Ok(Json(views.collect()))
}
