//! The ends of runs and tasks: done, failed or cancelled. Both jobs and the runtime end runs, and
//! each way is written here once.

use chrono::Utc;
use domain::vocabulary::{FailureCause, Level, RunStatus, TaskStatus};
use entity::{TaskId, agent_run, task, task_event};
use platform::events::{Event, NewEvent};
use platform::queue::{self, Notification, Work, lease};
use platform::redaction::Redactor;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;
use crate::run_identity::RunIdentity;

/// End of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RunEnd {
    Done {
        overall_score: Option<f64>,
        passed: Option<bool>,
    },
    Failed {
        cause: FailureCause,
        message: String,
    },
    Cancelled,
}

const UNFINISHED_RUN: [RunStatus; 3] = [RunStatus::Queued, RunStatus::Running, RunStatus::Judging];
const UNFINISHED_TASK: [TaskStatus; 3] =
    [TaskStatus::Queued, TaskStatus::Running, TaskStatus::Judging];

/// Returns the event of a run that failed for good.
fn failed_event(identity: &RunIdentity, cause: FailureCause, message: &str) -> NewEvent {
    let event = Event::RunFailed {
        agent: identity.agent.clone(),
        trial: identity.trial,
        cause: cause.to_string(),
        message: message.to_owned(),
        will_retry: false,
    };
    identity.event(Level::Error, event)
}

/// Ends a run, unless it has already ended, and continues its task. Returns notifications to send
/// after the commit. The caller's transaction has already written, as for every function here.
pub(crate) async fn end_run(
    transaction: &impl ConnectionTrait,
    identity: &RunIdentity,
    end: &RunEnd,
    redactor: &Redactor,
) -> Result<Vec<Notification>, DbErr> {
    let now = Utc::now();
    let mut change = agent_run::ActiveModel {
        phase: Set(None),
        updated_at: Set(now),
        completed_at: Set(Some(now)),
        ..Default::default()
    };
    let (agent, trial) = (identity.agent.clone(), identity.trial);
    let events = match end {
        RunEnd::Done {
            overall_score,
            passed,
        } => {
            change.status = Set(RunStatus::Done);
            change.overall_score = Set(*overall_score);
            change.passed = Set(*passed);
            change.failure_cause = Set(None);
            change.error_message = Set(None);
            vec![
                identity.event(
                    Level::Info,
                    Event::RunJudged {
                        agent: agent.clone(),
                        trial,
                        overall_score: *overall_score,
                        passed: *passed,
                    },
                ),
                identity.event(
                    Level::Info,
                    Event::RunDone {
                        agent,
                        trial,
                        status: RunStatus::Done.to_string(),
                    },
                ),
            ]
        }
        RunEnd::Failed { cause, message } => {
            change.status = Set(RunStatus::Error);
            change.failure_cause = Set(Some(*cause));
            change.error_message = Set(Some(redactor.redact(message).into_owned()));
            change.overall_score = Set(None);
            change.passed = Set(None);
            vec![failed_event(identity, *cause, message)]
        }
        RunEnd::Cancelled => {
            change.status = Set(RunStatus::Cancelled);
            change.failure_cause = Set(Some(FailureCause::Cancelled));
            change.overall_score = Set(None);
            change.passed = Set(None);
            vec![identity.event(
                Level::Warning,
                Event::RunDone {
                    agent,
                    trial,
                    status: RunStatus::Cancelled.to_string(),
                },
            )]
        }
    };
    let changed = agent_run::Entity::update_many()
        .set(change)
        .filter(agent_run::Column::Id.eq(identity.run))
        .filter(agent_run::Column::Status.is_in(UNFINISHED_RUN))
        .exec(transaction)
        .await?;
    if changed.rows_affected == 0 {
        let closed = close_cancelled(transaction, identity.task, redactor).await?;
        return Ok(closed.unwrap_or_default());
    }
    // Appending locks the task's row, so of two runs that end at once the second one sees the
    // first.
    platform::events::append(transaction, identity.task, &events, redactor).await?;
    follow_up(transaction, identity.task, redactor).await
}

