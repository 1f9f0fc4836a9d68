//! `/api/v1/tasks`: creating, listing, showing and cancelling tasks.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::vocabulary::TaskStatus;
use entity::{agent_run, task};
use sea_orm::sea_query::{BinOper, Expr, ExprTrait, Func, LikeExpr, Query as Sql, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Select, SqlErr};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::http::cursor::{Cursor, read_cursor};
use crate::http::error::Problem;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{Body, FieldReader, Path, Query};
use crate::state::ApiState;
use crate::tasks::cancel::{self, Cancelled};
use crate::tasks::create::{self, IdempotencyKey};
use crate::tasks::request::{self, new_task};
use crate::tasks::total_count::count;
use crate::tasks::view::TaskView;
use crate::tenancy;

/// States of a task, as listed in errors.
const STATES: [&str; 6] = ["queued", "running", "judging", "done", "error", "cancelled"];

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_tasks, create_task))
        .routes(routes!(show_task, cancel_task))
}

/// Answers a repeated request as the first time.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request for a new task: a pull request, or a repository on the workers' disk.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({
    "pr_url": "https://github.com/OWNER/REPO/pull/1",
    "agents": ["claude", "gemini", "control-lossy:0.5"], "trials": 3}))]
#[expect(dead_code, reason = "describes the body; `request` reads it")]
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
}

/// Which tasks to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `list_tasks` reads it")]
pub(crate) struct ListTasks {
    /// From 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u64>,
    /// Tasks per page. More than 1000 counts as 1000.
    #[param(minimum = 1, default = 20)]
    page_size: Option<u64>,
    /// Only tasks in this state, or in one of several, comma-separated.
    #[param(
        pattern = "^(queued|running|judging|done|error|cancelled)(,(queued|running|judging|done|error|cancelled))*$"
    )]
    status: Option<String>,
    /// Only tasks of this repository, `owner/name`.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    repo: Option<String>,
    /// Only tasks with this agent, with any parameter.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    agent: Option<String>,
    /// Only tasks whose URL, repository or error contains this text. Case-insensitive.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    q: Option<String>,
    /// Only tasks that were created at this time or later (RFC 3339).
    from: Option<DateTime<Utc>>,
    /// Only tasks that were created before this time (RFC 3339).
    to: Option<DateTime<Utc>>,
    /// Continues after the page with this `next_cursor`, unaffected by new tasks. `page` is
    /// ignored.
    #[param(pattern = "^[A-Za-z0-9_-]{32}$")]
    cursor: Option<String>,
}

/// One page of tasks, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskPage {
    tasks: Vec<TaskView>,
    /// Number of tasks on all pages.
    total: u64,
    /// Number of the page. Null with a cursor.
    page: Option<i64>,
    page_size: i64,
    /// `cursor` of the next page. Null on the last page.
    next_cursor: Option<String>,
}

/// That something was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    #[schema(value_type = String)]
    message: &'static str,
}

/// Creates a task: agents are evaluated on a pull request.
#[utoipa::path(post, path = "/api/v1/tasks", tag = "tasks", request_body = CreateTask,
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$",
        description = "Idempotency key, 1 to 255 visible characters. A repeated request creates no \
             second task and is answered with the first one")),
    responses(
        (status = 201, description = "The queued task", body = TaskView,
            headers(("Idempotency-Replayed" = String,
                description = "`true` if an earlier request with this key created the task"))),
        (status = 400, description = "The request cannot be executed", body = ErrorBody),
        (status = 422, description = "The request is invalid, or its Idempotency-Key belongs to another request", body = ErrorBody)))]
