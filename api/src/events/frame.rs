//! Events in the format of server-sent events. Each is encoded once for all clients of its task.

use bytes::Bytes;
use domain::vocabulary::Level;
use entity::{RunId, task_event};
use serde_json::{Map, Value, json};

/// A stored event, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) seq: i64,
    pub(crate) run: Option<RunId>,
    pub(crate) kind: String,
    pub(crate) level: Level,
    pub(crate) bytes: Bytes,
}

impl Frame {
    /// Its own fields, and those that every event has.
    pub(crate) fn new(row: task_event::Model) -> Self {
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
        add_earlier_names(&kind, &mut data);
        data.entry("agent").or_insert(Value::Null);
        data.insert("message".to_owned(), json!(message));
        data.insert("type".to_owned(), json!(kind));
        data.insert("level".to_owned(), json!(level));
        data.insert("timestamp".to_owned(), json!(at));
        data.insert("task_id".to_owned(), json!(task_id));
        data.insert("run_id".to_owned(), json!(run_id));
        // JSON contains no raw line ends, so the data is one line. Kinds are plain words.
        let text = format!(
            "id: {seq}\nevent: {kind}\ndata: {}\n\n",
            Value::Object(data)
        );
        Self {
            seq,
            run: run_id,
            kind,
            level,
            bytes: Bytes::from(text),
        }
    }
}

/// Encodes an event of the stream itself. `id` is the number with which a client reconnects.
pub(crate) fn encode_own(id: i64, kind: &str, data: &Value) -> Bytes {
    Bytes::from(format!("id: {id}\nevent: {kind}\ndata: {data}\n\n"))
}

/// Adds the field names of the first service to a `progress` event.
fn add_earlier_names(kind: &str, data: &mut Map<String, Value>) {
    if kind == "progress" {
        let percent = data.get("percent").cloned().unwrap_or_default();
        let step = data.get("message").cloned().unwrap_or_default();
        data.entry("progress_percent").or_insert(percent);
        data.entry("current_step").or_insert(step);
        data.entry("details").or_insert_with(|| json!({}));
    }
}

/// Returns a sentence for people: the message of the event, or its kind and subject.
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
    fn progress_has_the_fields_that_it_had() {
        let Value::Object(mut data) =
            json!({"stage": "fetch", "message": "cloning", "percent": 20})
        else {
            panic!("no object")
        };
        add_earlier_names("progress", &mut data);
        assert_eq!(data["progress_percent"], 20);
        assert_eq!(data["current_step"], "cloning");
        assert_eq!(data["details"], json!({}));
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
