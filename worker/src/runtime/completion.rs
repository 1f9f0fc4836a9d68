//! Writes the end of a job that did not complete itself.

use chrono::Utc;
use domain::vocabulary::{FailureCause, Level, RunStatus, TaskStatus};
use entity::{RunId, agent_run};
use platform::events::{Event, NewEvent};
use platform::queue::{Notification, Work, lease};
use platform::telemetry::chain;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use std::time::Duration;
use tracing::{error, info, warn};

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::{JobError, Retry};
use crate::jobs::deliver_webhook::record_delivery_failure;
use crate::jobs::judge_task::record_judging_failure;
use crate::lifecycle::{RunEnd, TaskProblem, end_all_runs, end_run, end_task};
use crate::run_identity::RunIdentity;
use crate::runtime::held_job::StopReason;

/// Maximum number of attempts to write the end of a job. After that its lease expires.
const MAX_TRIES: u32 = 5;

/// End of a job that did not complete itself.
enum Completion {
    Nothing,
    Cancelled,
    Release,
    Failed {
        cause: FailureCause,
        retry: Retry,
        message: String,
    },
}

/// Completes a job by its result and the reason why it was stopped.
pub(super) async fn complete(
    worker: &Worker,
    job: &ClaimedJob,
    reason: Option<StopReason>,
    result: Result<(), JobError>,
) {
    let completion = completion_of(reason, result);
    let mut tries = 1;
    loop {
        match write(worker, job, &completion).await {
            Ok(()) => return,
            Err(JobError::LeaseLost | JobError::Cancelled) => {
                info!("lease lost: another worker owns the job");
                return;
            }
            Err(error) if tries >= MAX_TRIES => {
                error!(
                    error = chain(&error),
                    "could not write the end of a job; its lease will expire"
                );
                return;
            }
            Err(error) => {
                warn!(
                    error = chain(&error),
                    "could not write the end of a job; retrying"
                );
                tokio::time::sleep(Duration::from_millis(200) * 2_u32.pow(tries)).await;
                tries += 1;
            }
        }
    }
}

fn completion_of(reason: Option<StopReason>, result: Result<(), JobError>) -> Completion {
    match (result, reason) {
        (Ok(()) | Err(JobError::LeaseLost), _) | (Err(_), Some(StopReason::LeaseLost)) => {
            Completion::Nothing
        }
        (Err(_), Some(StopReason::CancelRequested)) => Completion::Cancelled,
        (Err(JobError::Cancelled), None) => Completion::Cancelled,
        (Err(_), Some(StopReason::Stopping)) => Completion::Release,
        (
            Err(
                ref error @ JobError::Failed {
                    cause, ref retry, ..
                },
            ),
            None,
        ) => Completion::Failed {
            cause,
            retry: retry.clone(),
            message: chain(error),
        },
    }
}

async fn write(worker: &Worker, job: &ClaimedJob, completion: &Completion) -> Result<(), JobError> {
    if matches!(completion, Completion::Nothing) {
        return Ok(());
    }
    let transaction = worker.begin(job).await?;
    let notifications = match completion {
        Completion::Nothing => Vec::new(),
        Completion::Cancelled => {
            lease::cancel(&transaction, &job.lease).await?;
            end_work(worker, &transaction, &job.lease.work, &RunEnd::Cancelled).await?
        }
        Completion::Release => {
            if let Work::RunAgent { run, .. } = &job.lease.work {
                back_to_queue(&transaction, *run, RunStatus::Queued).await?;
            }
            vec![lease::release(&transaction, &job.lease).await?]
        }
        Completion::Failed {
            cause,
            retry,
            message,
        } => {
            let redacted = worker.platform.redactor.redact(message);
            let again = lease::fail(
                &transaction,
                &job.lease,
                &redacted,
                retry.wait(
                    u32::try_from(job.lease.attempt).unwrap_or(1),
                    worker.settings.provider_wait,
                ),
                &worker.platform.queue,
            )
            .await?;
            match again {
                // The retry is not due yet; the rescuer notifies when it is.
                Some(_) => {
                    record_retry(worker, &transaction, job, *cause, message).await?;
                    warn!("the job failed and will be retried: {redacted}");
                    Vec::new()
                }
                None => {
                    warn!("the job failed: {redacted}");
                    let end = RunEnd::Failed {
                        cause: *cause,
                        message: message.clone(),
                    };
                    end_work(worker, &transaction, &job.lease.work, &end).await?
                }
            }
        }
    };
    transaction.commit().await?;
    worker.notify(job.lease.task_id, &notifications).await;
    Ok(())
}

