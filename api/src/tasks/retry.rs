//! Retries runs that produced no measurement.
//!
//! Runs that failed because of the agent are not retried. Repeating them until they succeed would
//! inflate the agent's score.

use chrono::Utc;
use domain::vocabulary::{FailureCause, JobKind, JobState, Level, RunStatus, TaskStatus};
use entity::{RunId, TaskId, agent_run, job, task};
use platform::connect::Platform;
use platform::events::{self, Event, NewEvent};
use platform::queue::{self, FOLLOW_UP_JOBS, Notification, Work};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, TransactionTrait,
};
use serde_json::json;

use crate::admin::audit_log::Actor;
use crate::tasks::create::notify_workers;
use crate::tasks::quota::has_capacity;
use crate::tenancy::TaskSummary;

/// Reason why nothing is retried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("The task has not ended. Only finished tasks can be retried")]
    NotEnded,
    #[error("A judging of the task is pending. Retry after it is done")]
    BeingJudged,
    #[error(
        "Nothing to retry: {by_agent} runs failed because of the agent, which counts as \
             a result, and all others are done"
    )]
    NothingToRetry { by_agent: usize },
    #[error("the organisation has {0} open tasks")]
    TooManyTasks(u64),
    #[error("The job is not dead")]
    NotDead,
    #[error("The task is not done. Only finished tasks can be judged again")]
    NotDone,
    #[error("The task has a newer judging. Only the newest one can be retried")]
    Overtaken,
    #[error("database operation failed")]
    Database(#[from] DbErr),
}

/// Runs to retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All runs of the named agents without a measurement. An empty list means all agents.
    Agents(Vec<String>),
    Run(RunId),
}

/// Retries the runs of a finished task that were cancelled or failed for a reason other than the
/// agent. Returns their number. The organisation may have at most `max_active` open tasks afterwards. 0
/// means no limit.
pub(crate) async fn retry_task(
    platform: &Platform,
    task: &TaskSummary,
    which: &Which,
    by: &Actor,
    max_active: u64,
) -> Result<usize, Refused> {
    let transaction = platform.database.begin().await?;
    let (count, notifications) =
        retry_runs_of(&transaction, platform, task, which, by, max_active).await?;
    transaction.commit().await?;
    tracing::info!(task.id = %task.id, runs = count, "retrying runs of task {}", task.id);
    platform.event_notifier.notify(task.id).await;
    notify_workers(platform, &notifications).await;
    Ok(count)
}

