//! The doorbell over Redis: apalis with apalis-redis, used only for what it does well.
//!
//! What experiment showed of apalis-redis 1.0.0, and what follows here:
//! * a push always goes to the scheduled set and signals nobody, so a ring also publishes on a
//!   channel and every listener polls at once, besides polling every [`POLL`];
//! * an interval strategy that is ready each time it is polled leaves no waker behind and the
//!   worker sleeps until its heartbeat, so [`Bell`] polls its sources until they are pending;
//! * a poll strategy cannot hold a worker back, so the slots are a [layer](super::gate);
//! * any error of Redis ends the worker, so each ear is built anew, under a new name, for ever;
//! * leases and events of its own are of no use to a bell that is heard in microseconds, so both
//!   are off; the result is kept, because without it a bell is never taken off the in-flight set;
//! * done bells are kept for ever, so [`RedisDoorbell::trim`] removes them.

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

use super::gate::GateLayer;
use super::{Doorbell, DoorbellError, Hear, Hearer, heard};
use crate::jobs::Ring;
use crate::settings::Secret;

/// How often a listener looks without being told to.
const POLL: Duration = Duration::from_millis(200);
/// How long a ring may take before the caller goes on without it.
const RING_TIMEOUT: Duration = Duration::from_secs(2);
/// How many bells of one queue may wait in Redis; the rest wait in the ledger. Far below the 8,000
/// due entries at which the queue's own script fails for good.
const MOST_WAITING: usize = 1_000;
/// A second ring for the same job and epoch within this time is the same ring. Shorter than the
/// sweeper's patience, or a lost bell could not be rung again.
const SAME_RING: Duration = Duration::from_secs(1);
/// Between two attempts to build an ear that failed.
const REBUILD: Duration = Duration::from_millis(500);

/// Rings over Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisDoorbell {
    client: redis::Client,
    connection: ConnectionManager,
    prefix: String,
    /// Counts the ears this process has built, for their names.
    ears: Arc<AtomicU64>,
    /// Queues this process has rung or heard, for trimming.
    queues: Arc<std::sync::Mutex<std::collections::BTreeSet<String>>>,
}

impl std::fmt::Debug for RedisDoorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisDoorbell")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisDoorbell {
    /// A doorbell at `url` whose keys and channels begin with `prefix`. Connects when it is first
    /// used, and again whenever the connection is lost; only a malformed address is an error.
    pub fn connect(url: &Secret, prefix: &str) -> Result<Self, DoorbellError> {
        let doing = "reading the address of Redis";
        let client = redis::Client::open(url.expose()).map_err(|error| DoorbellError {
            doing,
            source: error.into(),
        })?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_secs(30)))
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1));
        let connection =
            ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(|error| {
                DoorbellError {
                    doing,
                    source: error.into(),
                }
            })?;
        Ok(Self {
            client,
            connection,
            prefix: prefix.to_owned(),
            ears: Arc::default(),
            queues: Arc::default(),
        })
    }

    fn config(&self, queue: &str) -> Config {
        Config::default()
            .queue(format!("{}:queue:{queue}", self.prefix))
            .batch_size(1)
            .heartbeat_interval(Duration::from_secs(10))
            .idempotency_ttl(Some(SAME_RING))
            .lock_tasks(false)
            .emit_events(false)
    }

    fn channel(&self) -> String {
        format!("{}:bells", self.prefix)
    }

    fn storage(&self, queue: &str) -> RedisStorage<Ring> {
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

    async fn push(&self, rings: &[Ring]) -> Result<(), DoorbellError> {
        let failed = |source: BoxDynError| DoorbellError {
            doing: "ringing over Redis",
            source,
        };
        let mut by_queue = std::collections::BTreeMap::<&str, Vec<&Ring>>::new();
        for ring in rings {
            by_queue.entry(ring.queue.as_str()).or_default().push(ring);
        }
        let mut connection = self.connection.clone();
        for (queue, rings) in by_queue {
            let mut storage = self.storage(queue);
            let config = storage.get_config().clone();
            let (scheduled, active): (usize, usize) = redis::pipe()
                .zcard(config.scheduled_jobs_set())
                .llen(config.active_jobs_list())
                .query_async(&mut connection)
                .await
                .map_err(|error| failed(error.into()))?;
            let room = MOST_WAITING.saturating_sub(scheduled + active);
            if room < rings.len() {
                debug!(
                    "{} bells of queue {queue} wait in the ledger",
                    rings.len() - room
                );
            }
            let tasks: Vec<_> = rings
                .into_iter()
                .take(room)
                .map(|ring| {
                    TaskBuilder::new(ring.clone())
                        .idempotency_key(format!("{}:{}", ring.job_id, ring.epoch))
                        .build()
                })
                .collect();
            if tasks.is_empty() {
                continue;
            }
            storage
                .push_all(futures::stream::iter(tasks))
                .await
                .map_err(|error| failed(error.into()))?;
            let _: usize = connection
                .publish(self.channel(), queue)
                .await
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }

    /// One connection hears of rings and tells all ears of this process.
    async fn relay(self, told: broadcast::Sender<String>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let heard = async {
                let mut pubsub = self.client.get_async_pubsub().await?;
                pubsub.subscribe(self.channel()).await?;
                let mut messages = pubsub.on_message();
                while let Some(message) = messages.next().await {
                    // Nobody listening is no error: the ears may be being rebuilt.
                    let _ = told.send(message.get_payload()?);
                }
                redis::RedisResult::Ok(())
            };
            tokio::select! {
                () = stop.cancelled() => return,
                ended = heard => {
                    if let Err(error) = ended {
                        debug!("cannot be told of rings, polling meanwhile: {error}");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REBUILD) => {}
            }
        }
    }

    async fn ear(
        self,
        worker: String,
        queue: String,
        slots: Arc<Semaphore>,
        hear: Arc<dyn Hear>,
        told: broadcast::Sender<String>,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            let number = self.ears.fetch_add(1, Ordering::Relaxed);
            let name = format!("{worker}/{queue}/{number}");
            let backend = self
                .storage(&queue)
                .poll_with_strategy(Bell::new(queue.clone(), &told));
            let ear = WorkerBuilder::new(name.as_str())
                .backend(backend)
                .data(Hearer(Arc::clone(&hear)))
                .layer(GateLayer::new(Arc::clone(&slots)))
                .build(heard);
            let stopped = {
                let stop = stop.clone();
                async move {
                    stop.cancelled().await;
                    Ok::<(), std::io::Error>(())
                }
            };
            // A task of its own, so that a panic inside apalis ends the ear and nothing else.
            match tokio::spawn(ear.run_until(stopped)).await {
                Ok(Ok(())) if stop.is_cancelled() => return,
                Ok(Ok(())) => debug!("the ear {name} ended and is built anew"),
                Ok(Err(error)) => warn!("the ear {name} failed and is built anew: {error}"),
                Err(error) => warn!("the ear {name} broke and is built anew: {error}"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REBUILD) => {}
            }
        }
    }
}

