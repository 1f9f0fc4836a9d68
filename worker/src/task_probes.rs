//! The probes of a task.

use entity::{ProbeId, TaskId, probe};
use evaluation::probe::Probe;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use crate::job_context::Worker;
use crate::job_error::JobError;

/// Loads the probes of a task, in the order of the generator.
pub(crate) async fn load_probes(
    worker: &Worker,
    task: TaskId,
) -> Result<Vec<(ProbeId, Probe)>, JobError> {
    let rows = probe::Entity::find()
        .filter(probe::Column::TaskId.eq(task))
        .order_by_asc(probe::Column::Position)
        .all(&worker.platform.database)
        .await?;
    rows.into_iter()
        .map(|row| Ok((row.id, serde_json::from_value(row.spec)?)))
        .collect()
}
