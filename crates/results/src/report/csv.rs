//! Figures as CSV (RFC 4180), one line per run, break and dimension, for spreadsheets and
//! statistics programs. An undefined figure is an empty field.

use super::format::counts;
use crate::document::ResultDocument;
use crate::overall_document::OverallDocument;

const HEAD: [&str; 29] = [
    "task",
    "repo",
    "head",
    "instrument_version",
    "agent",
    "agent_version",
    "model",
    "trial",
    "status",
    "failure_cause",
    "seal_broken",
    "break",
    "dimension",
    "n",
    "cold",
    "baseline",
    "post",
    "retention",
    "known",
    "kept",
    "item_retention",
    "stale_rate",
    "abstained_rate",
    "wrong_rate",
    "overall_score",
    "cost_usd",
    "partial_rate",
    "unreadable_rate",
    "error",
];

/// Returns the figures of one task.
///
/// # Errors
///
/// Writing to memory failed, which should not happen.
pub fn task_csv(document: &ResultDocument) -> Result<String, csv::Error> {
    let mut lines = csv::WriterBuilder::new().from_writer(Vec::new());
    lines.write_record(HEAD)?;
    let task = &document.task;
    for run in &document.runs {
        let of_run = |index: String, dimension: &str, figures: Vec<String>, rest: [String; 2]| {
            let mut record = vec![
                task.id.to_string(),
                safe(&task.repo),
                task.head.clone().unwrap_or_default(),
                task.instrument_version.clone(),
                safe(&run.agent),
                safe(run.agent_version.as_deref().unwrap_or_default()),
                safe(run.model.as_deref().unwrap_or_default()),
                run.trial.to_string(),
                run.status.to_string(),
                run.failure_cause
                    .map(|cause| cause.to_string())
                    .unwrap_or_default(),
                run.seal_broken.to_string(),
                index,
                dimension.to_owned(),
            ];
            record.extend(figures);
            record.push(number(run.overall_score));
            record.push(number(run.cost_usd));
            record.extend(rest);
            record.push(safe(run.error.as_deref().unwrap_or_default()));
            record
        };
        for figures in &run.by_break {
            for (dimension, part) in &figures.dimensions {
                let count =
                    |value: Option<usize>| value.map(|value| value.to_string()).unwrap_or_default();
                let values = vec![
                    part.n.to_string(),
                    number(part.cold),
                    number(part.baseline),
                    number(part.post),
                    number(part.retention),
                    count(part.known),
                    count(part.kept),
                    number(part.item_retention),
                    number(part.stale_rate),
                    number(part.abstained_rate),
                    number(part.wrong_rate),
                ];
                let rest = [part.partial_rate, part.unreadable_rate].map(number);
                lines.write_record(of_run(figures.index.to_string(), dimension, values, rest))?;
            }
        }
        if run.by_break.is_empty() {
            // A run without figures has a line, too.
            let nothing = vec![String::new(); 11];
            let rest = [String::new(), String::new()];
            lines.write_record(of_run(String::new(), "", nothing, rest))?;
        }
    }
    finished(lines)
}

/// Returns the leaderboard over several tasks, one line per agent.
///
/// # Errors
///
/// Writing to memory failed, which should not happen.
pub fn overall_csv(overall: &OverallDocument) -> Result<String, csv::Error> {
    let mut lines = csv::WriterBuilder::new().from_writer(Vec::new());
    lines.write_record([
        "rank",
        "agent",
        "sessions",
        "score",
        "score_low",
        "score_high",
        "retention",
        "retention_low",
        "retention_high",
        "item_retention",
        "item_retention_low",
        "item_retention_high",
        "rank_low",
        "rank_high",
        "differs",
        "why_unranked",
        "pull_requests",
        "unit",
        "attempts",
        "failure_rate",
        "failure_rate_low",
        "failure_rate_high",
        "failures",
        "recall",
        "recall_low",
        "recall_high",
        "icc",
        "design_effect",
        "effective_n",
        "dimensions_without_probes",
        "void",
    ])?;
    let count = |count: Option<usize>| count.map(|count| count.to_string()).unwrap_or_default();
    for row in overall.leaderboard.iter().chain(&overall.unranked_agents) {
        let mut record = vec![count(row.rank), safe(&row.agent), row.trials.to_string()];
        for estimate in [&row.score, &row.retention, &row.item_retention] {
            record.extend([estimate.mean, estimate.low, estimate.high].map(number));
        }
        record.extend([count(row.rank_low), count(row.rank_high)]);
        record.push(safe(&row.differs.join("; ")));
        record.push(safe(row.why_unranked.as_deref().unwrap_or_default()));
        record.extend([
            count(row.pull_requests),
            row.unit.as_str().to_owned(),
            count(row.attempts),
        ]);
        let rate = &row.failure_rate;
        record.extend([rate.mean, rate.low, rate.high].map(number));
        record.push(counts(&row.failures));
        let recall = &row.free_recall;
        record.extend([recall.mean, recall.low, recall.high].map(number));
        let effect = row.design_effect;
        record.extend([
            number(effect.map(|effect| effect.icc)),
            number(effect.map(|effect| effect.effect)),
            number(effect.map(|effect| effect.effective_n)),
        ]);
        record.push(row.dimensions_without_probes.join(" "));
        record.push(counts(&row.void));
        lines.write_record(record)?;
    }
    finished(lines)
}

fn finished(lines: csv::Writer<Vec<u8>>) -> Result<String, csv::Error> {
    let bytes = lines
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Returns untrusted text that no spreadsheet interprets as a formula.
fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn no_text_is_a_formula() {
        assert_eq!(safe("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(safe("acme/shop"), "acme/shop");
    }
}
