//! `/api/v1/logs/{id}`: event streams and log files of a task.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::vocabulary::RunStatus;
use entity::{RunId, agent_run};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, QueryFilter, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::artifacts::routes::{TaskFiles, download_url, modified};
use crate::caller::Caller;
use crate::events::sse::{self, EventFilter, Followed};
use crate::http::error::Problem;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{FieldReader, Path, Query};
use crate::runs::lookup::read_trial;
use crate::state::ApiState;
use crate::tenancy;
use crate::tenancy::TaskSummary;

/// Query of an event stream.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query; `read_filter` and `read_after` read it"
)]
pub(crate) struct StreamQuery {
    /// Only events after this number.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Only events of this level or higher: `DEBUG`, `INFO`, `WARNING`, `ERROR`.
    #[param(pattern = "^(DEBUG|INFO|WARNING|ERROR)$")]
    level: Option<String>,
    /// Only events of these kinds, comma-separated.
    #[param(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    kind: Option<String>,
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[expect(deprecated, reason = "deprecated for clients, but still served")]
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(stream_events))
        .routes(routes!(stream_run_events))
        .routes(routes!(stream_container))
        .routes(routes!(list_logs))
}

/// Streams the events of a task: past events, then new ones, until the event `completed`.
#[utoipa::path(get, path = "/api/v1/logs/{task_id}/stream", tag = "logs",
    params(
        ("task_id" = Uuid, Path),
        StreamQuery,
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "The same as `after`, as browsers send it")),
    responses(
        (status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
        (status = 204, description = "The client has received the end"),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn stream_events(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(mut query): Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = read_after(&mut query, &headers);
    let filter = read_filter(&mut query);
    query.finish()?;
    let database = &state.platform.database;
    let task = tenancy::task(database, &caller, &id).await?;
    let position = position_of(database, &task, after, None)
        .await
        .map_err(ApiError::database("reading events"))?;
    let Position::At(after) = position else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    sse::follow(&state, &caller, &task, Followed::Task, filter, after)
}

/// Position from which a client continues.
enum Position {
    /// After this event.
    At(i64),
    /// The client has received the end. It gets 204, or a browser would reconnect forever.
    Over,
}

/// Returns the position of a client. `runs` are the runs, with statuses, that end the stream.
async fn position_of(
    database: &DatabaseConnection,
    task: &TaskSummary,
    after: i64,
    runs: Option<&[(RunId, RunStatus)]>,
) -> Result<Position, DbErr> {
    let (newest, kind) = tenancy::newest_event(database, task.id)
        .await?
        .unwrap_or_default();
    if kind == "completed" && after >= newest {
        return Ok(Position::Over);
    }
    // No event has a larger number yet. A stream that ended without a final event used the number
    // after all events.
    let abandoned = after > newest
        && task.status.is_final()
        && tenancy::open_jobs(database, task.id).await? == 0;
    if abandoned {
        return Ok(Position::Over);
    }
    if let Some(runs) = runs
        && runs.iter().all(|(_, status)| status.is_final())
    {
        let ids: Vec<RunId> = runs.iter().map(|(run, _)| *run).collect();
        if after > tenancy::newest_event_of(database, task.id, &ids).await? {
            return Ok(Position::Over);
        }
    }
    Ok(Position::At(after.min(newest)))
}

/// Follows one agent of a task until its runs have ended.
#[utoipa::path(get, path = "/api/v1/logs/{task_id}/agent/{agent}/stream", tag = "logs",
    params(
        ("task_id" = Uuid, Path),
        ("agent" = String, Path),
        ("trial" = Option<i32>, Query, minimum = 1, description = "Only this trial"), StreamQuery,
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "The same as `after`, as browsers send it")),
    responses(
        (status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
        (status = 204, description = "The client has received the end"),
        (status = 404, description = "The task or agent does not exist", body = ErrorBody)))]
async fn stream_run_events(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, agent)): Path<(String, String)>,
    Query(query): Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    follow_agent(&state, &caller, &id, agent, query, &headers, None).await
}

/// Streams the events of one agent, for clients of the first service. There are no containers.
#[utoipa::path(get, path = "/api/v1/logs/{task_id}/container/{agent}/stream", tag = "logs",
    params(
        ("task_id" = Uuid, Path),
        ("agent" = String, Path),
        ("log_type" = Option<String>, Query, pattern = "^(stdout|stderr)$", description = "`stdout` or `stderr`. The response repeats it"),
        ("trial" = Option<i32>, Query, minimum = 1, description = "Only this trial"), StreamQuery,
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "The same as `after`, as browsers send it")),
    responses(
        (status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
        (status = 204, description = "The client has received the end"),
        (status = 404, description = "The task or agent does not exist", body = ErrorBody)))]
