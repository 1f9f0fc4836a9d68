//! Makes runs again that gave no measurement, and brings dead jobs back.
//!
//! A run that the agent itself failed is a measurement: making it again until it succeeds would make
//! the agent look better than it is, so it is not made again.

use chrono::{DateTime, Utc};
use entity::status::{FailureCause, JobState, JudgingStatus, Level, RunStatus, TaskStatus};
use entity::{JobId, RunId, TaskId, agent_run, job, judging, task, webhook_delivery};
use platform::events::{self, Event, NewEvent};
use platform::jobs::{self, Ring, Work};
use platform::parts::Platform;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, TransactionTrait,
};
use serde_json::json;

use crate::audit::{self, Actor};
use crate::found::FoundTask;
use crate::room::is_room;
use crate::tasks::ring_bell;

/// Why nothing is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("The task has not ended; only what has ended can be tried again")]
    NotEnded,
    #[error("The task is being judged again; try again when that is done")]
    BeingJudged,
    #[error(
        "No run of the task can be made again: {by_agent} failed by the agent's own fault, which is \
         a measurement, and the others are done"
    )]
    NothingToRetry { by_agent: usize },
    #[error("the organisation has {0} tasks that have not ended")]
    TooManyTasks(u64),
    #[error("The job is not dead")]
    NotDead,
    #[error("the database did not do what was asked")]
    Database(#[from] DbErr),
}

/// Which runs to make again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All that gave no measurement and whose agent is named; all agents, if none is.
    Agents(Vec<String>),
    Run(RunId),
}

/// Makes the runs of an ended task again that failed by another's fault than the agent's, or were
/// cancelled. Returns how many. At most `most` tasks of the organisation are open then; 0 is any number.
pub(crate) async fn retry_task(
    platform: &Platform,
    task: &FoundTask,
    which: &Which,
    by: &Actor,
    most: u64,
) -> Result<usize, Refused> {
    let transaction = platform.database.begin().await?;
    let (count, rings) = begin_again(&transaction, platform, task, which, by, most).await?;
    transaction.commit().await?;
    tracing::info!(task.id = %task.id, runs = count, "trying runs of task {} again", task.id);
    platform.waker.wake(task.id).await;
    ring_bell(platform, &rings).await;
    Ok(count)
}