pub(crate) async fn retry_runs_of(
    transaction: &impl ConnectionTrait,
    platform: &Platform,
    task: &TaskSummary,
    which: &Which,
    by: &Actor,
    max_active: u64,
) -> Result<(usize, Vec<Notification>), Refused> {
    let now = Utc::now();
    // The transaction begins with a write. Jobs come before runs and tasks, in the lock order of
    // workers. An open job belongs to a worker.
    let ended = [JobState::Done, JobState::Failed, JobState::Cancelled];
    let touched = job::Entity::update_many()
        .set(job::ActiveModel {
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(job::Column::TaskId.eq(task.id))
        .filter(job::Column::State.is_in(ended))
        .exec(transaction)
        .await?;
    tracing::debug!(jobs = touched.rows_affected, "locked the jobs of a task");
    let runs = runs_of(transaction, task.id).await?;
    let prepared = task.base_sha.is_some() && task.probe_set_hash.is_some();
    let mut by_agent = 0;
    let mut retried: Vec<&agent_run::Model> = Vec::new();
    for run in &runs {
        let failed = matches!(run.status, RunStatus::Error | RunStatus::Cancelled);
        let named = match which {
            Which::Agents(agents) => agents.is_empty() || agents.contains(&run.agent),
            Which::Run(id) => run.id == *id,
        };
        if failed && run.failure_cause == Some(FailureCause::Agent) {
            by_agent += 1;
        } else if failed && named {
            retried.push(run);
        }
    }
    if retried.is_empty() {
        return Err(Refused::NothingToRetry { by_agent });
    }
    let reopened = task::Entity::update_many()
        .set(task::ActiveModel {
            status: Set(if prepared {
                TaskStatus::Running
            } else {
                TaskStatus::Queued
            }),
            error_message: Set(None),
            failure_cause: Set(None),
            completed_at: Set(None),
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(task.id))
        .filter(task::Column::Status.is_in([
            TaskStatus::Done,
            TaskStatus::Error,
            TaskStatus::Cancelled,
        ]))
        .exec(transaction)
        .await?;
    if reopened.rows_affected == 0 {
        return Err(Refused::NotEnded);
    }
    if !has_capacity(transaction, &by.org, max_active).await? {
        return Err(Refused::TooManyTasks(max_active));
    }
    // A worker may still hold a cancelled run.
    let open: Vec<_> = open_jobs(transaction, task.id).await?;
    if open
        .iter()
        .any(|job| matches!(job.kind, JobKind::JudgeTask))
    {
        return Err(Refused::BeingJudged);
    }
    if open.iter().any(|job| !FOLLOW_UP_JOBS.contains(&job.kind)) {
        return Err(Refused::NotEnded);
    }
    let ids: Vec<RunId> = retried.iter().map(|run| run.id).collect();
    agent_run::Entity::update_many()
        .set(agent_run::ActiveModel {
            status: Set(RunStatus::Queued),
            phase: Set(None),
            checkpoint: Set(None),
            failure_cause: Set(None),
            error_message: Set(None),
            overall_score: Set(None),
            passed: Set(None),
            compression_detected: Set(false),
            seal_broken: Set(false),
            breaks: Set(json!([])),
            milestones: Set(json!({})),
            stats: Set(json!({})),
            baseline: Set(None),
            agent_version: Set(None),
            model: Set(None),
            manifest: Set(None),
            started_at: Set(None),
            completed_at: Set(None),
            updated_at: Set(now),
            ..Default::default()
        })
        // Every retry counts, manual or automatic.
        .col_expr(
            agent_run::Column::RetryCount,
            Expr::col(agent_run::Column::RetryCount).add(1),
        )
        .filter(agent_run::Column::Id.is_in(ids.iter().copied()))
        .exec(transaction)
        .await?;
    preserve_costs(transaction, &retried).await?;
    // A unit of work has one job at a time, so finished jobs are deleted before new ones are added.
    let mut works: Vec<Work> = Vec::new();
    let mut obsolete_keys: Vec<String> = vec![Work::FinishTask { task: task.id }.key()];
    for run in &retried {
        let work = Work::RunAgent {
            task: task.id,
            run: run.id,
            agent: run.agent.clone(),
        };
        obsolete_keys.push(work.key());
        obsolete_keys.push(
            Work::JudgeRun {
                task: task.id,
                run: run.id,
            }
            .key(),
        );
        works.push(work);
    }
    if !prepared {
        let work = Work::PrepareTask { task: task.id };
        obsolete_keys.push(work.key());
        works = vec![work];
    }
    for obsolete_keys in obsolete_keys.chunks(500) {
        job::Entity::delete_many()
            .filter(job::Column::WorkKey.is_in(obsolete_keys.iter().map(String::as_str)))
            .exec(transaction)
            .await?;
    }
    let notifications = queue::enqueue_all(transaction, &works).await?;
    let details = json!({ "runs": ids });
    by.record(transaction, "task.retry", task.id, details)
        .await?;
    let mut new_events = vec![NewEvent {
        run: None,
        level: Level::Info,
        event: Event::TaskRetried {
            by: by.id.clone(),
            runs: retried.len(),
        },
    }];
    new_events.extend(retried.iter().map(|run| NewEvent {
        run: Some(run.id),
        level: Level::Info,
        event: Event::RunQueued {
            agent: run.agent.clone(),
            trial: run.trial.unsigned_abs(),
        },
    }));
    events::append(transaction, task.id, &new_events, &platform.redactor).await?;
    Ok((retried.len(), notifications))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller found the task within its organisation"
)]
async fn runs_of(
    connection: &impl ConnectionTrait,
    task: TaskId,
) -> Result<Vec<agent_run::Model>, DbErr> {
    agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task))
        .order_by_asc(agent_run::Column::Id)
        .all(connection)
        .await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller found the task within its organisation"
)]
async fn open_jobs(
    connection: &impl ConnectionTrait,
    task: TaskId,
) -> Result<Vec<job::Model>, DbErr> {
    job::Entity::find()
        .filter(job::Column::TaskId.eq(task))
        .filter(job::Column::State.is_in([JobState::Queued, JobState::Leased]))
        .all(connection)
        .await
}

/// Keeps the cost of earlier attempts.
async fn preserve_costs(
    transaction: &impl ConnectionTrait,
    retried: &[&agent_run::Model],
) -> Result<(), DbErr> {
    for run in retried {
        let Some(bill) = run.stats.get("bill") else {
            continue;
        };
        agent_run::Entity::update_many()
            .set(agent_run::ActiveModel {
                stats: Set(json!({ "bill": bill })),
                ..Default::default()
            })
            .filter(agent_run::Column::Id.eq(run.id))
            .exec(transaction)
            .await?;
    }
    Ok(())
}
