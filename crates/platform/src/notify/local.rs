//! Notifications inside one process: jobs by apalis with its memory backend, events by a channel.
//!
//! A notification without a subscriber, or beyond [`MAX_PENDING`] per queue, is dropped. The rescuer
//! repeats it while the job still waits in the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use apalis::prelude::WorkerBuilder;
use apalis_core::backend::memory::{MemorySink, MemoryStorage};
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::{RandomId, TaskId as ApalisTaskId};
use async_trait::async_trait;
use entity::TaskId;
use futures::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::slots::SlotLayer;
use super::{EventNotifier, Notifier, NotifyError, Subscriber, SubscriberHandle, handle};
use crate::queue::Notification;

/// Upper bound on pending notifications per queue in the process.
const MAX_PENDING: usize = 1_000;

/// Notifies subscribers in the same process.
#[derive(Clone, Debug, Default)]
pub struct LocalNotifier {
    subscribers: Arc<Mutex<HashMap<String, Vec<mpsc::Sender<Notification>>>>>,
}

impl LocalNotifier {
    /// Returns a notifier without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    fn add_subscriber(&self, queue: &str) -> mpsc::Receiver<Notification> {
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscribers
            .entry(queue.to_owned())
            .or_default()
            .push(sender);
        receiver
    }
}

#[async_trait]
impl Notifier for LocalNotifier {
    async fn notify(&self, notifications: &[Notification]) -> Result<(), NotifyError> {
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for notification in notifications {
            let Some(senders) = subscribers.get_mut(&notification.queue) else {
                continue;
            };
            senders.retain(|sender| !sender.is_closed());
            // Workers in one process take turns.
            if !senders.is_empty() {
                senders.rotate_left(1);
            }
            if !senders
                .iter()
                .any(|sender| sender.try_send(notification.clone()).is_ok())
            {
                debug!(
                    job.id = %notification.job_id,
                    "dropped a notification: queue {} has no free subscriber",
                    notification.queue
                );
            }
        }
        Ok(())
    }

    async fn subscribe(
        &self,
        worker: &str,
        queues: &[String],
        slots: Arc<Semaphore>,
        subscriber: Arc<dyn Subscriber>,
        stop: CancellationToken,
    ) -> Result<(), NotifyError> {
        let mut workers = tokio::task::JoinSet::new();
        for queue in queues {
            let receiver = self.add_subscriber(queue);
            let name = format!("{worker}/{queue}");
            let (slots, subscriber, stop) =
                (Arc::clone(&slots), Arc::clone(&subscriber), stop.clone());
            workers.spawn(async move { receive(name, receiver, slots, subscriber, stop).await });
        }
        while let Some(ended) = workers.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(error) => {
                    return Err(NotifyError {
                        operation: "receiving a notification",
                        source: error.into(),
                    });
                }
            }
        }
        Ok(())
    }

    async fn trim(&self) -> Result<(), NotifyError> {
        Ok(())
    }

    async fn healthy(&self) -> Result<(), NotifyError> {
        Ok(())
    }
}

async fn receive(
    name: String,
    receiver: mpsc::Receiver<Notification>,
    slots: Arc<Semaphore>,
    subscriber: Arc<dyn Subscriber>,
    stop: CancellationToken,
) -> Result<(), NotifyError> {
    let tasks = ReceiverStream::new(receiver)
        .map(|notification| {
            TaskBuilder::new(notification)
                .task_id(ApalisTaskId::from_string(RandomId::default()))
                .build()
        })
        .boxed();
    // Notifications come through the channel above; nothing is pushed into the storage itself.
    let unused = futures::sink::drain().sink_map_err(|never| match never {});
    let storage = MemoryStorage::new_with(
        MemorySink::new(Arc::new(futures::lock::Mutex::new(Box::new(unused)))),
        tasks,
    );
    let worker = WorkerBuilder::new(name.as_str())
        .backend(storage)
        .data(SubscriberHandle(subscriber))
        .layer(SlotLayer::new(slots))
        .build(handle);
    let stopped = async move {
        stop.cancelled().await;
        Ok::<(), std::io::Error>(())
    };
    match worker.run_until(stopped).await {
        Ok(()) => Ok(()),
        Err(error) => {
            warn!(subscriber = name, "subscriber failed: {error}");
            Err(NotifyError {
                operation: "receiving notifications in the process",
                source: error.into(),
            })
        }
    }
}

/// Notifies the event readers of this process only.
#[derive(Clone, Debug)]
pub struct LocalEventNotifier {
    readers: broadcast::Sender<TaskId>,
}

impl LocalEventNotifier {
    /// Number of notifications by which a slow reader may lag before it misses some.
    const MAX_LAG: usize = 1024;

    /// Returns a notifier without readers.
    pub fn new() -> Self {
        Self {
            readers: broadcast::Sender::new(Self::MAX_LAG),
        }
    }
}

impl Default for LocalEventNotifier {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventNotifier for LocalEventNotifier {
    async fn notify(&self, task: TaskId) {
        // An error means that there is no reader, which is fine.
        let _readers = self.readers.send(task);
    }

    fn subscribe(&self) -> broadcast::Receiver<TaskId> {
        self.readers.subscribe()
    }
}
