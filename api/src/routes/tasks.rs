//! `/api/v1/tasks`: asking for a measurement, following it, calling it off.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use entity::status::TaskStatus;
use entity::task;
use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::caller::Caller;
use crate::creation::new_task;
use crate::error::{ApiError, ErrorBody};
use crate::fields::{Body, Fields, Path, Query};
use crate::known::Known;
use crate::scope;
use crate::state::{ApiState, Running};
use crate::tasks::{self, Cancelled};

const LARGEST_PAGE: i64 = 1000;
/// The states that can be asked for, as they are listed to whoever asks for another.
const STATES: [&str; 6] = ["queued", "running", "judging", "done", "error", "cancelled"];

pub(super) fn router() -> OpenApiRouter<Running> {
    OpenApiRouter::new()
        .routes(routes!(list_tasks, create_task))
        .routes(routes!(show_task, cancel_task))
}

/// A task as clients see it. What is not known yet is null.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskView {
    id: Uuid,
    pr_url: String,
    /// `owner/name`, or the folder's name of a local repository.
    repo: String,
    pr_number: Option<i64>,
    #[schema(value_type = Vec<String>)]
    agents: Value,
    /// Some of `AR`, `TTL`, `LRU`, `SF`.
    #[schema(value_type = Vec<String>)]
    rubric: Value,
    /// `queued`, `running`, `judging`, `done`, `error` or `cancelled`.
    #[schema(value_type = String)]
    status: TaskStatus,
    max_files: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    #[schema(value_type = Vec<String>)]
    changed_files: Value,
    error_message: Option<String>,
    /// Who is to blame for `error_message`.
    failure_cause: Option<String>,
    /// Runs per agent named.
    trials: i32,
    seed: i64,
    /// `auto`, `manual` or `auto_then_manual`.
    trigger: String,
    pass_mark: f64,
    target_context_tokens: Option<i64>,
    /// Whether the workspace is emptied before the compaction; null: where it is brought about by
    /// the agent's own command, yes.
    seal_before_break: Option<bool>,
    /// Breaks per run.
    breaks: i32,
    /// The cost of all runs, in US dollars, at which the task stops.
    max_cost_usd: Option<f64>,
    /// Whether its probes were given with it instead of generated.
    from_question_bank: bool,
    /// How many probes of each kind were made, and what was dropped and why; null until prepared.
    #[schema(value_type = Option<Object>)]
    generator_report: Option<Value>,
    /// The number of the judging whose figures are shown.
    judging: i32,
    base_sha: Option<String>,
    head_sha: Option<String>,
    /// What was left out, and why.
    #[schema(value_type = Vec<Object>)]
    dropped_files: Value,
    prompt_hash: Option<String>,
    probe_set_hash: Option<String>,
}

impl From<task::Model> for TaskView {
    fn from(task: task::Model) -> Self {
        let task::Model {
            id,
            org_id: _,
            created_by: _,
            pr_url,
            repo,
            pr_number,
            source: _,
            agents,
            rubric,
            trials,
            max_files,
            seed,
            trigger,
            pass_mark,
            target_context_tokens,
            seal_before_break,
            breaks,
            max_cost_usd,
            question_bank,
            generator_report,
            judging,
            status,
            changed_files,
            dropped_files,
            base_sha,
            head_sha,
            prompt_hash,
            probe_set_hash,
            error_message,
            failure_cause,
            event_seq: _,
            created_at,
            updated_at,
            started_at,
            completed_at,
        } = task;
        Self {
            id: id.0,
            pr_url,
            repo,
            pr_number,
            agents,
            rubric,
            status,
            max_files,
            created_at,
            updated_at,
            started_at,
            completed_at,
            changed_files,
            error_message,
            failure_cause: failure_cause.map(|cause| cause.to_string()),
            trials,
            seed,
            trigger: trigger.to_string(),
            pass_mark,
            target_context_tokens,
            seal_before_break,
            breaks,
            max_cost_usd,
            from_question_bank: question_bank.is_some(),
            generator_report,
            judging,
            base_sha,
            head_sha,
            dropped_files,
            prompt_hash,
            probe_set_hash,
        }
    }
}

