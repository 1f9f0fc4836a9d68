//! Tables of the probes: their kinds, and the reasons why candidates were dropped.

use std::collections::BTreeMap;

use crate::document::ResultDocument;
use crate::report::model::{Part, Table};

pub(super) fn probes_by_kind(document: &ResultDocument) -> Part {
    let Some(report) = &document.task.generator else {
        return Part::Missing("The task was not prepared.".to_owned());
    };
    let word = |kind: &evaluation::probe::ProbeKind| {
        let text = serde_json::to_value(kind).ok();
        let text = text.and_then(|value| value.as_str().map(str::to_owned));
        text.unwrap_or_default().replace('_', " ")
    };
    let rows = report.candidates.iter().map(|(kind, looked_at)| {
        let made = report.made.get(kind).copied().unwrap_or_default();
        let dropped: usize = report
            .dropped_by_kind
            .get(kind)
            .map_or(0, |reasons| reasons.values().sum());
        vec![
            word(kind),
            looked_at.to_string(),
            made.to_string(),
            dropped.to_string(),
        ]
    });
    Table::part(
        "Probes by kind",
        &["kind", "candidates", "used", "dropped"],
        rows,
    )
}

pub(super) fn dropped_probes(document: &ResultDocument) -> Part {
    let none = BTreeMap::new();
    let report = document.task.generator.as_ref();
    let dropped = report.map_or(&none, |report| &report.dropped);
    let rows = dropped
        .iter()
        .map(|(reason, count)| vec![reason.clone(), count.to_string()]);
    Table::part("Why probes were dropped", &["reason", "probes"], rows)
}
