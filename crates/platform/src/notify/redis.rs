//! Job notifications through Redis, with apalis and apalis-redis.
//!
//! Measured behaviour of apalis-redis 1.0.0, and the consequence here:
//! * A push always goes to the scheduled set and signals no worker. So [`RedisNotifier`] also
//!   publishes on a channel, and every subscriber polls at once, besides polling every [`POLL`].
//! * An interval strategy that is ready at every poll leaves no waker behind, and the worker sleeps
//!   until its heartbeat. So [`NotifiedOrTick`] polls its sources until they are pending.
//! * A poll strategy cannot hold a worker back. So the slots are a [layer](super::slots).
//! * Any Redis error ends the worker. So each subscriber is restarted forever, under a new name.
//! * Leases and events of apalis are of no use to a notification that is handled in microseconds, so
//!   both are off. The result is kept, because without it a notification never leaves the in-flight
//!   set.
//! * Processed notifications are kept forever. So [`RedisNotifier::trim`] removes them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use apalis::prelude::{BoxDynError, WorkerBuilder};
use apalis_core::backend::ext::BackendExt;
use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};
use apalis_core::backend::{TaskSink, Vacuum};
use apalis_core::task::builder::TaskBuilder;
use apalis_redis::{Config, RedisStorage};
use async_trait::async_trait;
use futures::{Stream, StreamExt};
use redis::AsyncCommands;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::{Semaphore, broadcast};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::slots::SlotLayer;
use super::{Notifier, NotifyError, Subscriber, SubscriberHandle, handle};
use crate::queue::Notification;
use crate::settings::{ExposeSecret, SecretString};

/// Interval at which a subscriber polls without a notification.
const POLL: Duration = Duration::from_millis(200);
/// Timeout for notifying workers. The caller goes on without the notification after it.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// Upper bound on pending notifications per queue in Redis. Further jobs are notified as earlier
/// ones are claimed. Far below the 8,000 due entries at which the queue's own script fails for good.
const MAX_PENDING: usize = 1_000;
/// Notifications of the same job and epoch within this time count as one. Shorter than the
/// rescuer's interval, because a lost notification must be repeatable.
const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(1);
/// Pause between two attempts to start a subscriber.
const RESTART_DELAY: Duration = Duration::from_millis(500);

/// Notifies workers through Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisNotifier {
    client: redis::Client,
    connection: ConnectionManager,
    prefix: String,
    /// Number of subscribers that this process has started, for their names.
    subscribers: Arc<AtomicU64>,
    /// Queues that this process has notified or subscribed to, for trimming.
    queues: Arc<std::sync::Mutex<std::collections::BTreeSet<String>>>,
}

