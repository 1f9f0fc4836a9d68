//! `/api/v1/agents`: the available agents and the workers that have them.
//!
//! Agents are installed on the machines of workers. This process starts no program; it reads the
//! reports of live workers.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use domain::Capabilities;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agents::registry::{KnownAgent, ReportedAgent, reported_agents};
use crate::caller::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::state::ApiState;
use crate::tenancy;

/// Problem and remedy if no live worker reports an agent.
const NO_REPORT: &str = "no live worker reports it";
const START_WORKER: &str = "start a worker whose version has this agent";

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_agents))
}

/// The agents that a task can name.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentList {
    agents: Vec<AgentView>,
}

/// An agent, as live workers report it. Values that no worker reports are null.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentView {
    /// Name in task requests.
    name: String,
    display_name: String,
    /// Built in, to test the instrument.
    control: bool,
    /// Whether a request can name a model: `claude:claude-sonnet-4-5`.
    takes_model: bool,
    /// Whether a living worker has it.
    installed: bool,
    /// That of the first worker that has it.
    version: Option<String>,
    capabilities: Option<Capabilities>,
    /// Why it is not installed, where no worker has it.
    problem: Option<String>,
    /// Remedy if no worker has the agent.
    fix: Option<String>,
    /// The workers that have it.
    workers: Vec<AgentWorker>,
}

/// A worker that has an agent.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentWorker {
    /// Of the worker; new at every start.
    name: String,
    version: Option<String>,
}

/// Lists the agents: built-in agents first, then those that only workers report.
#[utoipa::path(get, path = "/api/v1/agents", tag = "agents",
    responses(
        (status = 200, description = "The agents", body = AgentList),
        (status = 503, description = "The database does not respond", body = ErrorBody)))]
async fn list_agents(
    State(api): State<ApiState>,
    _caller: Caller,
) -> Result<Json<AgentList>, ApiError> {
    let workers = tenancy::live_workers()
        .all(&api.platform.database)
        .await
        .map_err(ApiError::database("listing workers"))?;
    let told = workers.iter().flat_map(|worker| {
        reported_agents(worker)
            .into_iter()
            .map(|found| (&worker.name, found))
    });
    let mut agents: Vec<AgentView> = api.known_agents.iter().map(AgentView::built_in).collect();
    let mut others: BTreeMap<String, AgentView> = BTreeMap::new();
    for (worker, found) in told {
        match agents.iter_mut().find(|agent| agent.name == found.name) {
            Some(agent) => agent.add_report(worker, found),
            None => others
                .entry(found.name.clone())
                .or_insert_with(|| AgentView::reported_only(&found))
                .add_report(worker, found),
        }
    }
    agents.extend(others.into_values());
    for agent in &mut agents {
        agent.complete();
    }
    Ok(Json(AgentList { agents }))
}

impl AgentView {
    /// Returns a built-in agent without reports of workers.
    fn built_in(known: &KnownAgent) -> Self {
        let KnownAgent {
            name,
            display_name,
            control,
            takes_model,
        } = known.clone();
        Self {
            name,
            display_name,
            control,
            takes_model,
            installed: false,
            version: None,
            capabilities: None,
            problem: None,
            fix: None,
            workers: Vec::new(),
        }
    }

    /// Returns an agent that only workers report.
    fn reported_only(found: &ReportedAgent) -> Self {
        Self::built_in(&KnownAgent {
            name: found.name.clone(),
            display_name: found.name.clone(),
            control: found.control,
            takes_model: false,
        })
    }

    /// Adds the report of one worker. A worker that has the agent takes precedence, then the first
    /// report.
    fn add_report(&mut self, worker: &str, found: ReportedAgent) {
        let ReportedAgent {
            name: _,
            display_name,
            available,
            version,
            problem,
            fix,
            control: _,
            default_model,
            capabilities,
        } = found;
        if let Some(display_name) = display_name {
            self.display_name = display_name;
        }
        self.takes_model |= default_model.is_some();
        if available && !self.installed {
            self.version = version.clone();
            self.capabilities = capabilities;
        } else {
            self.capabilities = self.capabilities.or(capabilities);
        }
        if available {
            self.installed = true;
            self.workers.push(AgentWorker {
                name: worker.to_owned(),
                version,
            });
        } else {
            self.problem = self.problem.take().or(problem);
            self.fix = self.fix.take().or(fix);
        }
    }

    /// Completes the view after all reports. An agent that some worker has shows no problem. An
    /// agent without a report gets one.
    fn complete(&mut self) {
        if self.installed {
            self.problem = None;
            self.fix = None;
        } else if self.problem.is_none() {
            self.problem = Some(NO_REPORT.to_owned());
            self.fix = Some(START_WORKER.to_owned());
        }
    }
}
