//! Server-sent events of a task: past events, then new ones. A stream holds no state that a client
//! loses when it reconnects with `Last-Event-ID`.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use chrono::Utc;
use domain::vocabulary::{Level, RunStatus};
use entity::{RunId, TaskId};
use futures::Stream;
use platform::telemetry::chain;
use sea_orm::{DatabaseConnection, DbErr};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::caller::Caller;
use crate::events::frame::{self, Frame};
use crate::events::live::{EventReader, ReadResult};
use crate::events::stream_quota::StreamPermit;
use crate::http::error::ApiError;
use crate::state::ApiState;
use crate::tenancy::TaskSummary;

const HEARTBEAT: Duration = Duration::from_secs(15);
const HEARTBEAT_COMMENT: Bytes = Bytes::from_static(b": heartbeat\n\n");
/// Delay before a disconnected client reconnects.
const RETRY_DELAY: &str = "retry: 2000\n";
/// Consecutive database failures that end a stream.
const TIMEOUT: u32 = 30;

/// Scope of a stream, and its end.
pub(crate) enum Followed {
    /// Everything, until the event `completed`.
    Task,
    /// The events of these runs, until they have ended.
    Runs {
        agent: String,
        runs: Vec<RunId>,
        /// Output stream that a client of the first service requested. The response repeats it.
        log_type: Option<String>,
    },
}

/// Which events a client wants. Those that end a stream are always sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventFilter {
    /// At least as loud as this.
    pub(crate) level: Option<Level>,
    /// Of these kinds; all, if none is named.
    pub(crate) kinds: Vec<String>,
}

impl EventFilter {
    fn takes(&self, frame: &Frame) -> bool {
        let loud = self.level.is_none_or(|least| frame.level >= least);
        let named = self.kinds.is_empty() || self.kinds.contains(&frame.kind);
        (loud && named) || frame.kind == "completed"
    }
}