impl std::fmt::Debug for RedisNotifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisNotifier")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisNotifier {
    /// Prepares a notifier at `url`, with keys and channels that begin with `prefix`.
    ///
    /// Connects on first use, and again after every lost connection.
    ///
    /// # Errors
    /// The address is malformed.
    pub fn connect(url: &SecretString, prefix: &str) -> Result<Self, NotifyError> {
        let operation = "reading the address of Redis";
        let client = redis::Client::open(url.expose_secret()).map_err(failure(operation))?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_secs(30)))
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config)
            .map_err(failure(operation))?;
        Ok(Self {
            client,
            connection,
            prefix: prefix.to_owned(),
            subscribers: Arc::default(),
            queues: Arc::default(),
        })
    }

    fn config(&self, queue: &str) -> Config {
        Config::default()
            .queue(format!("{}:queue:{queue}", self.prefix))
            .batch_size(1)
            .heartbeat_interval(Duration::from_secs(10))
            .idempotency_ttl(Some(DEDUPLICATION_WINDOW))
            .lock_tasks(false)
            .emit_events(false)
    }

    /// Returns the pub/sub channel of job notifications.
    fn channel(&self) -> String {
        format!("{}:notifications", self.prefix)
    }

    fn storage(&self, queue: &str) -> RedisStorage<Notification> {
        self.remember(queue);
        RedisStorage::new(self.connection.clone()).with_config(self.config(queue))
    }

    fn remember(&self, queue: &str) {
        let mut queues = self
            .queues
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !queues.contains(queue) {
            queues.insert(queue.to_owned());
        }
    }

    async fn push(&self, notifications: &[Notification]) -> Result<(), NotifyError> {
        let operation = "notifying workers through Redis";
        let mut by_queue = BTreeMap::<&str, Vec<&Notification>>::new();
        for notification in notifications {
            let queue = notification.queue.as_str();
            by_queue.entry(queue).or_default().push(notification);
        }
        let mut connection = self.connection.clone();
        for (queue, notifications) in by_queue {
            let mut storage = self.storage(queue);
            let config = storage.get_config().clone();
            let (scheduled, active): (usize, usize) = redis::pipe()
                .zcard(config.scheduled_jobs_set())
                .llen(config.active_jobs_list())
                .query_async(&mut connection)
                .await
                .map_err(failure(operation))?;
            let capacity = MAX_PENDING.saturating_sub(scheduled + active);
            if capacity < notifications.len() {
                debug!(
                    queue,
                    "postponed {} notifications: {MAX_PENDING} are pending",
                    notifications.len() - capacity
                );
            }
            let tasks: Vec<_> = notifications
                .into_iter()
                .take(capacity)
                .map(|notification| {
                    TaskBuilder::new(notification.clone())
                        .idempotency_key(format!("{}:{}", notification.job_id, notification.epoch))
                        .build()
                })
                .collect();
            if tasks.is_empty() {
                continue;
            }
            storage
                .push_all(futures::stream::iter(tasks))
                .await
                .map_err(failure(operation))?;
            let _: usize = connection
                .publish(self.channel(), queue)
                .await
                .map_err(failure(operation))?;
        }
        Ok(())
    }

    /// Forwards messages of the pub/sub channel to all subscribers of this process until `stop`.
    async fn relay(self, queues: broadcast::Sender<String>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let subscription = async {
                let mut pubsub = self.client.get_async_pubsub().await?;
                pubsub.subscribe(self.channel()).await?;
                let mut messages = pubsub.on_message();
                while let Some(message) = messages.next().await {
                    // No receiver is no error: the subscribers may be restarting.
                    let _ = queues.send(message.get_payload()?);
                }
                redis::RedisResult::Ok(())
            };
            tokio::select! {
                () = stop.cancelled() => return,
                ended = subscription => {
                    if let Err(error) = ended {
                        debug!("lost the subscription to notifications, polling: {error}");
                    }
                }
            }
            pause(&stop).await;
        }
    }

    /// Runs the subscriber of one queue and restarts it after every failure, until `stop`.
    async fn run_subscriber(
        self,
        worker: String,
        queue: String,
        slots: Arc<Semaphore>,
        subscriber: Arc<dyn Subscriber>,
        queues: broadcast::Sender<String>,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            let number = self.subscribers.fetch_add(1, Ordering::Relaxed);
            let name = format!("{worker}/{queue}/{number}");
            let backend = self
                .storage(&queue)
                .poll_with_strategy(NotifiedOrTick::new(queue.clone(), &queues));
            let apalis_worker = WorkerBuilder::new(name.as_str())
                .backend(backend)
                .data(SubscriberHandle(Arc::clone(&subscriber)))
                .layer(SlotLayer::new(Arc::clone(&slots)))
                .build(handle);
            let stopped = {
                let stop = stop.clone();
                async move {
                    stop.cancelled().await;
                    Ok::<(), std::io::Error>(())
                }
            };
            // A task of its own, so that a panic inside apalis ends this subscriber only.
            match tokio::spawn(apalis_worker.run_until(stopped)).await {
                Ok(Ok(())) if stop.is_cancelled() => return,
                Ok(Ok(())) => debug!(queue, subscriber = name, "subscriber ended; restarting"),
                Ok(Err(error)) => {
                    warn!(
                        queue,
                        subscriber = name,
                        "lost the connection to Redis; reconnecting: {error}"
                    );
                }
                Err(error) => {
                    warn!(
                        queue,
                        subscriber = name,
                        "subscriber panicked; restarting: {error}"
                    );
                }
            }
            pause(&stop).await;
        }
    }
}

/// Waits for [`RESTART_DELAY`], or until `stop`.
async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(RESTART_DELAY) => {}
    }
}

