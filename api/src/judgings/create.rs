//! Creates judgings of finished tasks.

use chrono::{DateTime, Utc};
use domain::vocabulary::{JudgingStatus, TaskStatus};
use entity::{JudgingId, TaskId, judging, task};
use platform::connect::Platform;
use platform::queue::{self, Work};
use platform::telemetry::chain;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    QueryFilter, QueryOrder, TransactionTrait,
};
use tracing::warn;

use crate::admin::audit_log::Actor;

/// Why a task is not judged again.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the task does not exist")]
    Gone,
    #[error("the task is not done; only finished tasks can be judged again")]
    NotDone,
    #[error("a judging of the task is pending already")]
    Waiting,
    #[error("database operation failed")]
    Database(#[from] DbErr),
}

/// Enqueues a judging of a task with the current judges of the workers. The caller must have access
/// to the task.
///
/// # Errors
/// The task cannot be judged again now.
pub async fn judge_again(
    platform: &Platform,
    id: TaskId,
    by: &Actor,
) -> Result<judging::Model, Refused> {
    let transaction = platform.database.begin().await?;
    let now = Utc::now();
    // The lock refuses the second of two concurrent requests.
    let done = lock_done(&transaction, id, now).await?;
    let Some(task) = find(&transaction, id).await? else {
        return Err(Refused::Gone);
    };
    if !done {
        return Err(Refused::NotDone);
    }
    let newest = newest(&transaction, id).await?;
    if newest
        .as_ref()
        .is_some_and(|newest| newest.status == JudgingStatus::Queued)
    {
        return Err(Refused::Waiting);
    }
    let number = newest
        .map_or(task.judging, |newest| newest.number)
        .max(task.judging)
        + 1;
    let row = judging::ActiveModel {
        id: Set(JudgingId::new()),
        task_id: Set(id),
        number: Set(number),
        status: Set(JudgingStatus::Queued),
        judges: Set(serde_json::json!([])),
        agreement: Set(None),
        error_message: Set(None),
        created_by: Set(by.id.clone()),
        created_at: Set(now),
        completed_at: Set(None),
    }
    .insert(&transaction)
    .await?;
    let work = Work::JudgeTask {
        task: id,
        judging: number,
    };
    let notification = queue::enqueue(&transaction, &work).await?;
    let details = serde_json::json!({ "number": number });
    by.record(&transaction, "task.judge", id, details).await?;
    transaction.commit().await?;
    if let Err(error) = platform.notifier.notify(&[notification]).await {
        warn!(task.id = %id, error = chain(&error), "could not notify workers; the rescuer will notify them");
    }
    Ok(row)
}

/// Locks the row of a task that is done. Returns `false` if it is not done.
pub(crate) async fn lock_done(
    transaction: &impl ConnectionTrait,
    id: TaskId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let locked = task::Entity::update_many()
        .set(task::ActiveModel {
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(id))
        .filter(task::Column::Status.eq(TaskStatus::Done))
        .exec(transaction)
        .await?;
    Ok(locked.rows_affected == 1)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller found the task within its organisation"
)]
async fn find(connection: &impl ConnectionTrait, id: TaskId) -> Result<Option<task::Model>, DbErr> {
    task::Entity::find_by_id(id).one(connection).await
}

/// The newest judging of a task.
#[expect(
    clippy::disallowed_methods,
    reason = "the caller found the task within its organisation"
)]
pub(crate) async fn newest(
    connection: &impl ConnectionTrait,
    id: TaskId,
) -> Result<Option<judging::Model>, DbErr> {
    judging::Entity::find()
        .filter(judging::Column::TaskId.eq(id))
        .order_by_desc(judging::Column::Number)
        .one(connection)
        .await
}
