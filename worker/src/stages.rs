//! The stages of a task, in order.
//!
//! A stage takes ids and leaves rows. It ends its own job in its last transaction; attempts,
//! leases and cancellation are the [supervisor](crate::supervisor)'s.

pub(crate) mod ending;
pub(crate) mod prepare;
pub(crate) mod run;
pub(crate) mod grades;
pub(crate) mod judge;
pub(crate) mod judge_again;
pub(crate) mod recalls;
pub(crate) mod judging;
pub(crate) mod finish;
pub(crate) mod deliver;
pub(crate) use std::sync::Arc;

use platform::queue::Work;

use crate::job::{Job, StageError, Worker};

/// Does a unit of work.
pub(crate) async fn perform(worker: &Arc<Worker>, job: &Job) -> Result<(), StageError> {
    match &job.lease.work {
        Work::PrepareTask { task } => prepare::prepare_task(worker, job, *task).await,
        Work::RunAgent { task, run, .. } => run::run_agent(worker, job, *task, *run).await,
        Work::JudgeRun { task, run } => judge::judge_run(worker, job, *task, *run).await,
        Work::FinishTask { task } => finish::finish_task(worker, job, *task).await,
        Work::JudgeTask { task, judging } => {
            judge_again::judge_task(worker, job, *task, *judging).await
        }
        Work::DeliverWebhook { delivery, .. } => deliver::deliver(worker, job, *delivery).await,
    }
}