/// Returns the events of a task after number `after` as a streaming response.
///
/// # Errors
/// The caller has too many open streams.
pub(crate) fn follow(
    state: &ApiState,
    caller: &Caller,
    task: &TaskSummary,
    followed: Followed,
    wanted: EventFilter,
    after: i64,
) -> Result<Response, ApiError> {
    let permit = state.stream_quota.take(caller)?;
    let events = Follow {
        permit: permit.map(|permit| (permit, state.platform.database.clone())),
        reader: state
            .live_events
            .reader(task.id, after, matches!(followed, Followed::Runs { .. })),
        task: task.id,
        followed,
        wanted,
        stopping: state.stopping.clone(),
    }
    .events();
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        // A proxy that gathers pieces would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// One client that follows a task.
struct Follow {
    task: TaskId,
    followed: Followed,
    wanted: EventFilter,
    reader: EventReader,
    /// Place in the quota, held while the stream is open, and the database that validates it.
    permit: Option<(StreamPermit, DatabaseConnection)>,
    stopping: CancellationToken,
}

impl Follow {
    fn events(mut self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        async_stream::stream! {
            yield Ok(self.connected());
            let mut failures = 0;
            // Created once. With ten thousand clients, a new registration per event would cost more
            // than the event.
            let mut stopped = std::pin::pin!(self.stopping.clone().cancelled_owned());
            let mut beats = tokio::time::interval(HEARTBEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beats.reset();
            let mut looked = Instant::now();
            loop {
                // Also checked if events arrive so fast that no heartbeat is due.
                if looked.elapsed() >= HEARTBEAT {
                    if !self.may_follow().await {
                        return;
                    }
                    looked = Instant::now();
                }
                match self.reader.next().await {
                    Ok(ReadResult::Frames(frames, newest)) => {
                        failures = 0;
                        let bytes = self.gather(&frames);
                        // A task that was tried again has ended before.
                        let is_over = newest
                            && frames.last().is_some_and(|last| last.kind == "completed");
                        drop(frames);
                        if !bytes.is_empty() {
                            yield Ok(bytes);
                        }
                        if is_over && let Followed::Runs { .. } = self.followed {
                            // A client that follows an agent waits for the end of the agent, not of
                            // the task.
                            match self.newest_run_status().await {
                                Ok(status) => yield Ok(self.end_event(status.as_str())),
                                // The client reconnects and receives the end then.
                                Err(error) => tracing::warn!(
                                    error = chain(&error),
                                    "could not read the status of a run for a stream"
                                ),
                            }
                        }
                        if is_over || self.stopping.is_cancelled() {
                            return;
                        }
                        continue;
                    }
                    Ok(ReadResult::Abandoned(status)) => {
                        yield Ok(self.end_event(status.as_str()));
                        return;
                    }
                    Ok(ReadResult::Nothing) => {
                        failures = 0;
                        if let Some(status) = self.final_run_status() {
                            yield Ok(self.end_event(status.as_str()));
                            return;
                        }
                    }
                    Err(error) => {
                        failures += 1;
                        tracing::warn!(error = chain(&error), failures, "could not read events for a stream");
                        if failures >= TIMEOUT {
                            return;
                        }
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                }
                let beat = tokio::select! {
                    () = self.reader.wait() => false,
                    _ = beats.tick() => true,
                    () = &mut stopped => return,
                };
                if beat {
                    yield Ok(HEARTBEAT_COMMENT);
                }
            }
        }
    }

    /// Returns whether the caller may still follow. Otherwise the stream ends, and a new one is
    /// refused.
    async fn may_follow(&self) -> bool {
        match &self.permit {
            Some((permit, database)) => permit.is_valid(database).await,
            None => true,
        }
    }

    /// Returns the bytes of the events that match.
    fn gather(&self, frames: &[std::sync::Arc<Frame>]) -> Bytes {
        let mut sent = frames
            .iter()
            .filter(|frame| self.covers(frame) && self.wanted.takes(frame));
        // A single event needs no copy.
        match (sent.next(), sent.next()) {
            (None, _) => Bytes::new(),
            (Some(one), None) => one.bytes.clone(),
            (Some(first), Some(second)) => {
                let mut bytes = BytesMut::new();
                for frame in [first, second].into_iter().chain(sent) {
                    bytes.extend_from_slice(&frame.bytes);
                }
                bytes.freeze()
            }
        }
    }

    fn covers(&self, frame: &Frame) -> bool {
        match &self.followed {
            Followed::Task => true,
            Followed::Runs { runs, .. } => {
                frame.run.is_some_and(|run| runs.contains(&run)) || frame.kind == "completed"
            }
        }
    }

    fn agent(&self) -> Option<&str> {
        match &self.followed {
            Followed::Task => None,
            Followed::Runs { agent, .. } => Some(agent),
        }
    }

    fn connected(&self) -> Bytes {
        let mut data = self.own_data("connected", "Connected to live log stream");
        if let Followed::Runs {
            log_type: Some(log_type),
            ..
        } = &self.followed
        {
            data["log_type"] = json!(log_type);
        }
        let mut bytes = BytesMut::from(RETRY_DELAY.as_bytes());
        // A client that is disconnected before the first event continues at the same position.
        bytes.extend_from_slice(&frame::encode_own(self.reader.after(), "connected", &data));
        bytes.freeze()
    }

    /// The end of a stream that no stored event ends.
    fn end_event(&self, status: &str) -> Bytes {
        let kind = match &self.followed {
            Followed::Task => "completed",
            Followed::Runs { .. } => "agent_completed",
        };
        let whose = self.agent().unwrap_or("Task");
        let mut last = self.own_data(kind, &format!("{whose} completed: {status}"));
        last["status"] = json!(status);
        // No event has this number yet. A client that reconnects with it has received the end.
        // After a retry of the task, the next event has the same number.
        let id = self.reader.after().saturating_add(1);
        frame::encode_own(id, kind, &last)
    }

    /// The fields of an event of the stream itself.
    fn own_data(&self, kind: &str, message: &str) -> Value {
        json!({
            "type": kind,
            "level": Level::Info,
            "timestamp": Utc::now(),
            "task_id": self.task,
            "agent": self.agent(),
            "message": message,
        })
    }

    /// Returns the status of the newest run after the end of its task. The statuses may not have been
    /// read yet: a stream of the whole task does not need them.
    async fn newest_run_status(&self) -> Result<RunStatus, DbErr> {
        if let Some(status) = self.final_run_status() {
            return Ok(status);
        }
        let statuses = self.reader.load_run_statuses().await?;
        let Followed::Runs { runs, .. } = &self.followed else {
            return Ok(RunStatus::Done);
        };
        let newest = runs.last().and_then(|run| statuses.get(run).copied());
        newest.ok_or_else(|| DbErr::RecordNotFound("the run of a stream".to_owned()))
    }

    /// Returns the status of the newest run after all runs have ended.
    fn final_run_status(&self) -> Option<RunStatus> {
        let Followed::Runs { runs, .. } = &self.followed else {
            return None;
        };
        let mut newest = None;
        for run in runs {
            let status = self.reader.run_status(*run)?;
            if !status.is_final() {
                return None;
            }
            newest = Some(status);
        }
        newest
    }
}