async fn create_task(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Body(fields): Body,
) -> Result<Response, ApiError> {
    let api = &state;
    let name = read_idempotency_key(&headers)?.map(|key| IdempotencyKey {
        key,
        hash: request::request_hash(&fields),
    });
    // A repeated request is answered before validation, because settings and agents may have
    // changed.
    if let Some(again) = earlier_response(api, &caller, name.as_ref()).await? {
        return Ok(again);
    }
    let agents = fields.raw("agents");
    let known = state.agents.registry(agents.as_ref()).await?;
    let mut new = new_task(fields, &api.settings, &known, &caller)?;
    new.name = name;
    let most = api.settings.limits.active_tasks;
    match create::create_task(&api.platform, new.clone(), most).await {
        Ok(None) => {
            // A concurrent equal request may have created the last open task.
            let again = earlier_response(api, &caller, new.name.as_ref()).await?;
            again.ok_or(ApiError::TooManyTasks(most))
        }
        Ok(Some(task)) => Ok((StatusCode::CREATED, Json(TaskView::from(task))).into_response()),
        // The second of two concurrent equal requests finds the task of the first.
        Err(error)
            if new.name.is_some()
                && matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) =>
        {
            let again = earlier_response(api, &caller, new.name.as_ref()).await?;
            again.ok_or_else(|| ApiError::database("creating a task")(error))
        }
        Err(error) => Err(ApiError::database("creating a task")(error)),
    }
}

/// Reads the idempotency key.
fn read_idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(header) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match header.to_str() {
        Ok(key)
            if (1..=255).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(key.to_owned()))
        }
        Ok(_) | Err(_) => {
            let msg = "Input should be 1 to 255 visible characters";
            Err(bad_key("value_error", msg, header.to_str().ok()))
        }
    }
}

fn bad_key(kind: &'static str, msg: &str, given: Option<&str>) -> ApiError {
    let loc = vec!["header".into(), "idempotency-key".into()];
    ApiError::Invalid(vec![Problem::new(kind, loc, msg, given.into())])
}

/// The answer to a request that was made before under the same name.
async fn earlier_response(
    api: &ApiState,
    caller: &Caller,
    name: Option<&IdempotencyKey>,
) -> Result<Option<Response>, ApiError> {
    let Some(IdempotencyKey { key, hash }) = name else {
        return Ok(None);
    };
    // A key belongs to the organisation. A task of another team is not shown, but its key is taken.
    let found = task::Entity::visible_to(&caller.org)
        .filter(task::Column::IdempotencyKey.eq(key.as_str()))
        .one(&api.platform.database)
        .await
        .map_err(ApiError::database("finding a task"))?;
    let Some(found) = found else {
        return Ok(None);
    };
    if found.request_hash.as_ref() != Some(hash) || found.team_id != caller.team {
        let msg = "The key belongs to a different request. Use a new key";
        return Err(bad_key("idempotency_key", msg, Some(key)));
    }
    let replayed = [(REPLAYED, "true")];
    let answer = (StatusCode::CREATED, replayed, Json(TaskView::from(found)));
    Ok(Some(answer.into_response()))
}

/// Lists tasks, newest first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(ListTasks),
    responses(
        (status = 200, description = "A page of tasks", body = TaskPage),
        (status = 422, description = "The query is invalid", body = ErrorBody)))]
async fn list_tasks(
    State(state): State<ApiState>,
    caller: Caller,
    Query(mut query): Query,
) -> Result<Json<TaskPage>, ApiError> {
    let page = query.integer("page", 1, i64::MAX);
    let page_size = query.page_size(20);
    let filter = Filter::read(&mut query);
    let cursor = read_cursor(&mut query);
    query.finish()?;
    let listing = || ApiError::database("listing tasks");
    let database = &state.platform.database;
    let all = filter.takes_all();
    let wanted = filter.narrow(tenancy::tasks(&caller));
    let total = if all {
        state.task_counts.of(database, &caller).await
    } else {
        count(database, wanted.clone()).await
    };
    let total = total.map_err(listing())?;
    let mut wanted = wanted
        .order_by_desc(task::Column::CreatedAt)
        .order_by_desc(task::Column::Id)
        // One more row shows whether there is a next page.
        .limit(page_size.unsigned_abs() + 1);
    let page = match cursor {
        Some(cursor) => {
            wanted = wanted.filter(cursor.after());
            None
        }
        None => {
            let page = page.unwrap_or(1);
            let skipped = (page - 1).saturating_mul(page_size);
            wanted = wanted.offset(skipped.unsigned_abs());
            Some(page)
        }
    };
    let mut tasks: Vec<TaskView> = wanted
        .into_partial_model()
        .all(database)
        .await
        .map_err(listing())?;
    let size = usize::try_from(page_size).unwrap_or(usize::MAX);
    let more = tasks.len() > size;
    tasks.truncate(size);
    let last = tasks.last().filter(|_| more);
    Ok(Json(TaskPage {
        next_cursor: last.map(|last| Cursor::new(last.created_at, last.id.0).to_string()),
        tasks,
        total,
        page,
        page_size,
    }))
}

