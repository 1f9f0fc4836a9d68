//! Reports, event streams and tables as JSON documents.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::compare::numbers;

/// A table as one object per line.
pub(crate) fn csv(text: &str) -> anyhow::Result<Value> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().context("reading the head of CSV")?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.context("reading a line of CSV")?;
        let row: Map<String, Value> = head
            .iter()
            .zip(&record)
            .map(|(name, field)| (name.to_owned(), field_value(field)))
            .collect();
        rows.push(Value::Object(row));
    }
    Ok(json!({ "columns": head.iter().collect::<Vec<_>>(), "rows": rows }))
}

/// A field that is a number is compared as one.
fn field_value(field: &str) -> Value {
    let number: Option<f64> = field.parse().ok();
    number
        .filter(|number| number.is_finite())
        .map_or_else(|| field.into(), Value::from)
}

/// JSON lines as one list.
pub(crate) fn json_lines(text: &str) -> anyhow::Result<Value> {
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}")))
        .collect::<anyhow::Result<Vec<Value>>>()
        .map(Value::Array)
}

/// Server-sent events: id, kind and data of each.
pub(crate) fn events(text: &str) -> Value {
    let frames = text.split("\n\n").filter_map(|frame| {
        let mut event = Map::new();
        for line in frame.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim_start();
            let value = match name {
                "data" => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
                "id" | "event" => value.into(),
                _ => continue,
            };
            event.insert(name.to_owned(), value);
        }
        (!event.is_empty()).then_some(Value::Object(event))
    });
    frames.collect()
}

/// Metrics in the text format of Prometheus: the names with their labels, without the values.
pub(crate) fn metric_names(text: &str) -> Value {
    let names = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut names: Vec<&str> = names
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    names.sort_unstable();
    names.dedup();
    json!(names)
}

/// A report in Markdown: its facts, and the tables of each section.
pub(crate) fn markdown(text: &str) -> Value {
    let mut facts = Vec::new();
    let mut sections: Vec<Value> = Vec::new();
    let mut tables: Vec<Value> = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in text.lines().chain(["## end"]) {
        if let Some(line) = line.strip_prefix('|') {
            rows.push(markdown_cells(line));
            continue;
        }
        if !rows.is_empty() {
            tables.push(table(std::mem::take(&mut rows)));
        }
        if let Some((name, value)) = line
            .strip_prefix("* ")
            .and_then(|fact| fact.split_once(": "))
        {
            facts.push(json!({ "title": name, "fact": value }));
        }
        if line.starts_with("## ") {
            sections.push(json!({ "tables": std::mem::take(&mut tables) }));
        }
    }
    json!({ "facts": facts, "sections": sections })
}

/// The cells of a line, after its first bar. A bar behind a backslash belongs to the text.
fn markdown_cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut letters = line.trim_end().trim_end_matches('|').chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => cells
                .last_mut()
                .expect("there is one")
                .extend(letters.next()),
            '|' => cells.push(String::new()),
            letter => cells.last_mut().expect("there is one").push(letter),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// The head may be reworded; the number of columns and the rows are figures.
fn table(mut rows: Vec<Vec<String>>) -> Value {
    let head = if rows.is_empty() {
        Vec::new()
    } else {
        rows.remove(0)
    };
    rows.retain(|row| {
        !row.iter()
            .all(|cell| cell.chars().all(|letter| letter == '-'))
            || row.is_empty()
    });
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|row| json!({ "cells": row }))
        .collect();
    json!({ "columns": head.len(), "rows": rows })
}

/// A report in HTML: its facts, tables and plots. A plot is the list of its numbers.
pub(crate) fn html(text: &str) -> Value {
    let mut document = Html::default();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        document.text.push_str(before);
        let (tag, after) = after.split_once('>').unwrap_or((after, ""));
        document.tag(tag);
        rest = after;
    }
    json!({ "facts": document.facts, "tables": document.tables, "plots": document.plots })
}

/// The state of reading an HTML report.
#[derive(Default)]
struct Html {
    /// The text since the last tag that matters.
    text: String,
    name: String,
    row: Vec<String>,
    rows: Vec<Vec<String>>,
    plot: Option<Vec<Value>>,
    facts: Vec<Value>,
    tables: Vec<Value>,
    plots: Vec<Value>,
}

impl Html {
    fn tag(&mut self, tag: &str) {
        if let Some(plot) = &mut self.plot {
            let words = unescaped(&format!("{} {}", self.text, tag));
            let found = numbers(&words).into_iter();
            plot.extend(
                found
                    .filter_map(|number| number.parse::<f64>().ok())
                    .map(Value::from),
            );
            self.text.clear();
        }
        let name = tag
            .split([' ', '\n', '/'])
            .find(|part| !part.is_empty())
            .unwrap_or_default();
        match (tag.starts_with('/'), name) {
            (false, "td" | "th" | "dt" | "dd") => self.text.clear(),
            (true, "td" | "th") => {
                let cell = unescaped(&self.text);
                self.row.push(cell);
            }
            (true, "tr") => self.rows.push(std::mem::take(&mut self.row)),
            (true, "table") => self.tables.push(table(std::mem::take(&mut self.rows))),
            (true, "dt") => self.name = unescaped(&self.text),
            (true, "dd") => {
                let fact = json!({ "title": self.name, "fact": unescaped(&self.text) });
                self.facts.push(fact);
            }
            (false, "svg") => self.plot = Some(Vec::new()),
            (true, "svg") => self.plots.extend(self.plot.take().map(Value::Array)),
            _ => {}
        }
    }
}

fn unescaped(text: &str) -> String {
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"");
    text.replace("&#39;", "'")
        .replace("&amp;", "&")
        .trim()
        .to_owned()
}
