//! `/health`: health checks and metrics. Figures come from the database, because there may be
//! several processes.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::vocabulary::JobState;
use entity::worker;
use platform::telemetry::chain;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agents::registry::reported_agents;
use crate::health::snapshot::Counted;
use crate::http::error::{ApiError, ErrorBody};
use crate::state::ApiState;
use crate::tenancy;

/// The public reason why an agent is not available.
const UNUSABLE: &str = "Not available. GET /api/v1/agents gives the reason";
const SERVICE: &str = "Memory-Break Orchestrator";
/// Timeout of a health check.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(show_health))
        .routes(routes!(show_liveness))
        .routes(routes!(show_readiness))
        .routes(routes!(show_detailed_health))
        .routes(routes!(show_metrics))
}

/// That the service is there.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthView {
    #[schema(value_type = String)]
    status: &'static str,
    #[schema(value_type = String)]
    service: &'static str,
    #[schema(value_type = String)]
    version: &'static str,
    timestamp: DateTime<Utc>,
}

/// That the process answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct LivenessView {
    alive: bool,
    timestamp: DateTime<Utc>,
}

/// Whether requests should be sent here.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReadinessView {
    ready: bool,
    checks: Checks,
}

/// Readiness depends on the database and the queue. `agents` shows whether a live worker has an
/// agent.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checks {
    database: bool,
    queue: bool,
    agents: bool,
}

/// The parts of the service.
#[derive(Serialize, ToSchema)]
pub(crate) struct DetailedHealth {
    /// `healthy`, `degraded` (it works, but not all of it) or `unhealthy`.
    #[schema(value_type = String)]
    status: &'static str,
    #[schema(value_type = String)]
    service: &'static str,
    #[schema(value_type = String)]
    version: &'static str,
    #[schema(value_type = Object)]
    components: Value,
}

/// Jobs, workers and agents.
#[derive(Serialize, ToSchema)]
pub(crate) struct MetricsView {
    queue_metrics: BTreeMap<String, QueueFigures>,
    worker_metrics: WorkerFigures,
    agent_metrics: AgentFigures,
}

/// The jobs of one queue.
#[derive(Clone, Default, Serialize, ToSchema)]
pub(crate) struct QueueFigures {
    /// Waiting.
    length: i64,
    failed_count: i64,
    /// Being worked on.
    started_count: i64,
    finished_count: i64,
    cancelled_count: i64,
}

/// Workers that were active within the last minute.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct WorkerFigures {
    total_workers: usize,
    active_workers: usize,
    idle_workers: usize,
    slots: i64,
    busy_slots: i64,
    queue_lengths: BTreeMap<String, i64>,
}

/// Agents that live workers report.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct AgentFigures {
    total_agents: usize,
    available_agents: usize,
    agents: BTreeMap<String, AgentHealth>,
}

/// An agent, as a worker that has it reports.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct AgentHealth {
    registered: bool,
    available: bool,
    version_info: VersionInfo,
    error: Option<String>,
}

/// Version of an agent's program.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct VersionInfo {
    version: Option<String>,
}

/// Shows that the service responds.
#[utoipa::path(get, path = "/health", tag = "health",
    responses((status = 200, description = "The service responds", body = HealthView)))]
async fn show_health() -> Json<HealthView> {
    Json(HealthView {
        status: "healthy",
        service: SERVICE,
        version: env!("CARGO_PKG_VERSION"),
        timestamp: Utc::now(),
    })
}

/// Shows that the process responds. Needs no other service.
#[utoipa::path(get, path = "/health/liveness", tag = "health",
    responses((status = 200, description = "The process responds", body = LivenessView)))]
async fn show_liveness() -> Json<LivenessView> {
    Json(LivenessView {
        alive: true,
        timestamp: Utc::now(),
    })
}

/// Checks the database and the notifier.
#[utoipa::path(get, path = "/health/readiness", tag = "health",
    responses(
        (status = 200, description = "Database and notifier respond", body = ReadinessView),
        (status = 503, description = "The database or the notifier does not respond", body = ReadinessView)))]
async fn show_readiness(State(api): State<ApiState>) -> Response {
    let (database, queue) = tokio::join!(database_problem(&api), queue_problem(&api));
    let agents = match &database {
        Ok(workers) => agent_figures(workers).available_agents > 0,
        Err(_) => false,
    };
    let ready = database.is_ok() && queue.is_none();
    let view = ReadinessView {
        ready,
        checks: Checks {
            database: database.is_ok(),
            queue: queue.is_none(),
            agents,
        },
    };
    (status_if(ready), Json(view)).into_response()
}

fn status_if(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Returns the live workers, or the problem with the database.
async fn database_problem(api: &ApiState) -> Result<Vec<worker::Model>, String> {
    let asked = tenancy::live_workers().all(&api.platform.database);
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok(workers)) => Ok(workers),
        Ok(Err(error)) => {
            tracing::warn!(error = chain(&error), "database health check failed");
            Err("Connection failed".to_owned())
        }
        Err(_) => Err("Timeout".to_owned()),
    }
}