/// Ends the run, task, judging or delivery that a job was for.
pub(super) async fn end_work(
    worker: &Worker,
    transaction: &impl ConnectionTrait,
    work: &Work,
    end: &RunEnd,
) -> Result<Vec<Notification>, JobError> {
    let redactor = &worker.platform.redactor;
    match work {
        Work::PrepareTask { task } | Work::FinishTask { task } => {
            end_all_runs(transaction, *task, end, redactor).await?;
            let (status, problem) = match end {
                RunEnd::Done { .. } => (TaskStatus::Done, None),
                RunEnd::Cancelled => (TaskStatus::Cancelled, None),
                RunEnd::Failed { cause, message } => {
                    let problem = TaskProblem {
                        cause: *cause,
                        message: message.clone(),
                    };
                    (TaskStatus::Error, Some(problem))
                }
            };
            Ok(end_task(transaction, *task, status, problem.as_ref(), redactor).await?)
        }
        Work::JudgeTask { task, judging } => {
            if let RunEnd::Failed { message, .. } = end {
                record_judging_failure(transaction, *task, *judging, message, redactor).await?;
            }
            Ok(Vec::new())
        }
        Work::DeliverWebhook { delivery, .. } => {
            let message = match end {
                RunEnd::Failed { message, .. } => message.as_str(),
                RunEnd::Cancelled | RunEnd::Done { .. } => "it was cancelled",
            };
            record_delivery_failure(transaction, *delivery, message, redactor).await?;
            Ok(Vec::new())
        }
        Work::RunAgent { run, .. } | Work::JudgeRun { run, .. } => {
            let Some(run) = agent_run::Entity::find_by_id(*run).one(transaction).await? else {
                return Ok(Vec::new());
            };
            Ok(end_run(transaction, &RunIdentity::from(&run), end, redactor).await?)
        }
    }
}

async fn back_to_queue(
    transaction: &impl ConnectionTrait,
    run: RunId,
    status: RunStatus,
) -> Result<(), JobError> {
    agent_run::Entity::update_many()
        .set(agent_run::ActiveModel {
            status: Set(status),
            phase: Set(None),
            updated_at: Set(Utc::now()),
            ..Default::default()
        })
        .filter(agent_run::Column::Id.eq(run))
        .exec(transaction)
        .await?;
    Ok(())
}

async fn record_retry(
    worker: &Worker,
    transaction: &impl ConnectionTrait,
    job: &ClaimedJob,
    cause: FailureCause,
    message: &str,
) -> Result<(), JobError> {
    let event = match &job.lease.work {
        Work::RunAgent { run, .. } | Work::JudgeRun { run, .. } => {
            let status = match &job.lease.work {
                Work::JudgeRun { .. } => RunStatus::Judging,
                Work::RunAgent { .. }
                | Work::PrepareTask { .. }
                | Work::FinishTask { .. }
                | Work::JudgeTask { .. }
                | Work::DeliverWebhook { .. } => RunStatus::Queued,
            };
            back_to_queue(transaction, *run, status).await?;
            agent_run::Entity::update_many()
                .col_expr(
                    agent_run::Column::RetryCount,
                    Expr::col(agent_run::Column::RetryCount).add(1),
                )
                .filter(agent_run::Column::Id.eq(*run))
                .exec(transaction)
                .await?;
            let Some(run) = agent_run::Entity::find_by_id(*run).one(transaction).await? else {
                return Ok(());
            };
            let identity = RunIdentity::from(&run);
            let event = Event::RunFailed {
                agent: identity.agent.clone(),
                trial: identity.trial,
                cause: cause.to_string(),
                message: message.to_owned(),
                will_retry: true,
            };
            identity.event(Level::Warning, event)
        }
        // The log of a finished task is closed.
        Work::JudgeTask { .. } | Work::DeliverWebhook { .. } => return Ok(()),
        Work::PrepareTask { .. } | Work::FinishTask { .. } => NewEvent {
            run: None,
            level: Level::Warning,
            event: Event::Progress {
                stage: "retry".to_owned(),
                message: message.to_owned(),
                percent: None,
            },
        },
    };
    let redactor = &worker.platform.redactor;
    platform::events::append(transaction, job.lease.task_id, &[event], redactor).await?;
    Ok(())
}