/// Returns a function that wraps an error of `operation`.
fn failure<E>(operation: &'static str) -> impl FnOnce(E) -> NotifyError
where
    E: Into<BoxDynError>,
{
    move |error| NotifyError {
        operation,
        source: error.into(),
    }
}

#[async_trait]
impl Notifier for RedisNotifier {
    async fn notify(&self, notifications: &[Notification]) -> Result<(), NotifyError> {
        match tokio::time::timeout(NOTIFY_TIMEOUT, self.push(notifications)).await {
            Ok(sent) => sent,
            Err(elapsed) => Err(failure("notifying workers through Redis")(elapsed)),
        }
    }

    async fn subscribe(
        &self,
        worker: &str,
        queues: &[String],
        slots: Arc<Semaphore>,
        subscriber: Arc<dyn Subscriber>,
        stop: CancellationToken,
    ) -> Result<(), NotifyError> {
        let (notified, _) = broadcast::channel(1_024);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(self.clone().relay(notified.clone(), stop.clone()));
        for queue in queues {
            tasks.spawn(self.clone().run_subscriber(
                worker.to_owned(),
                queue.clone(),
                Arc::clone(&slots),
                Arc::clone(&subscriber),
                notified.clone(),
                stop.clone(),
            ));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(failure("receiving notifications through Redis"))?;
        }
        Ok(())
    }

    async fn trim(&self) -> Result<(), NotifyError> {
        let operation = "trimming notifications in Redis";
        let queues: Vec<String> = {
            let known = self
                .queues
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            known.iter().cloned().collect()
        };
        let mut connection = self.connection.clone();
        for queue in queues {
            let mut storage = self.storage(&queue);
            storage.vacuum().await.map_err(failure(operation))?;
            let config = self.config(&queue);
            // A processed or failed notification has no further use: the job row has the state.
            let _: () = redis::pipe()
                .del(config.done_jobs_set())
                .del(config.dead_jobs_set())
                .query_async(&mut connection)
                .await
                .map_err(failure(operation))?;
        }
        Ok(())
    }

    async fn pending(
        &self,
        queues: &[String],
    ) -> Result<Option<BTreeMap<String, u64>>, NotifyError> {
        let operation = "counting notifications in Redis";
        let mut count = redis::pipe();
        for queue in queues {
            let config = self.config(queue);
            count
                .zcard(config.scheduled_jobs_set())
                .llen(config.active_jobs_list());
        }
        let mut connection = self.connection.clone();
        if queues.is_empty() {
            return Ok(Some(BTreeMap::new()));
        }
        let query = count.query_async::<Vec<u64>>(&mut connection);
        let counts = tokio::time::timeout(NOTIFY_TIMEOUT, query)
            .await
            .map_err(failure(operation))?
            .map_err(failure(operation))?;
        let sums = counts.chunks(2).map(|pair| pair.iter().sum());
        Ok(Some(queues.iter().cloned().zip(sums).collect()))
    }

    async fn healthy(&self) -> Result<(), NotifyError> {
        let mut connection = self.connection.clone();
        let operation = "pinging Redis";
        tokio::time::timeout(NOTIFY_TIMEOUT, connection.ping::<String>())
            .await
            .map_err(failure(operation))?
            .map_err(failure(operation))?;
        Ok(())
    }
}

/// Polls when its queue was notified, and every [`POLL`].
struct NotifiedOrTick {
    sources: Pin<Box<dyn Stream<Item = ()> + Send + Sync>>,
}

impl NotifiedOrTick {
    fn new(queue: String, queues: &broadcast::Sender<String>) -> Self {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let notified = BroadcastStream::new(queues.subscribe()).filter_map(move |message| {
            // Missed messages may include one of this queue.
            let ours = message.map_or(true, |notified| notified == queue);
            std::future::ready(ours.then_some(()))
        });
        Self {
            sources: Box::pin(futures::stream::select(
                IntervalStream::new(ticks).map(|_| ()),
                notified,
            )),
        }
    }
}

impl PollStrategy for NotifiedOrTick {
    fn poll_drive(&mut self, context: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        while let Poll::Ready(Some(())) = self.sources.as_mut().poll_next(context) {}
        Poll::Pending
    }
}
