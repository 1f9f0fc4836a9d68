//! Compares a recorded response with the current one.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;
use uuid::Uuid;

use super::differences::RENAMED;

/// Tasks of the recording that it does not speak of, less those that this test has in their place.
const OTHER_TASKS: u64 = 10_000 - 2;
/// Of these, how many had failed.
const OTHER_FAILED: u64 = 1_000 - 1;

/// Something that is not as it was.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) exchange: String,
    /// The names of fields, with `*` for positions in lists.
    pub(super) place: String,
    /// `status`, `header`, `text`, `missing`, `null`, `type`, `value`, `length` or `renamed`.
    pub(super) kind: &'static str,
    what: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exchange,
            place,
            kind,
            what,
        } = self;
        write!(f, "{exchange}: {kind} {place:?}: {what}")
    }
}

/// The ids of now by those of then.
#[derive(Default)]
pub(super) struct Ids(HashMap<String, String>);

impl Ids {
    pub(super) fn in_place_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (then, now) in &self.0 {
            text = text.replace(then, now);
        }
        text
    }

    /// Whether an id is the one that stands for another; one that is new stands for it from now on.
    fn same(&mut self, then: &str, now: &str) -> bool {
        self.0
            .entry(then.to_owned())
            .or_insert_with(|| now.to_owned())
            == now
    }
}

/// One exchange, as it is being compared.
pub(super) struct Comparison<'a> {
    exchange: &'a str,
    ids: &'a mut Ids,
    pub(super) found: Vec<Found>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(exchange: &'a str, ids: &'a mut Ids) -> Self {
        Self {
            exchange,
            ids,
            found: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, place: &str, kind: &'static str, what: String) {
        self.found.push(Found {
            exchange: self.exchange.to_owned(),
            place: place.to_owned(),
            kind,
            what,
        });
    }

    pub(super) fn values(&mut self, place: &str, then: &Value, now: &Value) {
        match (then, now) {
            (Value::Object(then), Value::Object(now)) => {
                for (name, then) in then {
                    let place = inside(place, name);
                    match now.get(name) {
                        Some(now) => self.values(&place, then, now),
                        None => self.note(&place, "missing", then.to_string()),
                    }
                }
            }
            (Value::Array(then), Value::Array(now)) => self.lists(place, then, now),
            // A value that was unknown may be known now.
            (Value::Null, _) => {}
            (_, Value::Null) => self.note(place, "null", then.to_string()),
            (then, now) if std::mem::discriminant(then) != std::mem::discriminant(now) => {
                self.note(place, "type", format!("{now}, was {then}"));
            }
            (then, now) if !self.is_same(place, then, now) => {
                self.note(place, "value", format!("{now}, was {then}"));
            }
            _ => {}
        }
    }

    fn lists(&mut self, place: &str, then: &[Value], now: &[Value]) {
        let place = inside(place, "*");
        if now.len() < then.len() {
            let what = format!("{}, was {}", now.len(), then.len());
            self.note(&place, "length", what);
        }
        for (position, then) in then.iter().enumerate() {
            // An id has the same replacement everywhere.
            let name = ["agent", "name"]
                .into_iter()
                .find(|name| then.get(name).is_some());
            let found = match name {
                Some(name) => now.iter().find(|now| now[name] == then[name]),
                None => now.get(position),
            };
            match found {
                Some(now) => self.values(&place, then, now),
                None => self.note(&place, "missing", then.to_string()),
            }
        }
    }

    fn is_same(&mut self, place: &str, then: &Value, now: &Value) -> bool {
        let name = place.rsplit('.').next().unwrap_or_default();
        if let (Some(then), Some(now)) = (then.as_f64(), now.as_f64()) {
            return match name {
                "modified" => true,
                "total" if then > 10_000.0 => then - OTHER_TASKS as f64 == now,
                "total" => then - OTHER_FAILED as f64 == now,
                _ => (then - now).abs() < 1e-9,
            };
        }
        let (Some(then), Some(now)) = (then.as_str(), now.as_str()) else {
            return then == now;
        };
        if name == "correlation_id" {
            return true;
        }
        if let Some(then) = time_of_then(then) {
            let Ok(now) = DateTime::parse_from_rfc3339(now) else {
                return false;
            };
            // Rows that existed before the recording have their own times.
            let was_there = name == "created_at" && then.date().to_string().as_str() < "2026-11";
            return !was_there || now.naive_utc() == then;
        }
        if Uuid::try_parse(then).is_ok() && Uuid::try_parse(now).is_ok() {
            return self.ids.same(then, now);
        }
        self.ids.in_place_of(then) == now
    }

    /// Every event of then must be there, in the same order; there may be others between them.
    pub(super) fn events(&mut self, then: &[Value], now: &[Value]) {
        let mut rest = now.iter();
        for then in then {
            let kind = then["type"].as_str().unwrap_or_default();
            let place = format!("event {kind}");
            let renamed = RENAMED.iter().find(|(earlier, _)| *earlier == kind);
            let wanted = renamed.map_or(kind, |(_, later)| *later);
            let mut look = rest.clone();
            match look.find(|now| now["type"] == wanted) {
                Some(now) => {
                    rest = look;
                    let mut then = then.clone();
                    if renamed.is_some() {
                        self.note(&place, "renamed", wanted.to_owned());
                        then["type"] = wanted.into();
                    }
                    self.values(&place, &then, now);
                }
                None => self.note(&place, "missing", then.to_string()),
            }
        }
    }
}

fn inside(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}.{name}")
    }
}

/// The times of the first service have no zone, except those of its health.
fn time_of_then(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim_end_matches('Z');
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
}

/// The data of the events of a stream.
pub(super) fn events_of(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect()
}

/// A body as it was before it was recorded: some were cut off, and one of these was written down as a
/// text within a text.
pub(super) fn whole(body: &Value) -> Value {
    let Some(cut) = body.as_str() else {
        return body.clone();
    };
    let mut text = cut.trim_end_matches('\u{2026}').to_owned();
    if let Some(inner) = text.strip_prefix('"') {
        let escaped = format!("\"{}\"", inner.trim_end_matches('\\'));
        text = serde_json::from_str(&escaped).expect("a text");
    }
    // Cut off within a text: it ends here, and so does all that it stands in.
    let (mut open, mut quoted, mut escaped) = (Vec::new(), false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => open.push('}'),
            '[' if !quoted => open.push(']'),
            '}' | ']' if !quoted => drop(open.pop()),
            _ => {}
        }
    }
    if escaped {
        text.pop();
    }
    text.push('"');
    text.extend(open.into_iter().rev());
    serde_json::from_str(&text).expect("JSON, once it is closed")
}