/// What a new task is made of: a pull request, or a repository on the worker's disk.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body; `creation` reads it")]
pub(crate) struct CreateTask {
    /// `https://github.com/OWNER/REPO/pull/N`; this or `repo`.
    pr_url: Option<String>,
    /// Absolute path of a local repository, where the service allows it.
    repo: Option<String>,
    /// With `repo`: the commit, branch or tag that the change starts from.
    base: Option<String>,
    /// With `repo`: the commit, branch or tag of the change.
    head: Option<String>,
    #[schema(default = json!(["iflow", "claude", "gemini"]))]
    agents: Option<Vec<String>>,
    #[schema(default = json!(["AR", "TTL", "LRU", "SF"]))]
    rubric: Option<Vec<String>>,
    /// 50, if the service is not told otherwise.
    #[schema(minimum = 1, maximum = 1000)]
    max_files: Option<u32>,
    /// Runs per agent named.
    #[schema(minimum = 1, maximum = 100, default = 1)]
    trials: Option<u32>,
    /// Fixes the probes and every random draw.
    #[schema(default = 1)]
    seed: Option<i64>,
    /// `auto`, `manual` or `auto_then_manual`.
    #[schema(default = "auto_then_manual")]
    trigger: Option<String>,
    /// The score that a dimension must reach to pass.
    #[schema(minimum = 0, maximum = 1, default = 0.5)]
    pass_mark: Option<f64>,
    /// The context size at which a break is to come; derived from the material if not given.
    #[schema(minimum = 1000, maximum = 10_000_000)]
    target_context_tokens: Option<u64>,
    /// Whether the workspace is emptied before the compaction, so that the agent cannot read
    /// anything again from the disk. Not given: where the break is brought about by the agent's
    /// own command, yes; else no, and what is read again is recorded.
    seal_before_break: Option<bool>,
    /// How many compactions a run is to go through, each measured: a forgetting curve.
    #[schema(minimum = 1, maximum = 10, default = 1)]
    breaks: Option<u32>,
    /// Stops the task cleanly when the known cost of its runs reaches this many US dollars.
    #[schema(minimum = 0)]
    max_cost_usd: Option<f64>,
    /// Probes to use instead of generated ones: what `GET /api/v1/tasks/{task_id}/question-bank`
    /// gave for the same commits. They are verified again before use.
    question_bank: Option<String>,
}

/// Which tasks to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `list_tasks` reads it")]
pub(crate) struct ListTasks {
    /// From 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u64>,
    /// More than 1000 is taken as 1000.
    #[param(minimum = 1, default = 20)]
    page_size: Option<u64>,
    /// Only tasks in this state.
    status: Option<String>,
}

/// One page of tasks, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskPage {
    tasks: Vec<TaskView>,
    /// How many there are on all pages.
    total: u64,
    page: i64,
    page_size: i64,
}

/// That something was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    #[schema(value_type = String)]
    message: &'static str,
}

/// Asks for agents to be measured on a pull request.
#[utoipa::path(post, path = "/api/v1/tasks", tag = "tasks", request_body = CreateTask,
    responses(
        (status = 201, description = "The task, waiting", body = TaskView),
        (status = 400, description = "This cannot be done", body = ErrorBody),
        (status = 422, description = "The request is not valid", body = ErrorBody)))]
async fn create_task(
    State(api): State<ApiState>,
    caller: Caller,
    Body(fields): Body,
) -> Result<(StatusCode, Json<TaskView>), ApiError> {
    let known = Known::load(&api).await?;
    let new = new_task(fields, &api.settings, &known, &caller)?;
    let task = tasks::create_task(&api.platform, new)
        .await
        .map_err(ApiError::database("creating a task"))?;
    Ok((StatusCode::CREATED, Json(task.into())))
}

/// Lists tasks, newest first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(ListTasks),
    responses((status = 200, description = "A page of tasks", body = TaskPage)))]
async fn list_tasks(
    State(api): State<ApiState>,
    caller: Caller,
    Query(mut query): Query,
) -> Result<Json<TaskPage>, ApiError> {
    let page = query.integer("page", 1, i64::MAX).unwrap_or(1);
    let page_size = query.integer("page_size", 1, i64::MAX).unwrap_or(20);
    let page_size = page_size.min(LARGEST_PAGE);
    let status = asked_status(&mut query);
    query.finish()?;
    let mut wanted = task::Entity::visible_to(&caller.org);
    if let Some(status) = status {
        wanted = wanted.filter(task::Column::Status.eq(status));
    }
    let listing = || ApiError::database("listing tasks");
    let total = wanted
        .clone()
        .count(&api.platform.database)
        .await
        .map_err(listing())?;
    let skipped = (page - 1).saturating_mul(page_size);
    let tasks = wanted
        .order_by_desc(task::Column::CreatedAt)
        .order_by_desc(task::Column::Id)
        .offset(skipped.unsigned_abs())
        .limit(page_size.unsigned_abs())
        .all(&api.platform.database)
        .await
        .map_err(listing())?;
    Ok(Json(TaskPage {
        tasks: tasks.into_iter().map(TaskView::from).collect(),
        total,
        page,
        page_size,
    }))
}

fn asked_status(query: &mut Fields) -> Option<TaskStatus> {
    query.word("status", &STATES)
}

/// Shows a task.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The task", body = TaskView),
        (status = 404, description = "There is no such task", body = ErrorBody)))]
async fn show_task(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TaskView>, ApiError> {
    let task = scope::task(&api.platform.database, &caller, &id).await?;
    Ok(Json(task.into()))
}

/// Cancels a task: what waits at once, what runs within seconds.
#[utoipa::path(delete, path = "/api/v1/tasks/{task_id}", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "It is cancelled", body = Done),
        (status = 400, description = "It has already ended", body = ErrorBody),
        (status = 404, description = "There is no such task", body = ErrorBody)))]
async fn cancel_task(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    let task = scope::task(&api.platform.database, &caller, &id).await?;
    let cancelled = tasks::cancel_task(&api.platform, task.id, caller.user)
        .await
        .map_err(ApiError::database("cancelling a task"))?;
    match cancelled {
        Cancelled::Yes => Ok(Json(Done {
            message: "Task cancelled successfully",
        })),
        Cancelled::TooLate => Err(ApiError::Refused(
            "Task is already completed and cannot be cancelled".to_owned(),
        )),
        Cancelled::NoSuchTask => Err(ApiError::no_task()),
    }
}
