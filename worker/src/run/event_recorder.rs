//! From what an agent does to what is stored: `AgentEvent` to `Event`, failures to causes, and the
//! recorder that appends a run's events in small batches.

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

/// How long an event may wait for others.
const BATCH_DELAY: Duration = Duration::from_millis(100);
/// How many events go into one transaction, about.
const BATCH_SIZE: usize = 64;
/// How many events may wait for the database; a full queue slows the agent down.
const QUEUE_SIZE: usize = 256;
/// How often a batch is tried before the run fails.
const MAX_TRIES: u32 = 4;

/// What of an agent's doings is stored as an event; texts and figures are in the transcript and in
/// the events of whole turns.
fn stored_event(who: &RunIdentity, event: AgentEvent, sealed: bool) -> Option<NewEvent> {
    let (agent, trial) = (who.agent.clone(), who.trial);
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
            Some(who.event(level, event))
        }
        AgentEvent::Retry { attempt, why } => {
            let message = format!("the provider is asked again (attempt {attempt}): {why}");
            let event = Event::Retry {
                agent,
                trial,
                message,
            };
            Some(who.event(Level::Warning, event))
        }
        AgentEvent::Error { message } => {
            let event = Event::Progress {
                stage: "agent".to_owned(),
                message,
                percent: None,
            };
            Some(who.event(Level::Warning, event))
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
    /// Starts recording on behalf of a job; ends when the recorder and all sessions are dropped.
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

    /// Where sessions send what they do.
    pub(crate) fn agent_events(&self) -> mpsc::Sender<AgentEvent> {
        self.agent.clone()
    }

    /// Whether from now on every tool call is a violation.
    pub(crate) fn seal(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Relaxed);
    }

    /// Appends an event, soon. That it failed is told by the next [`Self::flush`].
    pub(crate) async fn record(&self, event: NewEvent) {
        // A closed channel means that the writer gave up, which `flush` reports.
        let _ = self.items.send(Item::Event(event)).await;
    }

    /// Waits until everything so far is stored.
    pub(crate) async fn flush(&self) -> Result<(), JobError> {
        let (done, stored) = oneshot::channel();
        if self.items.send(Item::Flush(done)).await.is_err() {
            return Err(JobError::LeaseLost);
        }
        stored.await.unwrap_or(Err(JobError::LeaseLost))
    }
}

/// The other end of a [`Recorder`].
struct EventWriter {
    worker: Arc<Worker>,
    job: ClaimedJob,
    identity: RunIdentity,
    sealed: Arc<AtomicBool>,
    waiting: Vec<NewEvent>,
    since: Option<Instant>,
    /// The first error; nothing is written after it.
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
                        // Nobody waits any more when the stage was dropped.
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

    /// What the agent did before a stage says something is already in its channel.
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
                    warn!(run.id = %self.identity.run, error = chain(&error), "events wait for the database");
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
