//! Wake-ups over Redis: the API hears at once of events that a worker appended.

use std::time::Duration;

use async_trait::async_trait;
use entity::TaskId;
use futures::StreamExt;
use redis::AsyncCommands;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::Waker;
use crate::settings::Secret;

/// How long a wake-up may take: readers look once a second anyway.
const WAKE_TIMEOUT: Duration = Duration::from_millis(500);

/// Wakes readers in every process on the same Redis and prefix.
pub struct RedisWaker {
    connection: ConnectionManager,
    channel: String,
    woken: broadcast::Sender<TaskId>,
    _relay: DropGuard,
}

impl RedisWaker {
    /// Connects when it is first used. Must be called within a runtime. Only a malformed address
    /// is an error.
    pub fn connect(url: &Secret, prefix: &str) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(url.expose())?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_secs(5)))
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        let (woken, _) = broadcast::channel(1_024);
        let stop = CancellationToken::new();
        let channel = format!("{prefix}:events");
        tokio::spawn(relay(client, channel.clone(), woken.clone(), stop.clone()));
        Ok(Self {
            connection,
            channel,
            woken,
            _relay: stop.drop_guard(),
        })
    }
}

async fn relay(
    client: redis::Client,
    channel: String,
    woken: broadcast::Sender<TaskId>,
    stop: CancellationToken,
) {
    loop {
        let heard = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(&channel).await?;
            let mut messages = pubsub.on_message();
            while let Some(message) = messages.next().await {
                if let Ok(task) = message.get_payload::<String>()?.parse() {
                    // No reader is no error.
                    let _ = woken.send(task);
                }
            }
            redis::RedisResult::Ok(())
        };
        tokio::select! {
            () = stop.cancelled() => return,
            ended = heard => {
                if let Err(error) = ended {
                    debug!("cannot hear wake-ups, readers look by themselves meanwhile: {error}");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

#[async_trait]
impl Waker for RedisWaker {
    async fn wake(&self, task: TaskId) {
        // Readers in this process need no way over Redis; hearing it twice does no harm.
        let _ = self.woken.send(task);
        let mut connection = self.connection.clone();
        let publish = connection.publish::<_, _, usize>(&self.channel, task.to_string());
        match tokio::time::timeout(WAKE_TIMEOUT, publish).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(task.id = %task, "could not wake other processes: {error}"),
            Err(_) => debug!(task.id = %task, "could not wake other processes in time"),
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<TaskId> {
        self.woken.subscribe()
    }
}
