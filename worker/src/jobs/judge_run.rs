//! Judges a run: grades its answers, scores every dimension, and ends the run.

use entity::{RunId, TaskId};
use platform::queue::lease;
use results::ranking::RunState;
use tracing::info;

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;
use crate::jobs::unfinished_run::load_unfinished_run;
use crate::lifecycle::{RunEnd, end_job, end_run};
use crate::material::load_material;
use crate::run_identity::RunIdentity;
use crate::scoring::judges::ensure_judging;
use crate::scoring::probes::{grade_run, store_run_grades};
use crate::scoring::recall::{judge_recalls, load_facts};
use crate::task_probes::load_probes;

pub(crate) async fn judge_run(
    worker: &Worker,
    job: &ClaimedJob,
    task_id: TaskId,
    run_id: RunId,
) -> Result<(), JobError> {
    let Some((task, run)) = load_unfinished_run(worker, task_id, run_id).await? else {
        return end_job(worker, job).await;
    };
    let probes = load_probes(worker, task_id).await?.into_iter().collect();
    let grades = grade_run(worker, &task, &run, &probes).await?;
    // A void run shows its figures and has no score.
    let is_scored = RunState::from(&run).may_be_scored();
    let first = grades.first().filter(|_| is_scored);
    let end = RunEnd::Done {
        overall_score: first.and_then(|figures| figures.overall_score),
        passed: first.and_then(|figures| figures.passed),
    };
    let answers = grades.len();
    let number = task.judging;
    let judges = ensure_judging(worker, job, task_id, number).await?;
    let material = load_material(worker, task_id).await?;
    let facts = load_facts(worker, &task, &material).await?;
    let recalls = judge_recalls(worker, &run, number, &facts, &judges).await?;
    recalls.store_votes(worker, job, &run, number).await?;

    let transaction = worker.begin(job).await?;
    store_run_grades(&transaction, run_id, number, grades).await?;
    recalls.store(&transaction, &run, number).await?;
    let redactor = &worker.platform.redactor;
    let notifications = end_run(&transaction, &RunIdentity::from(&run), &end, redactor).await?;
    lease::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    worker.notify(task_id, &notifications).await;
    info!(run.id = %run_id, "judged run {run_id}: {answers} answers");
    Ok(())
}
