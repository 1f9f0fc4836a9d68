//! `/api/v1/artifacts/{id}`: the files of a task, one by one or as one archive.
//!
//! A file is found by its database row, never by a path. A name in a request either matches a row
//! of the task or is not found.
//!
//! Most files can be read only after the task has ended. Otherwise an agent that reaches this API
//! could read its questions, the right answers and its own transcript.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Range};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use entity::{RunId, TaskId, agent_run, artifact};
use futures::StreamExt;
use headers::{HeaderMapExt, IfNoneMatch};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::artifacts::bundle::{self, Entry};
use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::validation::{Path, Query};
use crate::runs::lookup::{newest_run_of, read_trial};
use crate::state::ApiState;
use crate::tenancy;
use crate::tenancy::TaskSummary;

/// Files that can be read at any time. They contain no more than the task and its events. The list
/// names readable files, so that a new file is protected by default.
const READABLE_EARLY: [&str; 2] = ["manifest.json", "task.log"];
/// Name that replaces the agent for files of the task itself.
const TASK: &str = "task";
/// Characters that need no encoding in a path segment.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_artifacts))
        .routes(routes!(download_bundle))
        .routes(routes!(download_artifact))
}

/// The files of a task.
#[derive(Serialize, ToSchema)]
pub(crate) struct ArtifactList {
    task_id: Uuid,
    /// By agent (of several trials, the newest that has the file) and name; the files of the task
    /// itself under `task`.
    artifacts: BTreeMap<String, BTreeMap<String, ArtifactView>>,
    /// Every file of every trial.
    files: Vec<ArtifactView>,
    /// In bytes, over all files.
    total_size: i64,
    bundle_url: String,
}

/// One file.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct ArtifactView {
    name: String,
    /// Equal to `name`. Paths of the server are internal.
    path: String,
    exists: bool,
    download_url: String,
    /// In bytes.
    size: i64,
    /// Seconds since 1970.
    modified: f64,
    /// Whether it can be fetched now; most files only when the task has ended.
    readable: bool,
    agent: String,
    trial: Option<i32>,
    media_type: String,
    sha256: String,
}

/// Where a client gets a file.
pub(crate) fn download_url(task: TaskId, agent: &str, name: &str, trial: Option<i32>) -> String {
    let agent = utf8_percent_encode(agent, UNRESERVED);
    let name = utf8_percent_encode(name, UNRESERVED);
    let base = format!("/api/v1/artifacts/{task}/{agent}/{name}");
    match trial {
        Some(trial) => format!("{base}?trial={trial}"),
        None => base,
    }
}

/// Returns whether a file cannot be read yet.
fn is_locked(task: &TaskSummary, name: &str) -> bool {
    !task.status.is_final() && !READABLE_EARLY.contains(&name)
}

/// Returns the error for a file that cannot be read yet.
fn locked_error(task: &TaskSummary, subject: &str) -> ApiError {
    ApiError::NotYet(format!(
        "{subject} can be fetched when the task has ended; it is {} now. An agent that is being \
         measured could learn its questions from it. Readable at any time: {}",
        task.status,
        READABLE_EARLY.join(", ")
    ))
}

/// When a file was stored, as clients of the first service know it.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds since 1970 stay below 2^53 for two centuries"
)]
pub(crate) fn modified(artifact: &artifact::Model) -> f64 {
    artifact.created_at.timestamp_micros() as f64 / 1e6
}

/// The files of a task, each with the run it belongs to.
pub(crate) struct TaskFiles {
    pub(crate) artifacts: Vec<artifact::Model>,
    runs: HashMap<RunId, (String, i32)>,
}

impl TaskFiles {
    pub(crate) async fn load(api: &ApiState, task: &TaskSummary) -> Result<Self, ApiError> {
        let database = &api.platform.database;
        let artifacts = tenancy::artifacts_of(task)
            .all(database)
            .await
            .map_err(ApiError::database("listing artifacts"))?;
        let runs: Vec<(RunId, String, i32)> = tenancy::runs_of(task)
            .select_only()
            .columns([
                agent_run::Column::Id,
                agent_run::Column::Agent,
                agent_run::Column::Trial,
            ])
            .into_tuple()
            .all(database)
            .await
            .map_err(ApiError::database("listing runs"))?;
        let runs = runs
            .into_iter()
            .map(|(run, agent, trial)| (run, (agent, trial)))
            .collect();
        Ok(Self { artifacts, runs })
    }

    /// The agent and trial that a file belongs to; none: the task itself.
    pub(crate) fn owner(&self, artifact: &artifact::Model) -> Option<(&str, i32)> {
        let (agent, trial) = self.runs.get(&artifact.run_id?)?;
        Some((agent, *trial))
    }

    /// Returns the path of a file in a bundle.
    pub(crate) fn path(&self, artifact: &artifact::Model) -> String {
        let name = bundle::safe_name(&artifact.name);
        match self.owner(artifact) {
            Some((agent, trial)) => {
                format!("agents/{}/trial-{trial}/{name}", bundle::safe_name(agent))
            }
            None => name,
        }
    }
}

