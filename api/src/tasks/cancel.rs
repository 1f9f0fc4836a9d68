//! Cancels tasks.

use chrono::{DateTime, Utc};
use domain::vocabulary::{FailureCause, JobState, Level, RunStatus, TaskStatus};
use entity::{RunId, TaskId, agent_run, task};
use platform::connect::Platform;
use platform::events::{self, Event, NewEvent};
use platform::queue::lease;
use platform::webhooks;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    TransactionTrait,
};
use serde_json::json;

use crate::admin::audit_log::Actor;
use crate::tasks::create::{notify_workers, now};

/// Outcome of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    Yes,
    /// The task had ended before.
    TooLate,
    NoSuchTask,
}

/// Cancels a task: queued jobs at once, running jobs within seconds by their workers.
///
/// The task becomes `cancelled`, and so do all runs without a worker. A worker ends its own runs.
/// If no worker holds a run, this function writes the event `completed`.
pub async fn cancel_task(
    platform: &Platform,
    task: TaskId,
    by: &Actor,
) -> Result<Cancelled, DbErr> {
    let now = now();
    let transaction = platform.database.begin().await?;
    // Jobs before the task, as a worker that writes on behalf of its job: in another order the two
    // could wait for each other.
    let held = lease::request_cancel(&transaction, task).await?;
    let open = [TaskStatus::Queued, TaskStatus::Running, TaskStatus::Judging];
    let ended = task::Entity::update_many()
        .col_expr(task::Column::Status, Expr::value(TaskStatus::Cancelled))
        .col_expr(
            task::Column::FailureCause,
            Expr::value(FailureCause::Cancelled),
        )
        .col_expr(task::Column::UpdatedAt, Expr::value(now))
        .col_expr(task::Column::CompletedAt, Expr::value(now))
        .filter(task::Column::Id.eq(task))
        .filter(task::Column::Status.is_in(open))
        .exec(&transaction)
        .await?;
    if ended.rows_affected == 0 {
        transaction.rollback().await?;
        let exists = exists(&platform.database, task).await?;
        return Ok(if exists {
            Cancelled::TooLate
        } else {
            Cancelled::NoSuchTask
        });
    }
    let mut happened = vec![NewEvent {
        run: None,
        level: Level::Info,
        event: Event::CancelRequested { by: by.id.clone() },
    }];
    happened.extend(cancel_runs(&transaction, task, now).await?);
    if held == 0 {
        happened.push(NewEvent {
            run: None,
            level: Level::Info,
            event: Event::Completed {
                status: TaskStatus::Cancelled.to_string(),
                message: Some("Task cancelled".to_owned()),
            },
        });
    }
    by.record(&transaction, "task.cancel", task, json!({}))
        .await?;
    events::append(&transaction, task, &happened, &platform.redactor).await?;
    let notifications = if held == 0 {
        webhooks::enqueue_deliveries(&transaction, task).await?
    } else {
        Vec::new()
    };
    transaction.commit().await?;
    tracing::info!(task.id = %task, held, "cancelled task {task}");
    platform.event_notifier.notify(task).await;
    if !notifications.is_empty() {
        notify_workers(platform, &notifications).await;
    }
    Ok(Cancelled::Yes)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller found the task within its organisation"
)]
async fn exists(connection: &impl ConnectionTrait, task: TaskId) -> Result<bool, DbErr> {
    Ok(task::Entity::find_by_id(task)
        .one(connection)
        .await?
        .is_some())
}

/// Cancels the runs without a worker and returns their events.
#[expect(
    clippy::disallowed_methods,
    reason = "the caller found the task within its organisation"
)]
async fn cancel_runs(
    transaction: &impl ConnectionTrait,
    task: TaskId,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, DbErr> {
    let held: Vec<RunId> = entity::job::Entity::find()
        .filter(entity::job::Column::TaskId.eq(task))
        .filter(entity::job::Column::State.eq(JobState::Leased))
        .all(transaction)
        .await?
        .into_iter()
        .filter_map(|job| job.run_id)
        .collect();
    let open = [RunStatus::Queued, RunStatus::Running, RunStatus::Judging];
    let free = agent_run::Column::TaskId
        .eq(task)
        .and(agent_run::Column::Status.is_in(open))
        .and(agent_run::Column::Id.is_not_in(held));
    let runs = agent_run::Entity::find()
        .filter(free.clone())
        .order_by_asc(agent_run::Column::Agent)
        .order_by_asc(agent_run::Column::Trial)
        .all(transaction)
        .await?;
    agent_run::Entity::update_many()
        .col_expr(agent_run::Column::Status, Expr::value(RunStatus::Cancelled))
        .col_expr(
            agent_run::Column::Phase,
            Expr::value(Option::<String>::None),
        )
        .col_expr(
            agent_run::Column::FailureCause,
            Expr::value(FailureCause::Cancelled),
        )
        .col_expr(
            agent_run::Column::ErrorMessage,
            Expr::value("Task cancelled"),
        )
        .col_expr(agent_run::Column::UpdatedAt, Expr::value(now))
        .col_expr(agent_run::Column::CompletedAt, Expr::value(now))
        .filter(free)
        .exec(transaction)
        .await?;
    let done = runs.into_iter().map(|run| NewEvent {
        run: Some(run.id),
        level: Level::Info,
        event: Event::RunDone {
            agent: run.agent,
            trial: run.trial.unsigned_abs(),
            status: RunStatus::Cancelled.to_string(),
        },
    });
    Ok(done.collect())
}