/// Continues a task after one of its runs progressed: judging, finishing, or ending as cancelled.
/// The caller holds the lock on the task's row.
pub(crate) async fn follow_up(
    transaction: &impl ConnectionTrait,
    task_id: TaskId,
    redactor: &Redactor,
) -> Result<Vec<Notification>, DbErr> {
    let statuses: Vec<RunStatus> = agent_run::Entity::find()
        .select_only()
        .column(agent_run::Column::Status)
        .filter(agent_run::Column::TaskId.eq(task_id))
        .into_tuple()
        .all(transaction)
        .await?;
    if statuses.iter().all(|status| status.is_final()) {
        // If only some are cancelled, the others were retried after a cancellation.
        let all_cancelled = statuses
            .iter()
            .all(|status| *status == RunStatus::Cancelled);
        if all_cancelled {
            return end_task(transaction, task_id, TaskStatus::Cancelled, None, redactor).await;
        }
        if let Some(notifications) = close_cancelled(transaction, task_id, redactor).await? {
            return Ok(notifications);
        }
        let notification = queue::enqueue(transaction, &Work::FinishTask { task: task_id }).await?;
        return Ok(vec![notification]);
    }
    let asked = statuses
        .iter()
        .any(|status| matches!(status, RunStatus::Queued | RunStatus::Running));
    if !asked {
        task::Entity::update_many()
            .set(task::ActiveModel {
                status: Set(TaskStatus::Judging),
                updated_at: Set(Utc::now()),
                ..Default::default()
            })
            .filter(task::Column::Id.eq(task_id))
            .filter(task::Column::Status.is_in([TaskStatus::Queued, TaskStatus::Running]))
            .exec(transaction)
            .await?;
    }
    Ok(Vec::new())
}

/// Reason why a task failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskProblem {
    pub(crate) cause: FailureCause,
    pub(crate) message: String,
}

/// Ends a task, unless it has already ended. Its last event is written last. Returns the
/// notifications of its webhook deliveries.
pub(crate) async fn end_task(
    transaction: &impl ConnectionTrait,
    task_id: TaskId,
    status: TaskStatus,
    problem: Option<&TaskProblem>,
    redactor: &Redactor,
) -> Result<Vec<Notification>, DbErr> {
    let now = Utc::now();
    let changed = task::Entity::update_many()
        .set(task::ActiveModel {
            status: Set(status),
            failure_cause: Set(problem.map(|problem| problem.cause)),
            error_message: Set(
                problem.map(|problem| redactor.redact(&problem.message).into_owned())
            ),
            updated_at: Set(now),
            completed_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(task_id))
        .filter(task::Column::Status.is_in(UNFINISHED_TASK))
        .exec(transaction)
        .await?;
    if changed.rows_affected == 0 {
        let closed = close_cancelled(transaction, task_id, redactor).await?;
        return Ok(closed.unwrap_or_default());
    }
    let level = match status {
        TaskStatus::Done => Level::Info,
        TaskStatus::Cancelled => Level::Warning,
        TaskStatus::Error | TaskStatus::Queued | TaskStatus::Running | TaskStatus::Judging => {
            Level::Error
        }
    };
    let event = completed_event(status, problem);
    let event = NewEvent {
        run: None,
        level,
        event,
    };
    platform::events::append(transaction, task_id, &[event], redactor).await?;
    platform::webhooks::enqueue_deliveries(transaction, task_id).await
}

/// Writes the last event of a task that was cancelled while workers held its jobs. Returns `None`
/// if the task is not cancelled.
///
/// The cancelling request sets the status, and the last worker that releases a job closes the log.
pub(crate) async fn close_cancelled(
    transaction: &impl ConnectionTrait,
    task_id: TaskId,
    redactor: &Redactor,
) -> Result<Option<Vec<Notification>>, DbErr> {
    // This update also locks the task's row, so that only one worker closes the log.
    let cancelled = task::Entity::update_many()
        .set(task::ActiveModel {
            updated_at: Set(Utc::now()),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(task_id))
        .filter(task::Column::Status.eq(TaskStatus::Cancelled))
        .exec(transaction)
        .await?;
    if cancelled.rows_affected == 0 {
        return Ok(None);
    }
    let unfinished = agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task_id))
        .filter(agent_run::Column::Status.is_in(UNFINISHED_RUN))
        .count(transaction)
        .await?;
    let event = completed_event(TaskStatus::Cancelled, None);
    // An earlier last event may have been followed by a retry.
    let last = task_event::Entity::find()
        .filter(task_event::Column::TaskId.eq(task_id))
        .order_by_desc(task_event::Column::Seq)
        .one(transaction)
        .await?;
    let closed = last.is_some_and(|last| last.kind == event.kind());
    if unfinished == 0 && !closed {
        let event = NewEvent {
            run: None,
            level: Level::Warning,
            event,
        };
        platform::events::append(transaction, task_id, &[event], redactor).await?;
        return Ok(Some(
            platform::webhooks::enqueue_deliveries(transaction, task_id).await?,
        ));
    }
    Ok(Some(Vec::new()))
}

