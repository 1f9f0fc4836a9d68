//! Event notifications through Redis pub/sub: the API learns at once of events that a worker
//! appended.

use std::time::Duration;

use async_trait::async_trait;
use entity::TaskId;
use futures::StreamExt;
use redis::AsyncCommands;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::EventNotifier;
use crate::settings::{ExposeSecret, SecretString};

/// Timeout for publishing a notification. Readers poll once a second anyway.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause between two attempts to subscribe.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// Notifies the event readers of every process that uses the same Redis and prefix.
pub struct RedisEventNotifier {
    connection: ConnectionManager,
    channel: String,
    readers: broadcast::Sender<TaskId>,
    _relay: DropGuard,
}

impl RedisEventNotifier {
    /// Prepares a connection, which is made on first use. Must be called within a runtime.
    ///
    /// # Errors
    /// The address is malformed.
    pub fn connect(url: &SecretString, prefix: &str) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(url.expose_secret())?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_secs(5)))
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        let (readers, _) = broadcast::channel(1_024);
        let stop = CancellationToken::new();
        let channel = format!("{prefix}:events");
        tokio::spawn(relay(
            client,
            channel.clone(),
            readers.clone(),
            stop.clone(),
        ));
        Ok(Self {
            connection,
            channel,
            readers,
            _relay: stop.drop_guard(),
        })
    }
}

/// Forwards messages of the Redis channel to the readers of this process until `stop`.
async fn relay(
    client: redis::Client,
    channel: String,
    readers: broadcast::Sender<TaskId>,
    stop: CancellationToken,
) {
    loop {
        let subscription = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(&channel).await?;
            let mut messages = pubsub.on_message();
            while let Some(message) = messages.next().await {
                if let Ok(task) = message.get_payload::<String>()?.parse() {
                    // An error means that there is no reader, which is fine.
                    let _ = readers.send(task);
                }
            }
            redis::RedisResult::Ok(())
        };
        tokio::select! {
            () = stop.cancelled() => return,
            ended = subscription => {
                if let Err(error) = ended {
                    debug!("lost the subscription to event notifications; readers poll: {error}");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RECONNECT_DELAY) => {}
        }
    }
}

#[async_trait]
impl EventNotifier for RedisEventNotifier {
    async fn notify(&self, task: TaskId) {
        // Readers in this process are notified directly; a second notification through Redis does
        // no harm.
        let _ = self.readers.send(task);
        let mut connection = self.connection.clone();
        let publish = connection.publish::<_, _, usize>(&self.channel, task.to_string());
        match tokio::time::timeout(PUBLISH_TIMEOUT, publish).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                debug!(task.id = %task, "could not notify other processes of events: {error}");
            }
            Err(_) => debug!(task.id = %task, "timed out notifying other processes of events"),
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<TaskId> {
        self.readers.subscribe()
    }
}