#[async_trait]
impl Doorbell for RedisDoorbell {
    async fn ring(&self, rings: &[Ring]) -> Result<(), DoorbellError> {
        match tokio::time::timeout(RING_TIMEOUT, self.push(rings)).await {
            Ok(rung) => rung,
            Err(elapsed) => Err(DoorbellError {
                doing: "ringing over Redis",
                source: elapsed.into(),
            }),
        }
    }

    async fn listen(
        &self,
        worker: &str,
        queues: &[String],
        slots: Arc<Semaphore>,
        hear: Arc<dyn Hear>,
        stop: CancellationToken,
    ) -> Result<(), DoorbellError> {
        let (told, _) = broadcast::channel(1_024);
        let mut ears = tokio::task::JoinSet::new();
        ears.spawn(self.clone().relay(told.clone(), stop.clone()));
        for queue in queues {
            ears.spawn(self.clone().ear(
                worker.to_owned(),
                queue.clone(),
                Arc::clone(&slots),
                Arc::clone(&hear),
                told.clone(),
                stop.clone(),
            ));
        }
        while let Some(ended) = ears.join_next().await {
            ended.map_err(|error| DoorbellError {
                doing: "hearing bells over Redis",
                source: error.into(),
            })?;
        }
        Ok(())
    }

    async fn trim(&self) -> Result<(), DoorbellError> {
        let failed = |source: BoxDynError| DoorbellError {
            doing: "trimming Redis",
            source,
        };
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
            storage
                .vacuum()
                .await
                .map_err(|error| failed(error.into()))?;
            let config = self.config(&queue);
            // A bell that was heard, or that failed for good, has no further use: the ledger knows.
            let _: () = redis::pipe()
                .del(config.done_jobs_set())
                .del(config.dead_jobs_set())
                .query_async(&mut connection)
                .await
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }

    async fn waiting(
        &self,
        queues: &[String],
    ) -> Result<Option<BTreeMap<String, u64>>, DoorbellError> {
        let doing = "counting bells in Redis";
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
        let asked = count.query_async::<Vec<u64>>(&mut connection);
        let counts = match tokio::time::timeout(RING_TIMEOUT, asked).await {
            Ok(counts) => counts.map_err(|error| DoorbellError {
                doing,
                source: error.into(),
            })?,
            Err(elapsed) => {
                return Err(DoorbellError {
                    doing,
                    source: elapsed.into(),
                });
            }
        };
        let sums = counts.chunks(2).map(|pair| pair.iter().sum());
        Ok(Some(queues.iter().cloned().zip(sums).collect()))
    }

    async fn healthy(&self) -> Result<(), DoorbellError> {
        let mut connection = self.connection.clone();
        let doing = "asking Redis for a sign of life";
        match tokio::time::timeout(RING_TIMEOUT, connection.ping::<String>()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(DoorbellError {
                doing,
                source: error.into(),
            }),
            Err(elapsed) => Err(DoorbellError {
                doing,
                source: elapsed.into(),
            }),
        }
    }
}

/// Wakes an ear when its queue was rung, and every [`POLL`].
struct Bell {
    sources: Pin<Box<dyn Stream<Item = ()> + Send + Sync>>,
}

impl Bell {
    fn new(queue: String, told: &broadcast::Sender<String>) -> Self {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let rung = BroadcastStream::new(told.subscribe()).filter_map(move |message| {
            // Having missed messages may mean having missed ours.
            let ours = message.map_or(true, |rung| rung == queue);
            std::future::ready(ours.then_some(()))
        });
        Self {
            sources: Box::pin(futures::stream::select(
                IntervalStream::new(ticks).map(|_| ()),
                rung,
            )),
        }
    }
}

impl PollStrategy for Bell {
    fn poll_drive(&mut self, context: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        while let Poll::Ready(Some(())) = self.sources.as_mut().poll_next(context) {}
        Poll::Pending
    }
}