/// Lists the files of a task.
#[utoipa::path(get, path = "/api/v1/artifacts/{task_id}/list", tag = "artifacts",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The files", body = ArtifactList),
        (status = 404, description = "The task does not exist", body = ErrorBody)))]
async fn list_artifacts(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ArtifactList>, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let files = TaskFiles::load(&api, &task).await?;
    let mut views: Vec<ArtifactView> = files
        .artifacts
        .iter()
        .map(|artifact| view(&task, artifact, files.owner(artifact)))
        .collect();
    views.sort_by(|a, b| (&a.agent, a.trial, &a.name).cmp(&(&b.agent, b.trial, &b.name)));
    let mut newest: BTreeMap<String, BTreeMap<String, ArtifactView>> = BTreeMap::new();
    for view in &views {
        newest
            .entry(view.agent.clone())
            .or_default()
            .insert(view.name.clone(), view.clone());
    }
    Ok(Json(ArtifactList {
        task_id: task.id.0,
        artifacts: newest,
        total_size: views.iter().map(|view| view.size).sum(),
        files: views,
        bundle_url: format!("/api/v1/artifacts/{}/bundle", task.id),
    }))
}

fn view(
    task: &TaskSummary,
    artifact: &artifact::Model,
    owner: Option<(&str, i32)>,
) -> ArtifactView {
    let agent = owner.map_or(TASK, |(agent, _)| agent);
    let trial = owner.map(|(_, trial)| trial);
    ArtifactView {
        name: artifact.name.clone(),
        path: artifact.name.clone(),
        exists: true,
        download_url: download_url(task.id, agent, &artifact.name, trial),
        size: artifact.size,
        modified: modified(artifact),
        readable: !is_locked(task, &artifact.name),
        agent: agent.to_owned(),
        trial,
        media_type: artifact.media_type.clone(),
        sha256: artifact.sha256.clone(),
    }
}

/// Downloads a file: of an agent's newest trial, of a given trial, or of the task itself (agent
/// `task`).
#[utoipa::path(get, path = "/api/v1/artifacts/{task_id}/{agent}/{name}", tag = "artifacts",
    params(
        ("task_id" = Uuid, Path),
        ("agent" = String, Path, description = "An agent of the task, or `task`"),
        ("name" = String, Path),
        ("trial" = Option<i32>, Query, minimum = 1, description = "Number of the trial, from 1. By default the newest"),
        ("Range" = Option<String>, Header,
            description = "One range of bytes, such as `bytes=0-99`. Several ranges yield the whole file"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the client's file")),
    responses(
        (status = 200, description = "The file", content_type = "*/*",
            body = String, headers(
                ("ETag" = String, description = "Identifies the stored file"),
                ("Accept-Ranges" = String, description = "`bytes`"))),
        (status = 206, description = "The requested range",
            content_type = "*/*", body = String, headers(
                ("ETag" = String, description = "Identifies the whole file"),
                ("Content-Range" = String, description = "The range: `bytes 0-99/1234`"))),
        (status = 304, description = "The client has the current file",
            headers(("ETag" = String, description = "Identifies the stored file"))),
        (status = 416, description = "The range is outside the file", body = ErrorBody),
        (status = 404, description = "The task, run or file does not exist", body = ErrorBody),
        (status = 409, description = "The file cannot be read before the task has ended",
            body = ErrorBody)))]
async fn download_artifact(
    State(api): State<ApiState>,
    caller: Caller,
    Path((id, agent, name)): Path<(String, String, String)>,
    Query(mut query): Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let trial = read_trial(&mut query);
    query.finish()?;
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    let run = newest_run_of(&api, &task, &agent, trial).await?;
    if run.is_none() && agent != TASK {
        return Err(ApiError::no_run(&agent));
    }
    let artifact = artifact_of(&api, &task, run, &name).await?.ok_or_else(|| {
        ApiError::NotFound(format!("Artifact {name} not found for agent {agent}"))
    })?;
    if is_locked(&task, &name) {
        return Err(locked_error(&task, &format!("Artifact {name}")));
    }
    if is_cached(&headers, &artifact) {
        return Ok((StatusCode::NOT_MODIFIED, file_headers(&artifact, None)).into_response());
    }
    let range = read_range(&headers, &artifact)?;
    let store = &api.platform.artifacts;
    let content = match &range {
        None => store.stream(&artifact).await,
        Some(range) => store.stream_range(&artifact, range.clone()).await,
    };
    let content = content.map_err(ApiError::internal("fetching an artifact"))?;
    let content = content.map(|piece| piece.map_err(std::io::Error::other));
    let status = match &range {
        None => StatusCode::OK,
        Some(_) => StatusCode::PARTIAL_CONTENT,
    };
    let headers = file_headers(&artifact, range);
    Ok((status, headers, Body::from_stream(content)).into_response())
}

