//! Repeats the judging of a finished task without running its agents. New figures are added beside
//! the old ones.

use chrono::Utc;
use domain::vocabulary::{JudgingStatus, RunStatus, TaskStatus};
use entity::{TaskId, agent_run, judging, task};
use platform::queue::lease;
use platform::redaction::Redactor;
use results::ranking::RunState;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
};
use tracing::{info, warn};

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;
use crate::jobs::finish_task::replace_documents;
use crate::lifecycle::end_job;
use crate::material::load_material;
use crate::scoring::judges::{ensure_judging, summarize_judging};
use crate::scoring::probes::{grade_run, store_run_grades};
use crate::scoring::recall::{judge_recalls, load_facts};
use crate::task_probes::load_probes;

pub(crate) async fn judge_task(
    worker: &Worker,
    job: &ClaimedJob,
    task_id: TaskId,
    number: i32,
) -> Result<(), JobError> {
    let database = &worker.platform.database;
    let task = task::Entity::find_by_id(task_id).one(database).await?;
    let row = judging::Entity::find()
        .filter(judging::Column::TaskId.eq(task_id))
        .filter(judging::Column::Number.eq(number))
        .one(database)
        .await?;
    let (Some(task), Some(row)) = (task, row) else {
        warn!("judging {number} of task {task_id} was deleted");
        return end_job(worker, job).await;
    };
    if row.status == JudgingStatus::Done && task.judging == number {
        // An earlier attempt already stored its figures.
        return finish_judging(worker, job, task_id, number).await;
    }
    if row.status != JudgingStatus::Queued {
        return end_job(worker, job).await;
    }
    if task.status != TaskStatus::Done {
        return refuse(worker, job, &task, number).await;
    }
    let judges = ensure_judging(worker, job, task_id, number).await?;
    let material = load_material(worker, task_id).await?;
    let facts = load_facts(worker, &task, &material).await?;
    let probes = load_probes(worker, task_id).await?.into_iter().collect();
    let runs = agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task_id))
        .filter(agent_run::Column::Status.eq(RunStatus::Done))
        .order_by_asc(agent_run::Column::Id)
        .all(database)
        .await?;
    let mut judged = Vec::with_capacity(runs.len());
    for run in runs {
        let grades = grade_run(worker, &task, &run, &probes).await?;
        let recalls = judge_recalls(worker, &run, number, &facts, &judges).await?;
        recalls.store_votes(worker, job, &run, number).await?;
        judged.push((run, grades, recalls));
    }
    let summary = summarize_judging(worker, &task, number).await?;
    let summed = summary.map(|summary| summary.columns()).transpose()?;

    let transaction = worker.begin(job).await?;
    for (run, grades, recalls) in judged {
        let is_scored = RunState::from(&run).may_be_scored();
        let first = grades.first().filter(|_| is_scored);
        let change = agent_run::ActiveModel {
            overall_score: Set(first.and_then(|figures| figures.overall_score)),
            passed: Set(first.and_then(|figures| figures.passed)),
            ..Default::default()
        };
        agent_run::Entity::update_many()
            .set(change)
            .filter(agent_run::Column::Id.eq(run.id))
            .exec(&transaction)
            .await?;
        store_run_grades(&transaction, run.id, number, grades).await?;
        recalls.store(&transaction, &run, number).await?;
    }
    let now = Utc::now();
    judging::Entity::update_many()
        .set(judging::ActiveModel {
            status: Set(JudgingStatus::Done),
            completed_at: Set(Some(now)),
            ..summed.unwrap_or_default()
        })
        .filter(judging::Column::Id.eq(row.id))
        .exec(&transaction)
        .await?;
    task::Entity::update_many()
        .set(task::ActiveModel {
            judging: Set(number),
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(task_id))
        .exec(&transaction)
        .await?;
    transaction.commit().await?;

    finish_judging(worker, job, task_id, number).await
}

/// Ends a judging of a task that cannot be judged, so that another judging can be requested.
async fn refuse(
    worker: &Worker,
    job: &ClaimedJob,
    task: &task::Model,
    number: i32,
) -> Result<(), JobError> {
    let message = format!(
        "the task is {}; only tasks that are done can be judged again",
        task.status
    );
    let transaction = worker.begin(job).await?;
    let redactor = &worker.platform.redactor;
    record_judging_failure(&transaction, task.id, number, &message, redactor).await?;
    lease::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    warn!(task.id = %task.id, "refused judging {number}: {message}");
    Ok(())
}

/// Writes the documents of a judging whose figures are shown, and completes its job.
///
/// The documents of the previous judging are kept under its number. Another attempt after a crash
/// does the same again.
async fn finish_judging(
    worker: &Worker,
    job: &ClaimedJob,
    task_id: TaskId,
    number: i32,
) -> Result<(), JobError> {
    // A judging that failed was never shown.
    let before = judging::Entity::find()
        .filter(judging::Column::TaskId.eq(task_id))
        .filter(judging::Column::Number.lt(number))
        .filter(judging::Column::Status.eq(JudgingStatus::Done))
        .order_by_desc(judging::Column::Number)
        .one(&worker.platform.database)
        .await?
        .map_or(1, |before| before.number);
    replace_documents(worker, job, task_id, Some(before)).await?;
    let transaction = worker.begin(job).await?;
    lease::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    info!(task.id = %task_id, "judged task {task_id} again (judging {number})");
    Ok(())
}

/// Records that a judging failed. The existing figures stay.
pub(crate) async fn record_judging_failure(
    connection: &impl ConnectionTrait,
    task: TaskId,
    number: i32,
    message: &str,
    redactor: &Redactor,
) -> Result<(), DbErr> {
    judging::Entity::update_many()
        .set(judging::ActiveModel {
            status: Set(JudgingStatus::Error),
            error_message: Set(Some(redactor.redact(message).into_owned())),
            completed_at: Set(Some(Utc::now())),
            ..Default::default()
        })
        .filter(judging::Column::TaskId.eq(task))
        .filter(judging::Column::Number.eq(number))
        .filter(judging::Column::Status.eq(JudgingStatus::Queued))
        .exec(connection)
        .await?;
    Ok(())
}
