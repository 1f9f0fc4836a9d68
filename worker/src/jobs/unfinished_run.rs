//! The run that a job works on.

use domain::vocabulary::TaskStatus;
use entity::{RunId, TaskId, agent_run, task};
use sea_orm::EntityTrait;
use tracing::warn;

use crate::job_context::Worker;
use crate::job_error::JobError;

/// Loads a run and its task. Returns `None` if the run was deleted or has ended.
///
/// # Errors
///
/// The task was cancelled, or the database operation failed.
pub(super) async fn load_unfinished_run(
    worker: &Worker,
    task_id: TaskId,
    run_id: RunId,
) -> Result<Option<(task::Model, agent_run::Model)>, JobError> {
    let database = &worker.platform.database;
    let task = task::Entity::find_by_id(task_id).one(database).await?;
    let run = agent_run::Entity::find_by_id(run_id).one(database).await?;
    let (Some(task), Some(run)) = (task, run) else {
        warn!(run.id = %run_id, "run {run_id} was deleted");
        return Ok(None);
    };
    if run.status.is_final() {
        return Ok(None);
    }
    if task.status == TaskStatus::Cancelled {
        return Err(JobError::Cancelled);
    }
    Ok(Some((task, run)))
}
