//! Writes what became of a job that did not end itself.

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

use super::Why;
use crate::job::Who;
use crate::job::{Job, Retry, StageError, Worker};
use crate::stages::ending::{RunEnd, TaskProblem, end_all, end_run, end_task};
use crate::stages::{deliver, judge_again};

/// How often the end of a job is tried to be written; after that its lease runs out.
const TRIES: u32 = 5;

/// What is to be written.
enum Verdict {
    Nothing,
    Cancelled,
    HandBack,
    Failed {
        cause: FailureCause,
        retry: Retry,
        message: String,
    },
}

/// Settles a job by what its stage returned and why it was told to stop.
pub(super) async fn settle(
    worker: &Worker,
    job: &Job,
    why: Option<Why>,
    result: Result<(), StageError>,
) {
    let verdict = verdict(why, result);
    let mut tries = 1;
    loop {
        match write(worker, job, &verdict).await {
            Ok(()) => return,
            Err(StageError::LeaseLost | StageError::Cancelled) => {
                info!("the job is somebody else's now");
                return;
            }
            Err(error) if tries >= TRIES => {
                error!(
                    error = chain(&error),
                    "the end of a job cannot be written; its lease will run out"
                );
                return;
            }
            Err(error) => {
                warn!(
                    error = chain(&error),
                    "the end of a job waits for the database"
                );
                tokio::time::sleep(Duration::from_millis(200) * 2_u32.pow(tries)).await;
                tries += 1;
            }
        }
    }
}

fn verdict(why: Option<Why>, result: Result<(), StageError>) -> Verdict {
    match (result, why) {
        (Ok(()) | Err(StageError::LeaseLost), _) | (Err(_), Some(Why::LeaseLost)) => {
            Verdict::Nothing
        }
        (Err(_), Some(Why::CancelRequested)) => Verdict::Cancelled,
        (Err(StageError::Cancelled), None) => Verdict::Cancelled,
        (Err(_), Some(Why::Stopping)) => Verdict::HandBack,
        (
            Err(
                ref error @ StageError::Failed {
                    cause, ref retry, ..
                },
            ),
            None,
        ) => Verdict::Failed {
            cause,
            retry: retry.clone(),
            message: chain(error),
        },
    }
}

async fn write(worker: &Worker, job: &Job, verdict: &Verdict) -> Result<(), StageError> {
    if matches!(verdict, Verdict::Nothing) {
        return Ok(());
    }
    let transaction = worker.begin(job).await?;
    let rings = match verdict {
        Verdict::Nothing => Vec::new(),
        Verdict::Cancelled => {
            lease::cancel(&transaction, &job.lease).await?;
            end_work(worker, &transaction, &job.lease.work, &RunEnd::Cancelled).await?
        }
        Verdict::HandBack => {
            if let Work::RunAgent { run, .. } = &job.lease.work {
                back_to_queue(&transaction, *run, RunStatus::Queued).await?;
            }
            vec![lease::release(&transaction, &job.lease).await?]
        }
        Verdict::Failed {
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
                // It is not due yet: a sweep rings when it is.
                Some(_) => {
                    tell_retry(worker, &transaction, job, *cause, message).await?;
                    warn!("the job failed and is tried again: {redacted}");
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
    worker.tell(job.lease.task_id, &rings).await;
    Ok(())
}

/// Ends what a unit of work was for.
pub(super) async fn end_work(
    worker: &Worker,
    transaction: &impl ConnectionTrait,
    work: &Work,
    end: &RunEnd,
) -> Result<Vec<Notification>, StageError> {
    let redactor = &worker.platform.redactor;
    match work {
        Work::PrepareTask { task } | Work::FinishTask { task } => {
            end_all(transaction, *task, end, redactor).await?;
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
                judge_again::failed(transaction, *task, *judging, message, redactor).await?;
            }
            Ok(Vec::new())
        }
        Work::DeliverWebhook { delivery, .. } => {
            let message = match end {
                RunEnd::Failed { message, .. } => message.as_str(),
                RunEnd::Cancelled | RunEnd::Done { .. } => "it was cancelled",
            };
            deliver::given_up(transaction, *delivery, message, redactor).await?;
            Ok(Vec::new())
        }
        Work::RunAgent { run, .. } | Work::JudgeRun { run, .. } => {
            let Some(run) = agent_run::Entity::find_by_id(*run).one(transaction).await? else {
                return Ok(Vec::new());
            };
            Ok(end_run(transaction, &Who::of(&run), end, redactor).await?)
        }
    }
}

async fn back_to_queue(
    transaction: &impl ConnectionTrait,
    run: RunId,
    status: RunStatus,
) -> Result<(), StageError> {
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

async fn tell_retry(
    worker: &Worker,
    transaction: &impl ConnectionTrait,
    job: &Job,
    cause: FailureCause,
    message: &str,
) -> Result<(), StageError> {
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
            let who = Who::of(&run);
            let event = Event::RunFailed {
                agent: who.agent.clone(),
                trial: who.trial,
                cause: cause.to_string(),
                message: message.to_owned(),
                will_retry: true,
            };
            who.event(Level::Warning, event)
        }
        // The log of a task that has ended is closed.
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
