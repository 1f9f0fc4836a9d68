//! Finds the run that a request names.

use entity::{RunId, agent_run};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use crate::http::error::ApiError;
use crate::http::validation::FieldReader;
use crate::state::ApiState;
use crate::tenancy::{self, TaskSummary};

/// The trial that a query names, if it names one.
pub(crate) fn read_trial(query: &mut FieldReader) -> Option<i32> {
    query
        .integer("trial", 1, i32::MAX.into())
        .and_then(|trial| i32::try_from(trial).ok())
}

/// Returns a run of an agent: the given trial, or the newest.
pub(crate) async fn run_of(
    api: &ApiState,
    task: &TaskSummary,
    agent: &str,
    trial: Option<i32>,
) -> Result<Option<agent_run::Model>, ApiError> {
    run_query(task, agent, trial)
        .one(&api.platform.database)
        .await
        .map_err(ApiError::database("finding a run"))
}

/// Returns only the id of such a run.
pub(crate) async fn newest_run_of(
    api: &ApiState,
    task: &TaskSummary,
    agent: &str,
    trial: Option<i32>,
) -> Result<Option<RunId>, ApiError> {
    run_query(task, agent, trial)
        .select_only()
        .column(agent_run::Column::Id)
        .into_tuple()
        .one(&api.platform.database)
        .await
        .map_err(ApiError::database("finding a run"))
}

/// The newest run first.
fn run_query(task: &TaskSummary, agent: &str, trial: Option<i32>) -> Select<agent_run::Entity> {
    let mut wanted = tenancy::runs_of(task).filter(agent_run::Column::Agent.eq(agent));
    if let Some(trial) = trial {
        wanted = wanted.filter(agent_run::Column::Trial.eq(trial));
    }
    QueryTrait::query(&mut wanted).clear_order_by();
    wanted.order_by_desc(agent_run::Column::Trial).limit(1)
}
