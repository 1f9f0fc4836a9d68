//! Stores the events of a run: converts `AgentEvent` to `Event`, and appends them in small batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agents::event::AgentEvent;
use domain::vocabulary::Level;
use platform::events::{Event, NewEvent};
use platform::telemetry::chain;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;
use crate::run_identity::RunIdentity;

/// Longest time that an event waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(100);
/// Approximate number of events in one transaction.
const BATCH_SIZE: usize = 64;
/// Capacity of the queue of events. A full queue slows the agent down.
const QUEUE_SIZE: usize = 256;
/// Maximum number of attempts to store a batch.
const MAX_TRIES: u32 = 4;

/// Returns the stored form of an agent's event, if it has one. Texts and sizes are in the
/// transcript and in the events of whole turns.
fn stored_event(identity: &RunIdentity, event: AgentEvent, sealed: bool) -> Option<NewEvent> {
    let (agent, trial) = (identity.agent.clone(), identity.trial);
    match event {
        AgentEvent::Text { .. }
        | AgentEvent::ToolResult { .. }
        | AgentEvent::Usage(_)
        | AgentEvent::Compacted(_) => None,
        AgentEvent::ToolCall(call) => {
            let level = if sealed { Level::Warning } else { Level::Debug };
            let event = Event::ToolCalled {
                agent,
                trial,
                tool: call.tool,
                target: call.target,
                sealed,
            };
            Some(identity.event(level, event))
        }
        AgentEvent::Retry { attempt, why } => {
            let message = format!("retrying the provider (attempt {attempt}): {why}");
            let event = Event::Retry {
                agent,
                trial,
                message,
            };
            Some(identity.event(Level::Warning, event))
        }
        AgentEvent::Error { message } => {
            let event = Event::Progress {
                stage: "agent".to_owned(),
                message,
                percent: None,
            };
            Some(identity.event(Level::Warning, event))
        }
    }
}

/// Appends the events of one run, in order, in batches.
pub(crate) struct EventRecorder {
    items: mpsc::Sender<Item>,
    agent: mpsc::Sender<AgentEvent>,
    sealed: Arc<AtomicBool>,
}

enum Item {
    Event(NewEvent),
    Flush(oneshot::Sender<Result<(), JobError>>),
}

impl EventRecorder {
    /// Starts recording on behalf of a job. It ends when the recorder and all sessions are dropped.
    pub(crate) fn start(worker: Arc<Worker>, job: ClaimedJob, identity: RunIdentity) -> Self {
        let (items, item_source) = mpsc::channel(QUEUE_SIZE);
        let (agent, agent_source) = mpsc::channel(QUEUE_SIZE);
        let sealed = Arc::new(AtomicBool::new(false));
        let writer = EventWriter {
            worker,
            job,
            identity,
            sealed: Arc::clone(&sealed),
            waiting: Vec::new(),
            since: None,
            failed: None,
        };
        tokio::spawn(writer.write_all(item_source, agent_source));
        Self {
            items,
            agent,
            sealed,
        }
    }

    /// Returns the channel for events of sessions.
    pub(crate) fn agent_events(&self) -> mpsc::Sender<AgentEvent> {
        self.agent.clone()
    }

    /// Sets whether every tool call from now on is a violation.
    pub(crate) fn seal(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Relaxed);
    }

    /// Appends an event soon. The next [`Self::flush`] reports an error.
    pub(crate) async fn record(&self, event: NewEvent) {
        // A closed channel means that the writer failed, which `flush` reports.
        let _ = self.items.send(Item::Event(event)).await;
    }

    /// Waits until all events so far are stored.
    pub(crate) async fn flush(&self) -> Result<(), JobError> {
        let (done, stored) = oneshot::channel();
        if self.items.send(Item::Flush(done)).await.is_err() {
            return Err(JobError::LeaseLost);
        }
        stored.await.unwrap_or(Err(JobError::LeaseLost))
    }
}

/// The receiving side of an [`EventRecorder`].
struct EventWriter {
    worker: Arc<Worker>,
    job: ClaimedJob,
    identity: RunIdentity,
    sealed: Arc<AtomicBool>,
    waiting: Vec<NewEvent>,
    since: Option<Instant>,
    /// First error. Nothing is written after it.
    failed: Option<JobError>,
}

impl EventWriter {
    async fn write_all(
        mut self,
        mut items: mpsc::Receiver<Item>,
        mut agent: mpsc::Receiver<AgentEvent>,
    ) {
        let mut agent_open = true;
        loop {
            let due = self.since.map(|since| since + BATCH_DELAY);
            tokio::select! {
                event = agent.recv(), if agent_open => match event {
                    Some(event) => self.push_agent_event(event),
                    None => agent_open = false,
                },
                item = items.recv() => match item {
                    Some(Item::Event(event)) => {
                        self.drain_agent_events(&mut agent);
                        self.push(event);
                    }
                    Some(Item::Flush(done)) => {
                        self.drain_agent_events(&mut agent);
                        self.write().await;
                        let result = self.failed.take().map_or(Ok(()), Err);
                        let over = result.is_err();
                        // If the job was dropped, nothing waits for the result.
                        let _ = done.send(result);
                        if over {
                            return;
                        }
                    }
                    None => {
                        self.write().await;
                        return;
                    }
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.write().await;
                }
            }
            if self.waiting.len() >= BATCH_SIZE {
                self.write().await;
            }
        }
    }

    fn push_agent_event(&mut self, event: AgentEvent) {
        let sealed = self.sealed.load(Ordering::Relaxed);
        if let Some(event) = stored_event(&self.identity, event, sealed) {
            self.push(event);
        }
    }

    /// Events that the agent sent before an event of the run are already in its channel.
    fn drain_agent_events(&mut self, agent: &mut mpsc::Receiver<AgentEvent>) {
        while let Ok(event) = agent.try_recv() {
            self.push_agent_event(event);
        }
    }

    fn push(&mut self, event: NewEvent) {
        self.since.get_or_insert_with(Instant::now);
        self.waiting.push(event);
    }

    async fn write(&mut self) {
        self.since = None;
        let events = std::mem::take(&mut self.waiting);
        if events.is_empty() || self.failed.is_some() {
            return;
        }
        let mut tries = 1;
        while let Err(error) = self.append(&events).await {
            match error {
                JobError::LeaseLost | JobError::Cancelled => {
                    self.job.cancel.cancel();
                    self.failed = Some(error);
                    return;
                }
                JobError::Failed { .. } if tries >= MAX_TRIES => {
                    self.failed = Some(error);
                    return;
                }
                JobError::Failed { .. } => {
                    warn!(run.id = %self.identity.run, error = chain(&error), "could not store events; retrying");
                    tokio::time::sleep(BATCH_DELAY * 2_u32.pow(tries)).await;
                    tries += 1;
                }
            }
        }
    }

    async fn append(&self, events: &[NewEvent]) -> Result<(), JobError> {
        let platform = &self.worker.platform;
        let transaction = self.worker.begin(&self.job).await?;
        platform::events::append(&transaction, self.identity.task, events, &platform.redactor)
            .await?;
        transaction.commit().await?;
        platform.event_notifier.notify(self.identity.task).await;
        Ok(())
    }
}
