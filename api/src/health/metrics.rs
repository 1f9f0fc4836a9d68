//! `/metrics`: figures in the text format of Prometheus.
//!
//! Jobs and workers are those of the installation, counted in the database and the same from every
//! process; requests and streams are those of the process that answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::vocabulary::JobState;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::health::request_counters::Kind;
use crate::http::error::{ApiError, ErrorBody};
use crate::queues::depths::Counted;
use crate::state::ApiState;
use crate::tenancy;

/// Content type of the older Prometheus format, which all collectors support.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Label of requests without a route. Their paths are unlimited.
const NO_ROUTE: &str = "(no route)";

pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(export_metrics))
}

/// Figures for Prometheus: jobs by queue and state, workers and their slots, requests by route and
/// status, open streams. Done and cancelled jobs are counted once a minute.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses(
        (status = 200, description = "The figures", body = String, content_type = "text/plain"),
        (status = 503, description = "The database does not respond", body = ErrorBody)))]
async fn export_metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let counting = || ApiError::database("counting jobs and workers");
    let database = &state.platform.database;
    let jobs = state
        .job_counts
        .count_all(database, None)
        .await
        .map_err(counting())?;
    let workers = tenancy::live_workers()
        .all(database)
        .await
        .map_err(counting())?;
    let mut text = Exposition::default();
    text.jobs(&jobs);
    let busy = workers.iter().filter(|worker| worker.busy > 0).count();
    text.family(
        "membreak_workers",
        "gauge",
        "Workers that were active within the last minute.",
    );
    text.sample("membreak_workers", &[("state", "busy")], &busy);
    text.sample(
        "membreak_workers",
        &[("state", "idle")],
        &(workers.len() - busy),
    );
    let slots: i64 = workers.iter().map(|worker| i64::from(worker.slots)).sum();
    let taken: i64 = workers.iter().map(|worker| i64::from(worker.busy)).sum();
    text.family("membreak_worker_slots", "gauge", "Slots of live workers.");
    text.sample("membreak_worker_slots", &[("state", "busy")], &taken);
    text.sample(
        "membreak_worker_slots",
        &[("state", "free")],
        &(slots - taken),
    );
    text.requests(&state);
    text.family("membreak_event_streams", "gauge", "Open event streams.");
    text.sample("membreak_event_streams", &[], &state.live_events.readers());
    Ok(([(header::CONTENT_TYPE, TEXT)], text.0).into_response())
}

/// The layer that counts.
pub(crate) async fn count_requests(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let method = method_word(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(NO_ROUTE, MatchedPath::as_str)
        .to_owned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let kind = Kind {
        method,
        route,
        status,
    };
    state.request_counters.note(kind, begun.elapsed());
    response
}

/// Clients can invent methods, so unknown ones share a label.
fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A text in the format that Prometheus reads.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// Writes the description of the samples that follow.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: &dyn std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}\n"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(line);
    }

    fn jobs(&mut self, jobs: &[Counted]) {
        let mut by_queue: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        let mut waited: BTreeMap<&str, f64> = BTreeMap::new();
        for counted in jobs {
            let states = by_queue.entry(&counted.queue).or_default();
            states.insert(word(counted.state), counted.count);
            if counted.state == JobState::Queued
                && let Some(first) = counted.first
            {
                let age = (chrono::Utc::now() - first).as_seconds_f64();
                waited.insert(&counted.queue, age.max(0.0));
            }
        }
        self.family("membreak_jobs", "gauge", "Jobs by queue and state.");
        for (queue, states) in &by_queue {
            for state in ["queued", "leased", "failed", "done", "cancelled"] {
                let count = states.get(state).copied().unwrap_or_default();
                self.sample(
                    "membreak_jobs",
                    &[("queue", queue), ("state", state)],
                    &count,
                );
            }
        }
        let name = "membreak_oldest_job_seconds";
        self.family(name, "gauge", "Age of the oldest due job in seconds.");
        for queue in by_queue.keys() {
            let age = waited.get(queue).copied().unwrap_or_default();
            self.sample(name, &[("queue", queue)], &age);
        }
    }

    fn requests(&mut self, state: &ApiState) {
        let all = state.request_counters.all();
        let count = "membreak_http_requests_total";
        self.family(count, "counter", "Requests that this process answered.");
        for (kind, answered) in &all {
            let status = kind.status.to_string();
            let labels = [
                ("method", kind.method),
                ("route", &kind.route),
                ("status", &status),
            ];
            self.sample(count, &labels, &answered.count);
        }
        let took = "membreak_http_request_seconds_total";
        self.family(
            took,
            "counter",
            "Total time until the response headers, in seconds.",
        );
        for (kind, answered) in &all {
            let status = kind.status.to_string();
            let labels = [
                ("method", kind.method),
                ("route", &kind.route),
                ("status", &status),
            ];
            self.sample(took, &labels, &answered.took.as_secs_f64());
        }
    }
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Leased => "leased",
        JobState::Failed => "failed",
        JobState::Done => "done",
        JobState::Cancelled => "cancelled",
    }
}

/// Returns the escaped value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_can_make_up_a_sample() {
        let mut text = Exposition::default();
        text.sample("m", &[("queue", "a\"} 1\nb\\")], &2);
        assert_eq!(text.0, "m{queue=\"a\\\"} 1\\nb\\\\\"} 2\n");
    }
}
