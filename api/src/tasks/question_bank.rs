//! `/api/v1/tasks/{id}/question-bank`: the probes of a task, to check or to reuse.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use evaluation::probe::ProbeSet;
use evaluation::question_bank::QuestionBank;
use sea_orm::{ColumnTrait, QueryFilter};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::Path;
use crate::state::ApiState;
use crate::tenancy;

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(export_question_bank))
}

/// Exports the probes of a task with their answers, as JSON lines; only when the task has ended, for
/// they are its exam.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/question-bank", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "A line with repository and commits, then one line per probe and per lesson",
            body = String, content_type = "application/x-ndjson"),
        (status = 404, description = "The task does not exist", body = ErrorBody),
        (status = 409, description = "The task has not ended, or has no probes", body = ErrorBody)))]
async fn export_question_bank(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    if !task.status.is_final() {
        return Err(ApiError::NotYet(
            "The probes cannot be read before the task has ended".to_owned(),
        ));
    }
    let found = tenancy::artifacts_of(&task)
        .filter(entity::artifact::Column::RunId.is_null())
        .filter(entity::artifact::Column::Name.eq("probes.json"))
        .one(&api.platform.database)
        .await
        .map_err(ApiError::database("finding the probes"))?;
    let (Some(found), Some(base), Some(head)) = (found, &task.base_sha, &task.head_sha) else {
        return Err(ApiError::NotYet(
            "The task ended before its probes were generated".to_owned(),
        ));
    };
    let bytes = api
        .platform
        .artifacts
        .get(&found)
        .await
        .map_err(ApiError::internal("reading the probes"))?;
    let probes: ProbeSet =
        serde_json::from_slice(&bytes).map_err(ApiError::internal("reading the probes"))?;
    let bank = QuestionBank::new(&task.repo, base, head, probes)
        .write()
        .map_err(ApiError::internal("writing the question bank"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"question-bank.jsonl\"",
        ),
    ];
    Ok((headers, bank).into_response())
}
