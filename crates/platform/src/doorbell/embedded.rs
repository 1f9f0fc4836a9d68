//! The doorbell inside one process: apalis with its memory backend.
//!
//! Bells that nobody listens for, or that would make a queue longer than [`MOST_WAITING`], are
//! dropped: the sweeper rings again for whatever still waits in the ledger.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use apalis::prelude::WorkerBuilder;
use apalis_core::backend::memory::{MemorySink, MemoryStorage};
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::{RandomId, TaskId};
use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::gate::GateLayer;
use super::{Doorbell, DoorbellError, Hear, Hearer, heard};
use crate::jobs::Ring;

/// How many bells of one queue may wait in the process.
const MOST_WAITING: usize = 1_000;

/// Rings within the process.
#[derive(Clone, Debug, Default)]
pub struct EmbeddedDoorbell {
    listeners: Arc<Mutex<HashMap<String, Vec<mpsc::Sender<Ring>>>>>,
}

impl EmbeddedDoorbell {
    /// A doorbell that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn add_listener(&self, queue: &str) -> mpsc::Receiver<Ring> {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.entry(queue.to_owned()).or_default().push(sender);
        receiver
    }
}

#[async_trait]
impl Doorbell for EmbeddedDoorbell {
    async fn ring(&self, rings: &[Ring]) -> Result<(), DoorbellError> {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for ring in rings {
            let Some(senders) = listeners.get_mut(&ring.queue) else {
                continue;
            };
            senders.retain(|sender| !sender.is_closed());
            // Workers in one process take turns.
            if !senders.is_empty() {
                senders.rotate_left(1);
            }
            if !senders
                .iter()
                .any(|sender| sender.try_send(ring.clone()).is_ok())
            {
                debug!(job.id = %ring.job_id, "nobody can hear the bell of queue {}", ring.queue);
            }
        }
        Ok(())
    }

    async fn listen(
        &self,
        worker: &str,
        queues: &[String],
        slots: Arc<Semaphore>,
        hear: Arc<dyn Hear>,
        stop: CancellationToken,
    ) -> Result<(), DoorbellError> {
        let mut ears = tokio::task::JoinSet::new();
        for queue in queues {
            let receiver = self.add_listener(queue);
            let name = format!("{worker}/{queue}");
            let (slots, hear, stop) = (Arc::clone(&slots), Arc::clone(&hear), stop.clone());
            ears.spawn(async move { listen_to(name, receiver, slots, hear, stop).await });
        }
        while let Some(ended) = ears.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(error) => {
                    return Err(DoorbellError {
                        doing: "hearing a bell",
                        source: error.into(),
                    });
                }
            }
        }
        Ok(())
    }

    async fn trim(&self) -> Result<(), DoorbellError> {
        Ok(())
    }

    async fn healthy(&self) -> Result<(), DoorbellError> {
        Ok(())
    }
}

async fn listen_to(
    name: String,
    receiver: mpsc::Receiver<Ring>,
    slots: Arc<Semaphore>,
    hear: Arc<dyn Hear>,
    stop: CancellationToken,
) -> Result<(), DoorbellError> {
    let tasks = ReceiverStream::new(receiver)
        .map(|ring| {
            TaskBuilder::new(ring)
                .task_id(TaskId::from_string(RandomId::default()))
                .build()
        })
        .boxed();
    // Rings come through the channel above; nobody pushes into the storage itself.
    let unused = futures::sink::drain().sink_map_err(|never| match never {});
    let storage = MemoryStorage::new_with(
        MemorySink::new(Arc::new(futures::lock::Mutex::new(Box::new(unused)))),
        tasks,
    );
    let worker = WorkerBuilder::new(name.as_str())
        .backend(storage)
        .data(Hearer(hear))
        .layer(GateLayer::new(slots))
        .build(heard);
    let stopped = async move {
        stop.cancelled().await;
        Ok::<(), std::io::Error>(())
    };
    match worker.run_until(stopped).await {
        Ok(()) => Ok(()),
        Err(error) => {
            warn!("the ear {name} failed: {error}");
            Err(DoorbellError {
                doing: "hearing bells in the process",
                source: error.into(),
            })
        }
    }
}
