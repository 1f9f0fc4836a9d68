//! Retries or discards dead jobs.

use chrono::{DateTime, Utc};
use domain::vocabulary::{DeliveryStatus, JobState, JudgingStatus};
use entity::{JobId, TaskId, job, judging, webhook_delivery};
use platform::connect::Platform;
use platform::queue::{self, Work};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, TransactionTrait};
use serde_json::json;

use crate::admin::audit_log::Actor;
use crate::judgings::create::{lock_done, newest};
use crate::tasks::create::notify_workers;
use crate::tasks::retry::{Refused, Which, retry_runs_of};
use crate::tenancy::TaskSummary;

/// Brings a dead job back: a run is made again, a judging or a message to a webhook tried again.
pub(crate) async fn retry_job(
    platform: &Platform,
    task: &TaskSummary,
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
    // Of several concurrent requests, one proceeds.
    if !is_still_dead(&transaction, dead.id, now).await? {
        return Err(Refused::NotDead);
    }
    let notifications = match &work {
        Work::PrepareTask { .. } | Work::FinishTask { .. } => {
            let all = Which::Agents(Vec::new());
            retry_runs_of(&transaction, platform, task, &all, by, most)
                .await?
                .1
        }
        Work::RunAgent { run, .. } | Work::JudgeRun { run, .. } => {
            retry_runs_of(&transaction, platform, task, &Which::Run(*run), by, most)
                .await?
                .1
        }
        Work::JudgeTask { judging, .. } => {
            if !remove(&transaction, dead.id).await? {
                return Err(Refused::NotDead);
            }
            judge_once_more(&transaction, task.id, *judging, now).await?;
            vec![queue::enqueue(&transaction, &work).await?]
        }
        Work::DeliverWebhook { delivery, .. } => {
            if !remove(&transaction, dead.id).await? {
                return Err(Refused::NotDead);
            }
            webhook_delivery::Entity::update_many()
                .set(webhook_delivery::ActiveModel {
                    status: Set(DeliveryStatus::Queued),
                    error_message: Set(None),
                    ..Default::default()
                })
                .filter(webhook_delivery::Column::Id.eq(*delivery))
                .exec(&transaction)
                .await?;
            vec![queue::enqueue(&transaction, &work).await?]
        }
    };
    let details = json!({ "work": work.key(), "at": now });
    by.record(&transaction, "job.retry", dead.id, details)
        .await?;
    transaction.commit().await?;
    platform.event_notifier.notify(task.id).await;
    notify_workers(platform, &notifications).await;
    Ok(())
}

/// Returns a failed judging to the queue. It must be the newest one, or it would hide a newer one.
/// It needs a task that is done, because retried runs have no results yet.
async fn judge_once_more(
    transaction: &impl ConnectionTrait,
    task: TaskId,
    number: i32,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    if !lock_done(transaction, task, now).await? {
        return Err(Refused::NotDone);
    }
    let newest = newest(transaction, task).await?;
    if newest.is_none_or(|newest| newest.number != number) {
        return Err(Refused::Overtaken);
    }
    judging::Entity::update_many()
        .set(judging::ActiveModel {
            status: Set(JudgingStatus::Queued),
            error_message: Set(None),
            completed_at: Set(None),
            ..Default::default()
        })
        .filter(judging::Column::TaskId.eq(task))
        .filter(judging::Column::Number.eq(number))
        // One that has its figures only lacks its documents.
        .filter(judging::Column::Status.ne(JudgingStatus::Done))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Removes a dead job from the list. Its task stays unchanged.
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
    by.record(&transaction, "job.discard", dead.id, details)
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

/// Deletes a dead job. Returns whether it existed.
async fn remove(transaction: &impl ConnectionTrait, dead: JobId) -> Result<bool, DbErr> {
    let removed = job::Entity::delete_many()
        .filter(job::Column::Id.eq(dead))
        .filter(job::Column::State.eq(JobState::Failed))
        .exec(transaction)
        .await?;
    Ok(removed.rows_affected == 1)
}