async fn queue_problem(api: &ApiState) -> Option<String> {
    match tokio::time::timeout(TIMEOUT, api.platform.notifier.healthy()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::warn!(error = chain(&error), "notifier health check failed");
            Some("Connection failed".to_owned())
        }
        Err(_) => Some("Timeout".to_owned()),
    }
}

/// Shows the status of each component.
#[utoipa::path(get, path = "/health/detailed", tag = "health",
    responses(
        (status = 200, description = "The service works, possibly degraded", body = DetailedHealth),
        (status = 503, description = "The service does not work", body = DetailedHealth)))]
async fn show_detailed_health(State(state): State<ApiState>) -> Response {
    let api = &state;
    let (database, queue) = tokio::join!(database_problem(api), queue_problem(api));
    let queues = match &database {
        Ok(_) => match state.counts.of(&api.platform.database).await {
            Ok(counted) => queue_figures(&counted),
            Err(_) => BTreeMap::new(),
        },
        Err(_) => BTreeMap::new(),
    };
    let no_workers = Vec::new();
    let workers = database.as_ref().unwrap_or(&no_workers);
    let agents = agent_figures(workers);
    let status = match (&database, &queue) {
        (Err(_), _) => "unhealthy",
        (Ok(_), None) if agents.available_agents > 0 => "healthy",
        (Ok(_), _) => "degraded",
    };
    let word = |good| if good { "healthy" } else { "unhealthy" };
    let components = json!({
        "database": {
            "status": word(database.is_ok()),
            "details": database.as_ref().err().map_or("Connection successful", String::as_str),
        },
        "queue": {
            "status": word(queue.is_none()),
            "details": {
                // Without Redis nothing is connected, and this is not a problem.
                "redis_connected": queue.is_none() && api.platform.rate_limit.is_some(),
                "problem": queue,
                "queue_stats": queues,
                "worker_stats": worker_figures(workers, &queues),
            },
        },
        "agents": {
            "status": if agents.available_agents > 0 { "healthy" } else { "degraded" },
            "healthy_count": agents.available_agents,
            "total_count": agents.total_agents,
            "details": agents.agents,
        },
    });
    let view = DetailedHealth {
        status,
        service: SERVICE,
        version: env!("CARGO_PKG_VERSION"),
        components,
    };
    (status_if(database.is_ok()), Json(view)).into_response()
}

/// Counts jobs, workers and agents.
#[utoipa::path(get, path = "/health/metrics", tag = "health",
    responses(
        (status = 200, description = "The figures", body = MetricsView),
        (status = 503, description = "The database does not respond", body = ErrorBody)))]
async fn show_metrics(State(state): State<ApiState>) -> Result<Json<MetricsView>, ApiError> {
    let database = &state.platform.database;
    let counted = state.counts.of(database).await?;
    let queues = queue_figures(&counted);
    Ok(Json(MetricsView {
        worker_metrics: worker_figures(&counted.workers, &queues),
        agent_metrics: agent_figures(&counted.workers),
        queue_metrics: queues,
    }))
}

/// The jobs by queue and state.
fn queue_figures(counted: &Counted) -> BTreeMap<String, QueueFigures> {
    let mut queues: BTreeMap<String, QueueFigures> = BTreeMap::new();
    for (queue, state, count) in &counted.jobs {
        let (figures, count) = (queues.entry(queue.clone()).or_default(), *count);
        match state {
            JobState::Queued => figures.length = count,
            JobState::Leased => figures.started_count = count,
            JobState::Done => figures.finished_count = count,
            JobState::Failed => figures.failed_count = count,
            JobState::Cancelled => figures.cancelled_count = count,
        }
    }
    queues
}

fn worker_figures(
    workers: &[worker::Model],
    queues: &BTreeMap<String, QueueFigures>,
) -> WorkerFigures {
    let active = workers.iter().filter(|worker| worker.busy > 0).count();
    WorkerFigures {
        total_workers: workers.len(),
        active_workers: active,
        idle_workers: workers.len() - active,
        slots: workers.iter().map(|worker| i64::from(worker.slots)).sum(),
        busy_slots: workers.iter().map(|worker| i64::from(worker.busy)).sum(),
        queue_lengths: queues
            .iter()
            .map(|(queue, figures)| (queue.clone(), figures.length))
            .collect(),
    }
}

/// An agent is available if any living worker has it.
fn agent_figures(workers: &[worker::Model]) -> AgentFigures {
    let mut agents: BTreeMap<String, AgentHealth> = BTreeMap::new();
    for report in workers.iter().flat_map(reported_agents) {
        let health = AgentHealth {
            registered: true,
            available: report.available,
            version_info: VersionInfo {
                version: report.version,
            },
            // This endpoint is public, and reports of workers contain paths of their machines.
            error: report.problem.map(|_| UNUSABLE.to_owned()),
        };
        let known = agents.entry(report.name).or_insert_with(|| health.clone());
        if health.available && !known.available {
            *known = health;
        }
    }
    AgentFigures {
        total_agents: agents.len(),
        available_agents: agents.values().filter(|agent| agent.available).count(),
        agents,
    }
}
