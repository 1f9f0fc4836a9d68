//! Adding jobs to the queue.

use std::collections::HashMap;

use domain::vocabulary::JobState;
use entity::{JobId, job};
use sea_orm::sea_query::{Expr, InsertStatement, OnConflict, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, RuntimeErr,
};

use super::settings::QueueSettings;
use super::work::{Notification, Work};
use crate::database::clock;

/// Adds a job to the queue, in the caller's transaction. Notify workers after the commit.
///
/// Work that is already in the queue is not added again; its notification is returned all the same.
pub async fn enqueue(
    connection: &impl ConnectionTrait,
    work: &Work,
) -> Result<Notification, DbErr> {
    let mut notifications = enqueue_all(connection, std::slice::from_ref(work)).await?;
    notifications.pop().ok_or_else(|| DbErr::RecordNotInserted)
}

/// Returns the INSERT of the first job of a new task, and its notification.
pub fn first_job(
    connection: &impl ConnectionTrait,
    work: &Work,
) -> Result<(InsertStatement, Notification), DbErr> {
    let notification = Notification {
        queue: work.queue(),
        job_id: JobId::new(),
        epoch: 0,
    };
    let mut insert = insert_statement();
    add_row(&mut insert, connection, work, notification.job_id)?;
    Ok((insert, notification))
}

/// Adds many jobs, like [`enqueue`]. The notifications are in the order of `works`.
pub async fn enqueue_all(
    connection: &impl ConnectionTrait,
    works: &[Work],
) -> Result<Vec<Notification>, DbErr> {
    let mut notifications = Vec::with_capacity(works.len());
    for works in works.chunks(BATCH_ROWS) {
        let mut by_key = insert(connection, works).await?;
        if by_key.len() < works.len() {
            let existing = job::Entity::find()
                .filter(job::Column::WorkKey.is_in(works.iter().map(Work::key)))
                .all(connection)
                .await?;
            for job in existing {
                let notification = Notification {
                    queue: job.queue,
                    job_id: job.id,
                    epoch: job.epoch,
                };
                by_key.insert(job.work_key, notification);
            }
        }
        for work in works {
            let notification = by_key.get(&work.key()).ok_or(DbErr::RecordNotInserted)?;
            notifications.push(notification.clone());
        }
    }
    Ok(notifications)
}

/// Rows per INSERT. Database engines limit the number of bound values.
const BATCH_ROWS: usize = 500;

/// Inserts the jobs that do not exist yet, and returns their notifications by key.
async fn insert(
    connection: &impl ConnectionTrait,
    works: &[Work],
) -> Result<HashMap<String, Notification>, DbErr> {
    let mut insert = insert_statement();
    for work in works {
        add_row(&mut insert, connection, work, JobId::new())?;
    }
    insert.on_conflict(
        OnConflict::column(job::Column::WorkKey)
            .do_nothing()
            .to_owned(),
    );
    insert.returning(Query::returning().columns([
        job::Column::WorkKey,
        job::Column::Queue,
        job::Column::Id,
        job::Column::Epoch,
    ]));
    let mut notifications = HashMap::with_capacity(works.len());
    for row in connection.query_all(&insert).await? {
        let notification = Notification {
            queue: row.try_get_by_index(1)?,
            job_id: row.try_get_by_index(2)?,
            epoch: row.try_get_by_index(3)?,
        };
        notifications.insert(row.try_get_by_index(0)?, notification);
    }
    Ok(notifications)
}

fn insert_statement() -> InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(job::Entity).columns([
        job::Column::Id,
        job::Column::TaskId,
        job::Column::RunId,
        job::Column::Kind,
        job::Column::Queue,
        job::Column::WorkKey,
        job::Column::Work,
        job::Column::State,
        job::Column::Attempt,
        job::Column::MaxAttempts,
        job::Column::Epoch,
        job::Column::AvailableAt,
        job::Column::NotifiedAt,
        job::Column::CancelRequested,
        job::Column::CreatedAt,
        job::Column::UpdatedAt,
    ]);
    insert
}

/// Appends the row of a job to an INSERT.
fn add_row(
    insert: &mut InsertStatement,
    connection: &impl ConnectionTrait,
    work: &Work,
    id: JobId,
) -> Result<(), DbErr> {
    let stored = serde_json::to_value(work).map_err(|error| DbErr::Json(error.to_string()))?;
    let now = || clock::now(connection);
    insert
        .values([
            Expr::val(id),
            Expr::val(work.task()),
            Expr::val(work.run()),
            Expr::val(work.kind()),
            Expr::val(work.queue()),
            Expr::val(work.key()),
            Expr::val(stored),
            Expr::val(JobState::Queued),
            Expr::val(0),
            Expr::val(QueueSettings::default().max_attempts),
            Expr::val(0_i64),
            now(),
            // The caller notifies after the commit; the rescuer waits a little for that.
            now(),
            Expr::val(false),
            now(),
            now(),
        ])
        .map_err(|error| DbErr::Query(RuntimeErr::Internal(error.to_string())))?;
    Ok(())
}