#[deprecated = "the stream of the agent has the same events"]
async fn stream_container(
    State(state): State<ApiState>,
    caller: Caller,
    Path((id, agent)): Path<(String, String)>,
    Query(mut query): Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let log_type: Option<Output> = query.word("log_type", &["stdout", "stderr"]);
    let log_type = log_type.map_or("stdout", |Output(word)| word);
    follow_agent(&state, &caller, &id, agent, query, &headers, Some(log_type)).await
}

/// Name of an output stream of a program.
struct Output(&'static str);

impl std::str::FromStr for Output {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        ["stdout", "stderr"]
            .into_iter()
            .find(|word| *word == text)
            .map(Self)
            .ok_or(())
    }
}

async fn follow_agent(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    agent: String,
    mut query: FieldReader,
    headers: &HeaderMap,
    log_type: Option<&str>,
) -> Result<Response, ApiError> {
    let filter = read_filter(&mut query);
    let after = read_after(&mut query, headers);
    let trial = read_trial(&mut query);
    query.finish()?;
    let database = &state.platform.database;
    let task = tenancy::task(database, caller, id).await?;
    let mut query_of_agent = tenancy::runs_of(&task).filter(agent_run::Column::Agent.eq(&agent));
    if let Some(trial) = trial {
        query_of_agent = query_of_agent.filter(agent_run::Column::Trial.eq(trial));
    }
    let runs: Vec<(RunId, RunStatus)> = query_of_agent
        .select_only()
        .columns([agent_run::Column::Id, agent_run::Column::Status])
        .into_tuple()
        .all(database)
        .await
        .map_err(ApiError::database("finding runs"))?;
    if runs.is_empty() {
        return Err(ApiError::NotFound("Agent not found in task".to_owned()));
    }
    let position = position_of(database, &task, after, Some(&runs))
        .await
        .map_err(ApiError::database("reading events"))?;
    let Position::At(after) = position else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let runs = runs.into_iter().map(|(run, _)| run).collect();
    let log_type = log_type.map(str::to_owned);
    let followed = Followed::Runs {
        agent,
        runs,
        log_type,
    };
    sse::follow(state, caller, &task, followed, filter, after)
}

/// Reads the filter of events.
fn read_filter(query: &mut FieldReader) -> EventFilter {
    const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARNING", "ERROR"];
    let kinds = query.text("kind").unwrap_or_default();
    EventFilter {
        level: query.word("level", &LEVELS),
        // Kinds only grow, so an unknown one is no mistake of the client.
        kinds: kinds
            .split(',')
            .map(str::trim)
            .filter(|kind| !kind.is_empty())
            .map(str::to_owned)
            .collect(),
    }
}

/// Reads the number of the last event that the client has: `?after=`, or the header of browsers.
/// Both are validated, even if one is unused.
fn read_after(query: &mut FieldReader, headers: &HeaderMap) -> i64 {
    let after = query.integer("after", 0, i64::MAX);
    let seen = last_event_id(query, headers);
    after.or(seen).unwrap_or_default()
}

/// Reads the header `Last-Event-ID`, if present.
fn last_event_id(query: &mut FieldReader, headers: &HeaderMap) -> Option<i64> {
    let header = headers.get(LAST_EVENT_ID)?;
    let given = header.to_str().unwrap_or_default();
    if let Ok(seen) = given.parse()
        && seen >= 0
    {
        return Some(seen);
    }
    let loc = vec![json!("header"), json!("last-event-id")];
    let msg = "Input should be the number of an event of this task";
    query.add_problem(Problem::new("int_parsing", loc, msg, json!(given)));
    None
}

/// The log files of a task.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogList {
    task_id: Uuid,
    log_files: Vec<LogView>,
}

/// One log file.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogView {
    name: String,
    /// Path in the bundle.
    path: String,
    /// In bytes.
    size: i64,
    /// Seconds since 1970.
    modified: f64,
    download_url: String,
}

/// Lists the log files of a task.
#[utoipa::path(get, path = "/api/v1/logs/{task_id}/artifacts/logs", tag = "logs",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The log files", body = LogList),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn list_logs(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<LogList>, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let files = TaskFiles::load(&api, &task).await?;
    let logs = files.artifacts.iter().filter(|file| is_log(&file.name));
    let log_files = logs.map(|file| {
        let owner = files.owner(file);
        let agent = owner.map_or("task", |(agent, _)| agent);
        LogView {
            name: match owner {
                Some((agent, _)) => format!("{agent}_{}", file.name),
                None => file.name.clone(),
            },
            path: files.path(file),
            size: file.size,
            modified: modified(file),
            download_url: download_url(task.id, agent, &file.name, owner.map(|(_, trial)| trial)),
        }
    });
    Ok(Json(LogList {
        task_id: task.id.0,
        log_files: log_files.collect(),
    }))
}

fn is_log(name: &str) -> bool {
    name.ends_with(".log") || name.ends_with(".jsonl") || name.starts_with("transcript")
}
