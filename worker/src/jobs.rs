//! The jobs of a worker, one file per job kind.
//!
//! A job takes ids and leaves rows. It completes its own queue entry in its last transaction.
//! Attempts, leases and cancellation belong to the [runtime](crate::runtime).

mod unfinished_run;
pub(crate) mod prepare_task;
pub(crate) mod run_agent;
pub(crate) mod judge_run;
pub(crate) mod finish_task;
pub(crate) mod judge_task;
pub(crate) mod deliver_webhook;
pub(crate) use std::sync::Arc;

use platform::queue::Work;

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;

/// Performs a claimed job.
pub(crate) async fn perform(worker: &Arc<Worker>, job: &ClaimedJob) -> Result<(), JobError> {
    match &job.lease.work {
        Work::PrepareTask { task } => prepare_task::prepare_task(worker, job, *task).await,
        Work::RunAgent { task, run, .. } => run_agent::run_agent(worker, job, *task, *run).await,
        Work::JudgeRun { task, run } => judge_run::judge_run(worker, job, *task, *run).await,
        Work::FinishTask { task } => finish_task::finish_task(worker, job, *task).await,
        Work::JudgeTask { task, judging } => {
            judge_task::judge_task(worker, job, *task, *judging).await
        }
        Work::DeliverWebhook { delivery, .. } => {
            deliver_webhook::deliver_webhook(worker, job, *delivery).await
        }
    }
}