async fn begin_again(
    transaction: &impl ConnectionTrait,
    platform: &Platform,
    task: &FoundTask,
    which: &Which,
    by: &Actor,
    most: u64,
) -> Result<(usize, Vec<Ring>), Refused> {
    let now = Utc::now();
    // Begins with a write, and jobs come before runs and tasks. What is still open belongs to
    // somebody who works on it.
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
    let mut again: Vec<&agent_run::Model> = Vec::new();
    for run in &runs {
        let failed = matches!(run.status, RunStatus::Error | RunStatus::Cancelled);
        let named = match which {
            Which::Agents(agents) => agents.is_empty() || agents.contains(&run.agent),
            Which::Run(id) => run.id == *id,
        };
        if failed && run.failure_cause == Some(FailureCause::Agent) {
            by_agent += 1;
        } else if failed && named {
            again.push(run);
        }
    }
    if again.is_empty() {
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
    if !is_room(transaction, &by.org, most).await? {
        return Err(Refused::TooManyTasks(most));
    }
    // What was cancelled may still be held by a worker that has not let go.
    let open: Vec<_> = open_jobs(transaction, task.id).await?;
    if open
        .iter()
        .any(|job| matches!(job.kind, entity::status::JobKind::JudgeTask))
    {
        return Err(Refused::BeingJudged);
    }
    if open
        .iter()
        .any(|job| !matches!(job.kind, entity::status::JobKind::DeliverWebhook))
    {
        return Err(Refused::NotEnded);
    }
    let ids: Vec<RunId> = again.iter().map(|run| run.id).collect();
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
            started_at: Set(None),
            completed_at: Set(None),
            updated_at: Set(now),
            ..Default::default()
        })
        // It is tried again, whoever has it tried.
        .col_expr(
            agent_run::Column::RetryCount,
            Expr::col(agent_run::Column::RetryCount).add(1),
        )
        .filter(agent_run::Column::Id.is_in(ids.iter().copied()))
        .exec(transaction)
        .await?;
    // A unit of work is in the ledger once: what was done or given up makes room for the new one.
    let mut works: Vec<Work> = Vec::new();
    let mut gone: Vec<String> = vec![Work::FinishTask { task: task.id }.key()];
    for run in &again {
        let work = Work::RunAgent {
            task: task.id,
            run: run.id,
            agent: run.agent.clone(),
        };
        gone.push(work.key());
        gone.push(
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
        gone.push(work.key());
        works = vec![work];
    }
    for gone in gone.chunks(500) {
        job::Entity::delete_many()
            .filter(job::Column::WorkKey.is_in(gone.iter().map(String::as_str)))
            .exec(transaction)
            .await?;
    }
    let rings = jobs::enqueue_all(transaction, &works).await?;
    let details = json!({ "runs": ids });
    audit::record(
        transaction,
        by,
        "task.retry",
        Some(task.id.to_string()),
        details,
    )
    .await?;
    let mut happened = vec![NewEvent {
        run: None,
        level: Level::Info,
        event: Event::TaskRetried {
            by: by.id.clone(),
            runs: again.len(),
        },
    }];
    happened.extend(again.iter().map(|run| NewEvent {
        run: Some(run.id),
        level: Level::Info,
        event: Event::RunQueued {
            agent: run.agent.clone(),
            trial: run.trial.unsigned_abs(),
        },
    }));
    events::append(transaction, task.id, &happened, &platform.redactor).await?;
    Ok((again.len(), rings))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller has found the task within its organisation"
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
    reason = "the caller has found the task within its organisation"
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

/// Brings a dead job back: a run is made again, a judging or a message to a webhook tried again.
pub(crate) async fn retry_job(
    platform: &Platform,
    task: &FoundTask,
    dead: &job::Model,
    by: &Actor,
    most: u64,
) -> Result<(), Refused> {
    if dead.state != JobState::Failed {
        return Err(Refused::NotDead);
    }
    let work: Work = serde_json::from_value(dead.work.clone())
        .map_err(|error| DbErr::Json(error.to_string()))?;
    let transaction = platform.database.begin().await?;
    let now = Utc::now();
    // Of several who try it again at once, or discard it meanwhile, one comes first.
    if !is_still_dead(&transaction, dead.id, now).await? {
        return Err(Refused::NotDead);
    }
    let rings = match &work {
        Work::PrepareTask { .. } | Work::FinishTask { .. } => {
            let all = Which::Agents(Vec::new());
            begin_again(&transaction, platform, task, &all, by, most)
                .await?
                .1
        }
        Work::RunAgent { run, .. } | Work::JudgeRun { run, .. } => {
            begin_again(&transaction, platform, task, &Which::Run(*run), by, most)
                .await?
                .1
        }
        Work::JudgeTask { judging, .. } => {
            if !remove(&transaction, dead.id).await? {
                return Err(Refused::NotDead);
            }
            judging::Entity::update_many()
                .set(judging::ActiveModel {
                    status: Set(JudgingStatus::Queued),
                    error_message: Set(None),
                    completed_at: Set(None),
                    ..Default::default()
                })
                .filter(judging::Column::TaskId.eq(task.id))
                .filter(judging::Column::Number.eq(*judging))
                .exec(&transaction)
                .await?;
            vec![jobs::enqueue(&transaction, &work).await?]
        }
        Work::DeliverWebhook { delivery, .. } => {
            if !remove(&transaction, dead.id).await? {
                return Err(Refused::NotDead);
            }
            webhook_delivery::Entity::update_many()
                .set(webhook_delivery::ActiveModel {
                    status: Set(entity::status::DeliveryStatus::Queued),
                    error_message: Set(None),
                    ..Default::default()
                })
                .filter(webhook_delivery::Column::Id.eq(*delivery))
                .exec(&transaction)
                .await?;
            vec![jobs::enqueue(&transaction, &work).await?]
        }
    };
    let details = json!({ "work": work.key(), "at": now });
    audit::record(
        &transaction,
        by,
        "job.retry",
        Some(dead.id.to_string()),
        details,
    )
    .await?;
    transaction.commit().await?;
    platform.waker.wake(task.id).await;
    ring_bell(platform, &rings).await;
    Ok(())
}

/// Takes a dead job off the list. What it was for stays as it is.
pub(crate) async fn discard_job(
    platform: &Platform,
    dead: &job::Model,
    by: &Actor,
) -> Result<(), Refused> {
    let transaction = platform.database.begin().await?;
    if !remove(&transaction, dead.id).await? {
        return Err(Refused::NotDead);
    }
    let details = json!({ "work": dead.work_key, "error": dead.last_error });
    audit::record(
        &transaction,
        by,
        "job.discard",
        Some(dead.id.to_string()),
        details,
    )
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Locks a dead job. False: it is not dead any more.
async fn is_still_dead(
    transaction: &impl ConnectionTrait,
    dead: JobId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let locked = job::Entity::update_many()
        .set(job::ActiveModel {
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(job::Column::Id.eq(dead))
        .filter(job::Column::State.eq(JobState::Failed))
        .exec(transaction)
        .await?;
    Ok(locked.rows_affected == 1)
}

/// Whether there was such a dead job.
async fn remove(transaction: &impl ConnectionTrait, dead: JobId) -> Result<bool, DbErr> {
    let removed = job::Entity::delete_many()
        .filter(job::Column::Id.eq(dead))
        .filter(job::Column::State.eq(JobState::Failed))
        .exec(transaction)
        .await?;
    Ok(removed.rows_affected == 1)
}
