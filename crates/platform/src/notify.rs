//! Notifications between processes: of jobs to workers, and of new events to readers.
//!
//! A notification may be lost, doubled or late. Nothing breaks, because the database owns every
//! fact: workers also poll for jobs, and readers of events also poll for events.

mod slots;
pub mod local;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redis_events;

use std::collections::BTreeMap;
use std::sync::Arc;

use apalis::prelude::{BoxDynError, Data};
use async_trait::async_trait;
use entity::TaskId;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::queue::Notification;

/// A notification that could not be sent or received.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed")]
pub struct NotifyError {
    /// The operation that was attempted.
    pub operation: &'static str,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Notifies workers of jobs.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Sends notifications of jobs.
    ///
    /// Bounded in time: an unreachable Redis is an error within seconds. The caller goes on, because
    /// the rescuer repeats lost notifications.
    async fn notify(&self, notifications: &[Notification]) -> Result<(), NotifyError>;

    /// Receives the notifications of `queues` until `stop`.
    ///
    /// Fetches a notification only while `slots` has a permit, and survives outages of Redis.
    async fn subscribe(
        &self,
        worker: &str,
        queues: &[String],
        slots: Arc<Semaphore>,
        subscriber: Arc<dyn Subscriber>,
        stop: CancellationToken,
    ) -> Result<(), NotifyError>;

    /// Removes processed notifications from the backend. Does nothing if the backend keeps none.
    async fn trim(&self) -> Result<(), NotifyError>;

    /// Returns the number of pending notifications per queue, or `None` if the backend keeps none.
    async fn pending(
        &self,
        _queues: &[String],
    ) -> Result<Option<BTreeMap<String, u64>>, NotifyError> {
        Ok(None)
    }

    /// Checks that the backend answers.
    async fn healthy(&self) -> Result<(), NotifyError>;
}

/// Receives notifications of jobs. Must return soon: it claims the job, hands it over and returns.
#[async_trait]
pub trait Subscriber: Send + Sync + 'static {
    /// Handles one notification. An error means that the database is unavailable.
    async fn notified(&self, notification: Notification) -> Result<(), sea_orm::DbErr>;
}

/// Notifies readers of a task's event log.
///
/// A notification carries no event and may be lost, so readers also poll once a second.
#[async_trait]
pub trait EventNotifier: Send + Sync + 'static {
    /// Notifies the readers of a task in every reachable process. Never fails.
    async fn notify(&self, task: TaskId);

    /// Subscribes to the ids of all tasks that have new events.
    fn subscribe(&self) -> broadcast::Receiver<TaskId>;
}

/// Context of the apalis handler. A type of its own, because a handler cannot take a bare trait
/// object.
#[derive(Clone)]
struct SubscriberHandle(Arc<dyn Subscriber>);

/// Handler of every apalis worker here: passes the notification to the subscriber.
async fn handle(
    notification: Notification,
    handle: Data<SubscriberHandle>,
) -> Result<(), BoxDynError> {
    let subscriber = Arc::clone(&handle.0.0);
    subscriber.notified(notification).await?;
    Ok(())
}
