//! The events of a task as server-sent events: "rows after a number, then more as they come". A
//! stream holds nothing that a client which comes back with `Last-Event-ID` could miss.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use entity::status::Level;
use entity::{RunId, agent_run, task, task_event};
use futures::Stream;
use platform::telemetry::chain;
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, QueryFilter};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::scope;
use crate::state::Running;
use crate::tail::TailReader;

const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often in a row the database may fail a stream before it ends.
const PATIENCE: u32 = 30;

/// What a stream tells of, and when it is over.
pub(crate) enum Followed {
    /// Everything, until the event `completed`.
    Task,
    /// What belongs to these runs, until they have ended.
    Runs { agent: String, runs: Vec<RunId> },
}

/// The events of a task after number `after`, as a response that goes on.
pub(crate) fn follow(
    running: &Running,
    task: &task::Model,
    followed: Followed,
    after: i64,
) -> Response {
    let database = running.api.platform.database.clone();
    let events = Follow {
        reader: running.tail.reader(database.clone(), task.id, after),
        database,
        task: task.clone(),
        followed,
        stopping: running.stopping.clone(),
    }
    .events();
    let headers = [
        (header::CACHE_CONTROL, "no-cache"),
        // A proxy that gathers pieces would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let beat = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    (headers, Sse::new(events).keep_alive(beat)).into_response()
}

/// One client that follows a task.
struct Follow {
    database: DatabaseConnection,
    task: task::Model,
    followed: Followed,
    reader: TailReader,
    stopping: CancellationToken,
}

/// What one look found.
enum Look {
    Rows(Vec<task_event::Model>),
    Nothing,
    /// Nothing more can come: what to end with.
    Ended(Value),
}

impl Follow {
    fn events(mut self) -> impl Stream<Item = Result<Sent, Infallible>> {
        async_stream::stream! {
            yield Ok(own_event("connected", &self.own_data("connected", "Connected to live log stream")));
            let mut failures = 0;
            loop {
                match self.look().await {
                    Ok(Look::Rows(rows)) => {
                        failures = 0;
                        for row in rows {
                            let is_last = row.kind == "completed";
                            if self.tells_of(&row) {
                                yield Ok(stored_event(row));
                            }
                            if is_last {
                                return;
                            }
                        }
                        if self.stopping.is_cancelled() {
                            return;
                        }
                        continue;
                    }
                    Ok(Look::Ended(last)) => {
                        yield Ok(own_event(self.last_kind(), &last));
                        return;
                    }
                    Ok(Look::Nothing) => failures = 0,
                    Err(error) => {
                        failures += 1;
                        tracing::warn!(error = chain(&error), failures, "a stream cannot read");
                        if failures >= PATIENCE {
                            return;
                        }
                    }
                }
                let stopping = self.stopping.clone();
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = self.reader.wait() => {}
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Look, DbErr> {
        let rows = self.reader.read().await?;
        if !rows.is_empty() {
            return Ok(Look::Rows(rows));
        }
        let Some(status) = self.ended_as().await? else {
            return Ok(Look::Nothing);
        };
        // The last rows were written together with the end: they may have come since the first
        // look, but not after this one.
        let rows = self.reader.read().await?;
        if !rows.is_empty() {
            return Ok(Look::Rows(rows));
        }
        let whose = self.agent().unwrap_or("Task").to_owned();
        let mut last = self.own_data(self.last_kind(), &format!("{whose} completed: {status}"));
        last["status"] = json!(status);
        Ok(Look::Ended(last))
    }

    fn tells_of(&self, row: &task_event::Model) -> bool {
        match &self.followed {
            Followed::Task => true,
            Followed::Runs { runs, .. } => row.run_id.is_some_and(|run| runs.contains(&run)),
        }
    }

    fn agent(&self) -> Option<&str> {
        match &self.followed {
            Followed::Task => None,
            Followed::Runs { agent, .. } => Some(agent),
        }
    }

    fn last_kind(&self) -> &'static str {
        match &self.followed {
            Followed::Task => "completed",
            Followed::Runs { .. } => "agent_completed",
        }
    }

    /// The fields of an event of the stream itself.
    fn own_data(&self, kind: &str, message: &str) -> Value {
        json!({
            "type": kind,
            "level": Level::Info,
            "timestamp": Utc::now(),
            "task_id": self.task.id,
            "agent": self.agent(),
            "message": message,
        })
    }

    /// How it ended, if nothing more can come although no row says so.
    async fn ended_as(&self) -> Result<Option<&'static str>, DbErr> {
        match &self.followed {
            Followed::Task => self.forsaken_as().await,
            Followed::Runs { runs, .. } => self.runs_ended_as(runs).await,
        }
    }

    /// The state of a task that has ended and for which nobody works any more. Its last event has
    /// been written by then, unless whoever was to write it is gone.
    async fn forsaken_as(&self) -> Result<Option<&'static str>, DbErr> {
        let now = task::Entity::visible_to(&self.task.org_id)
            .filter(task::Column::Id.eq(self.task.id))
            .one(&self.database)
            .await?;
        let status = now.map_or(self.task.status, |task| task.status);
        if status.is_final() && scope::open_jobs(&self.database, self.task.id).await? == 0 {
            return Ok(Some(status.as_str()));
        }
        Ok(None)
    }

    /// How the newest of the runs ended, once all have.
    async fn runs_ended_as(&self, runs: &[RunId]) -> Result<Option<&'static str>, DbErr> {
        let all = scope::runs_of(&self.task)
            .filter(agent_run::Column::Id.is_in(runs.iter().copied()))
            .all(&self.database)
            .await?;
        if all.iter().any(|run| !run.status.is_final()) {
            return Ok(None);
        }
        Ok(all.last().map(|run| run.status.as_str()))
    }
}