async fn artifact_of(
    api: &ApiState,
    task: &TaskSummary,
    run: Option<RunId>,
    name: &str,
) -> Result<Option<artifact::Model>, ApiError> {
    let belongs = match run {
        Some(run) => artifact::Column::RunId.eq(run),
        None => artifact::Column::RunId.is_null(),
    };
    tenancy::artifacts_of(task)
        .filter(belongs)
        .filter(artifact::Column::Name.eq(name))
        .one(&api.platform.database)
        .await
        .map_err(ApiError::database("finding an artifact"))
}

fn etag(artifact: &artifact::Model) -> String {
    format!("\"{}\"", artifact.sha256)
}

/// Whether the client has the file already.
fn is_cached(headers: &HeaderMap, artifact: &artifact::Model) -> bool {
    let Ok(etag) = etag(artifact).parse() else {
        return false;
    };
    // True where the condition holds: none of the client's is this one.
    headers
        .typed_get::<IfNoneMatch>()
        .is_some_and(|known| !known.precondition_passes(&etag))
}

/// Returns the requested range, if the file is still the one that the client has. Several ranges
/// and other units yield the whole file, as RFC 9110 (14.2) allows.
fn read_range(
    headers: &HeaderMap,
    artifact: &artifact::Model,
) -> Result<Option<Range<u64>>, ApiError> {
    let size = artifact.size.unsigned_abs();
    let Some(requested) = headers.typed_get::<headers::Range>() else {
        return Ok(None);
    };
    let same = match headers.get(header::IF_RANGE) {
        None => true,
        Some(known) => known.as_bytes() == etag(artifact).as_bytes(),
    };
    if !same {
        return Ok(None);
    }
    // Several ranges are never served, so they need no validation.
    if headers
        .get(header::RANGE)
        .is_some_and(|requested| requested.as_bytes().contains(&b','))
    {
        return Ok(None);
    }
    // A suffix longer than the file means the whole file.
    if suffix_length(headers).is_some_and(|length| length > size) && size > 0 {
        return Ok(Some(0..size));
    }
    let Some((from, to)) = requested.satisfiable_ranges(size).next() else {
        return Err(ApiError::NoSuchRange(size));
    };
    let begin = match from {
        Bound::Included(from) => from,
        Bound::Excluded(from) => from.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match to {
        Bound::Included(to) => to.saturating_add(1),
        Bound::Excluded(to) => to,
        Bound::Unbounded => size,
    }
    .min(size);
    if begin < end {
        Ok(Some(begin..end))
    } else {
        Err(ApiError::NoSuchRange(size))
    }
}

/// Returns the length of a requested suffix.
fn suffix_length(headers: &HeaderMap) -> Option<u64> {
    let requested = headers.get(header::RANGE)?.to_str().ok()?;
    let length = requested.strip_prefix("bytes=")?.trim().strip_prefix('-')?;
    // A number that is too large for a computer is too large for the file as well.
    let all_digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| length.parse().unwrap_or(u64::MAX))
}

/// Returns headers that make browsers download the file. Model output never runs as a page of this
/// site.
fn file_headers(artifact: &artifact::Model, range: Option<Range<u64>>) -> HeaderMap {
    let file_name = utf8_percent_encode(&artifact.name, UNRESERVED);
    let size = artifact.size.unsigned_abs();
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    let mut headers = HeaderMap::new();
    let part = range.map(|Range { start, end }| {
        let text = format!("bytes {start}-{}/{size}", end - 1);
        (header::CONTENT_RANGE, text)
    });
    let all = [
        (header::CONTENT_TYPE, artifact.media_type.clone()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag(artifact)),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename*=UTF-8''{file_name}"),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "sandbox".to_owned()),
    ];
    for (name, value) in all.into_iter().chain(part) {
        // Names and types are plain text. A value that no header can carry is skipped.
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    headers
}

/// Fetches all files of a task in one archive, written while it is sent.
#[utoipa::path(get, path = "/api/v1/artifacts/{task_id}/bundle", tag = "artifacts",
    params(("task_id" = Uuid, Path)),
    responses(
        (status = 200, description = "The files as a zip archive", content_type = "application/zip",
            body = String),
        (status = 404, description = "The task does not exist", body = ErrorBody),
        (status = 409, description = "The task has not ended", body = ErrorBody)))]
async fn download_bundle(
    State(api): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let task = tenancy::task(&api.platform.database, &caller, &id).await?;
    if !task.status.is_final() {
        return Err(locked_error(&task, "The bundle"));
    }
    let files = TaskFiles::load(&api, &task).await?;
    let entries = files
        .artifacts
        .iter()
        .map(|artifact| Entry {
            path: files.path(artifact),
            artifact: artifact.clone(),
        })
        .collect();
    let content = bundle::stream(api.platform.artifacts.clone(), entries);
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.zip\"", task.id),
        ),
    ];
    Ok((headers, Body::from_stream(content)).into_response())
}