/// Returns the last event of a task.
pub(crate) fn completed_event(status: TaskStatus, problem: Option<&TaskProblem>) -> Event {
    Event::Completed {
        status: status.to_string(),
        message: problem.map(|problem| problem.message.clone()),
    }
}

/// Ends all unfinished runs of a task that cannot be prepared or was cancelled.
pub(crate) async fn end_all_runs(
    transaction: &impl ConnectionTrait,
    task_id: TaskId,
    end: &RunEnd,
    redactor: &Redactor,
) -> Result<(), DbErr> {
    let runs = agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task_id))
        .filter(agent_run::Column::Status.is_in(UNFINISHED_RUN))
        .all(transaction)
        .await?;
    let now = Utc::now();
    let (status, cause, message) = match end {
        RunEnd::Failed { cause, message } => (
            RunStatus::Error,
            Some(*cause),
            Some(redactor.redact(message).into_owned()),
        ),
        RunEnd::Cancelled => (RunStatus::Cancelled, Some(FailureCause::Cancelled), None),
        RunEnd::Done { .. } => (RunStatus::Done, None, None),
    };
    agent_run::Entity::update_many()
        .set(agent_run::ActiveModel {
            status: Set(status),
            phase: Set(None),
            failure_cause: Set(cause),
            error_message: Set(message),
            updated_at: Set(now),
            completed_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(agent_run::Column::TaskId.eq(task_id))
        .filter(agent_run::Column::Status.is_in(UNFINISHED_RUN))
        .exec(transaction)
        .await?;
    let events: Vec<NewEvent> = runs
        .iter()
        .map(|run| {
            let identity = RunIdentity::from(run);
            let (agent, trial) = (identity.agent.clone(), identity.trial);
            match end {
                RunEnd::Failed { cause, message } => failed_event(&identity, *cause, message),
                RunEnd::Cancelled | RunEnd::Done { .. } => identity.event(
                    Level::Warning,
                    Event::RunDone {
                        agent,
                        trial,
                        status: status.to_string(),
                    },
                ),
            }
        })
        .collect();
    platform::events::append(transaction, task_id, &events, redactor).await
}

/// Completes a job whose work is already done, deleted or cancelled.
pub(crate) async fn end_job(worker: &Worker, job: &ClaimedJob) -> Result<(), JobError> {
    let redactor = &worker.platform.redactor;
    let transaction = worker.begin(job).await?;
    close_cancelled(&transaction, job.lease.task_id, redactor).await?;
    lease::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    Ok(())
}