/// An event of the stream itself: it has no number, so coming back is not disturbed by it.
fn own_event(kind: &str, data: &Value) -> Sent {
    Sent::default().event(kind).data(data.to_string())
}

/// A stored event: its own fields, and those that every event has.
fn stored_event(row: task_event::Model) -> Sent {
    let task_event::Model {
        id: _,
        task_id,
        seq,
        run_id,
        at,
        kind,
        level,
        payload,
    } = row;
    let mut data = if let Value::Object(fields) = payload {
        fields
    } else {
        Map::from_iter([("payload".to_owned(), payload)])
    };
    let message = message(&kind, &data);
    data.entry("agent").or_insert(Value::Null);
    data.insert("message".to_owned(), json!(message));
    data.insert("type".to_owned(), json!(kind));
    data.insert("level".to_owned(), json!(level));
    data.insert("timestamp".to_owned(), json!(at));
    data.insert("task_id".to_owned(), json!(task_id));
    data.insert("run_id".to_owned(), json!(run_id));
    Sent::default()
        .id(seq.to_string())
        .event(&kind)
        .data(Value::Object(data).to_string())
}

/// A sentence for people: the event's own, or its kind and whom it is about.
fn message(kind: &str, data: &Map<String, Value>) -> String {
    if let Some(Value::String(message)) = data.get("message") {
        return message.clone();
    }
    let about = |name: &str| data.get(name).filter(|value| !value.is_null()).map(plain);
    let words = match kind {
        "completed" => "Task completed".to_owned(),
        other => other.replace('_', " "),
    };
    let mut text = match (about("agent"), about("trial")) {
        (Some(agent), Some(trial)) => format!("{agent} (trial {trial}): {words}"),
        (Some(agent), None) => format!("{agent}: {words}"),
        (None, _) => words,
    };
    for name in ["phase", "tool", "why", "status"] {
        if let Some(value) = about(name) {
            text.push_str(": ");
            text.push_str(&value);
        }
    }
    text
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: &str, data: Value) -> String {
        let Value::Object(data) = data else {
            panic!("no object")
        };
        message(kind, &data)
    }

    #[test]
    fn every_event_says_something_to_people() {
        assert_eq!(
            said(
                "phase_started",
                json!({"agent": "claude", "trial": 2, "phase": "cold"})
            ),
            "claude (trial 2): phase started: cold"
        );
        assert_eq!(
            said("completed", json!({"status": "done", "message": null})),
            "Task completed: done"
        );
        assert_eq!(said("progress", json!({"message": "cloning"})), "cloning");
    }
}
