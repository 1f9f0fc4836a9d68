//! Helpers of several tests.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every test file uses a part of it"
)]

use std::time::Duration;

use entity::{JobId, RunId, TaskId, job};
use platform::database::{DatabaseSettings, connect};
use platform::queue::QueueSettings;
use platform::queue::lease::{Lease, claim};
use platform::queue::{Notification, Work, enqueue};
use sea_orm::{DatabaseConnection, EntityTrait as _};
use testkit::builders;
use testkit::database::TestDatabase;

/// Settings without delays.
pub(crate) fn at_once() -> QueueSettings {
    QueueSettings {
        backoff: Duration::ZERO,
        notify_again: Duration::ZERO,
        ..QueueSettings::default()
    }
}

/// Settings under which a lease expires at once.
pub(crate) fn no_lease() -> QueueSettings {
    QueueSettings {
        lease: Duration::ZERO,
        ..at_once()
    }
}

/// A connection pool like that of a process.
pub(crate) async fn pool(test: &TestDatabase) -> DatabaseConnection {
    let settings = DatabaseSettings {
        url: test.url().to_owned(),
        max_connections: 8,
    };
    connect(&settings)
        .await
        .expect("the test database is there")
}

/// A stored task with one stored run.
pub(crate) async fn task_and_run(database: &DatabaseConnection) -> (TaskId, RunId) {
    let task = builders::stored_task(database)
        .await
        .expect("a task can be stored");
    let run = builders::stored_run(database, task, "control-lossy:0.5", 1)
        .await
        .expect("a run can be stored");
    (task, run)
}

/// A job that waits, of a task of its own.
pub(crate) async fn waiting_job(database: &DatabaseConnection) -> (Work, Notification) {
    let (task, run) = task_and_run(database).await;
    let work = Work::RunAgent {
        task,
        run,
        agent: "control-lossy:0.5".to_owned(),
    };
    let notification = enqueue(database, &work).await.expect("it can be enqueued");
    (work, notification)
}

/// A job that `owner` has claimed.
pub(crate) async fn leased_job(
    database: &DatabaseConnection,
    owner: &str,
    settings: &QueueSettings,
) -> Lease {
    let (_, notification) = waiting_job(database).await;
    claim(database, &notification, owner, settings)
        .await
        .expect("the database is there")
        .expect("nobody else claims it")
}

/// The row of a job.
pub(crate) async fn row(database: &DatabaseConnection, id: JobId) -> job::Model {
    job::Entity::find_by_id(id)
        .one(database)
        .await
        .expect("the database is there")
        .expect("jobs are never deleted")
}