/// Which tasks are wanted.
struct Filter {
    statuses: Vec<TaskStatus>,
    repo: Option<String>,
    agent: Option<String>,
    text: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Filter {
    fn read(query: &mut FieldReader) -> Self {
        Self {
            statuses: query.words("status", &STATES),
            repo: query.text("repo"),
            agent: query.text("agent"),
            text: query.text("q"),
            from: query.time("from"),
            to: query.time("to"),
        }
    }

    /// Returns whether the filter excludes nothing.
    fn takes_all(&self) -> bool {
        let Self {
            statuses,
            repo,
            agent,
            text,
            from,
            to,
        } = self;
        statuses.is_empty()
            && repo.is_none()
            && agent.is_none()
            && text.is_none()
            && from.is_none()
            && to.is_none()
    }

    fn narrow(self, mut wanted: Select<task::Entity>) -> Select<task::Entity> {
        if !self.statuses.is_empty() {
            wanted = wanted.filter(task::Column::Status.is_in(self.statuses));
        }
        if let Some(repo) = self.repo {
            wanted = wanted.filter(task::Column::Repo.eq(repo));
        }
        if let Some(agent) = self.agent {
            let family = format!("{}:%", escaped(&agent));
            let of_agent = Condition::any()
                .add(agent_run::Column::Agent.eq(agent))
                .add(agent_run::Column::Agent.like(LikeExpr::new(family).escape('\\')));
            let tasks = Sql::select()
                .column(agent_run::Column::TaskId)
                .from(agent_run::Entity)
                .cond_where(of_agent)
                .take();
            wanted = wanted.filter(task::Column::Id.in_subquery(tasks));
        }
        if let Some(text) = self.text {
            let pattern = format!("%{}%", escaped(&text));
            let mut any = Condition::any();
            for column in [
                task::Column::PrUrl,
                task::Column::Repo,
                task::Column::ErrorMessage,
            ] {
                // The database makes both small, for each has its own idea of it: SQLite's is that
                // only the letters from A to Z can be.
                let lower = |text: SimpleExpr| SimpleExpr::from(Func::lower(text));
                let pattern = lower(Expr::val(pattern.as_str()));
                let pattern = pattern.binary(BinOper::Escape, SimpleExpr::Constant('\\'.into()));
                let text = lower(Expr::col((task::Entity, column)));
                any = any.add(text.binary(BinOper::Like, pattern));
            }
            wanted = wanted.filter(any);
        }
        if let Some(from) = self.from {
            wanted = wanted.filter(task::Column::CreatedAt.gte(from));
        }
        if let Some(to) = self.to {
            wanted = wanted.filter(task::Column::CreatedAt.lt(to));
        }
        wanted
    }
}

/// A text of which no letter is a wild card.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Shows a task.
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The task", body = TaskView),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn show_task(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TaskView>, ApiError> {
    let task = tenancy::task_as(&api.platform.database, &caller, &id).await?;
    Ok(Json(task))
}

/// Cancels a task: queued runs at once, running ones within seconds.
#[utoipa::path(delete, path = "/api/v1/tasks/{task_id}", tag = "tasks",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The task is cancelled", body = Done),
        (status = 400, description = "The task has already ended", body = ErrorBody),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn cancel_task(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let cancelled = cancel::cancel_task(&api.platform, task.id, &caller.actor())
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
