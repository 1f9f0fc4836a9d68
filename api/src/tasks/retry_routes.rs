//! `/api/v1/tasks/{id}/run` and `…/retry`: having a task worked on, and having runs made again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::vocabulary::{JobState, TaskStatus};
use entity::job;
use platform::queue::Notification;
use sea_orm::{ColumnTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{OptionalBody, Path};
use crate::state::ApiState;
use crate::tasks::create::notify_workers;
use crate::tasks::retry::{Refused, Which, retry_task};
use crate::tenancy;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(run_task))
        .routes(routes!(retry_runs))
}

/// Confirmation of a notification.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunNotification {
    #[schema(value_type = String)]
    message: &'static str,
    task_id: Uuid,
}

/// Notifies workers of a queued task. Tasks start without it. For clients of the first service.
#[utoipa::path(post, path = "/api/v1/tasks/{task_id}/run", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "Workers were notified", body = RunNotification),
        (status = 400, description = "The task is not queued", body = ErrorBody),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn run_task(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunNotification>, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    if task.status != TaskStatus::Queued {
        return Err(ApiError::Refused(format!(
            "Task cannot be run in status: {}",
            task.status
        )));
    }
    let waiting = tenancy::jobs(&caller)
        .filter(job::Column::TaskId.eq(task.id))
        .filter(job::Column::State.eq(JobState::Queued))
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("finding jobs"))?;
    let notifications: Vec<Notification> = waiting
        .into_iter()
        .map(|job| Notification {
            queue: job.queue,
            job_id: job.id,
            epoch: job.epoch,
        })
        .collect();
    notify_workers(&api.platform, &notifications).await;
    Ok(Json(RunNotification {
        message: "Task execution started",
        task_id: task.id.0,
    }))
}

/// Which runs to make again.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"agents": ["claude"]}))]
#[expect(dead_code, reason = "describes the body; `retry_runs` reads it")]
pub(crate) struct RetryRuns {
    /// Agents whose runs are retried, as the task names them. By default all.
    agents: Option<Vec<String>>,
}

/// Result of a retry.
#[derive(Serialize, ToSchema)]
pub(crate) struct Retried {
    task_id: Uuid,
    /// Runs that are made again.
    runs: usize,
}

/// Retries the runs of a finished task that produced no measurement: cancelled runs, and runs that
/// failed because of the provider, the harness or the budget. Runs that failed because of the agent
/// are not retried, because repeating them until they succeed would inflate its score.
#[utoipa::path(post, path = "/api/v1/tasks/{task_id}/retry", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    request_body = Option<RetryRuns>,
    responses(
        (status = 202, description = "The runs are queued", body = Retried),
        (status = 404, description = "The task does not exist", body = ErrorBody),
        (status = 409, description = "The task has not ended, or no run qualifies", body = ErrorBody),
        (status = 422, description = "The request is invalid", body = ErrorBody)))]
async fn retry_runs(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    OptionalBody(mut fields): OptionalBody,
) -> Result<(StatusCode, Json<Retried>), ApiError> {
    let agents = fields.texts("agents").unwrap_or_default();
    fields.finish()?;
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let which = Which::Agents(agents);
    let most = api.settings.limits.active_tasks;
    let runs = retry_task(&api.platform, &task, &which, &caller.actor(), most)
        .await
        .map_err(refused)?;
    let view = Retried {
        task_id: task.id.0,
        runs,
    };
    Ok((StatusCode::ACCEPTED, Json(view)))
}

pub(crate) fn refused(refused: Refused) -> ApiError {
    match refused {
        Refused::Database(error) => ApiError::database("trying again")(error),
        Refused::TooManyTasks(most) => ApiError::TooManyTasks(most),
        Refused::NotEnded
        | Refused::BeingJudged
        | Refused::NothingToRetry { .. }
        | Refused::NotDead
        | Refused::NotDone
        | Refused::Overtaken => ApiError::NotYet(refused.to_string()),
    }
}
