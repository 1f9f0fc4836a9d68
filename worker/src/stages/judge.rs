//! Judges a run: a grade for every answer, figures for every dimension, and the run's end.

use domain::vocabulary::TaskStatus;
use entity::{RunId, TaskId, agent_run, task};
use platform::queue::lease;
use sea_orm::EntityTrait;
use tracing::{info, warn};

use super::ending::{RunEnd, end_run};
use super::grades::{self, grade_run, probes_of};
use super::judging::judging_of;
use super::prepare::end_job;
use super::recalls::{self, judge_recalls};
use super::run::material;
use crate::job::{Job, StageError, Who, Worker};

pub(crate) async fn judge_run(
    worker: &Worker,
    job: &Job,
    task_id: TaskId,
    run_id: RunId,
) -> Result<(), StageError> {
    let database = &worker.platform.database;
    let task = task::Entity::find_by_id(task_id).one(database).await?;
    let run = agent_run::Entity::find_by_id(run_id).one(database).await?;
    let (Some(task), Some(run)) = (task, run) else {
        warn!("there is no run {run_id} any more");
        return end_job(worker, job).await;
    };
    if run.status.is_final() {
        return end_job(worker, job).await;
    }
    if task.status == TaskStatus::Cancelled {
        return Err(StageError::Cancelled);
    }
    let probes = probes_of(worker, task_id).await?;
    let grades = grade_run(worker, &task, &run, &probes).await?;
    // A run whose seal broke shows its figures, and has no score.
    let counts = run.compression_detected && !run.seal_broken;
    let first = grades.first().filter(|_| counts);
    let end = RunEnd::Done {
        overall_score: first.and_then(|figures| figures.overall_score),
        passed: first.and_then(|figures| figures.passed),
    };
    let answers = grades.len();
    let number = task.judging;
    let judges = judging_of(worker, job, task_id, number).await?;
    let material = material(worker, task_id).await?;
    let facts = recalls::facts(worker, &task, &material).await?;
    let recalls = judge_recalls(worker, &run, number, &facts, &judges).await?;
    recalls.keep(worker, job, &run, number).await?;

    let transaction = worker.begin(job).await?;
    grades::store(&transaction, run_id, number, grades).await?;
    recalls.store(&transaction, &run, number).await?;
    let redactor = &worker.platform.redactor;
    let rings = end_run(&transaction, &Who::of(&run), &end, redactor).await?;
    lease::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    worker.tell(task_id, &rings).await;
    info!(run.id = %run_id, "judged run {run_id}: {answers} answers");
    Ok(())
}
