//! Tables of the leaderboard: ranks, attempts, intervals and comparisons.

use crate::document::{ResultDocument, RowPart};
use crate::overall_document::OverallDocument;
use crate::report::format::{counts, estimate, figure, or_dash};
use crate::report::model::{DIMENSIONS, Part, Table};

pub(super) fn leaderboard(rows: &[RowPart]) -> Part {
    let head = [
        "rank",
        "agent",
        "n",
        "score",
        "AR",
        "TTL",
        "LRU",
        "SF",
        "retention",
        "item retention",
        "recall",
        "ranks",
        "passed",
    ];
    let rows = rows.iter().map(|row| {
        let of = |dimension: &str| figure(row.scores.get(dimension).copied().flatten());
        let mut cells = vec![
            rank(row),
            row.agent.clone(),
            row.trials.to_string(),
            estimate(&row.score),
        ];
        cells.extend(DIMENSIONS.map(of));
        cells.extend([
            estimate(&row.retention),
            estimate(&row.item_retention),
            if row.free_recall.mean.is_some() {
                estimate(&row.free_recall)
            } else {
                figure(row.recall)
            },
            match (row.rank_low, row.rank_high) {
                (Some(low), Some(high)) if low == high => low.to_string(),
                (Some(low), Some(high)) => format!("{low} to {high}"),
                (None | Some(_), None) | (None, Some(_)) => "–".to_owned(),
            },
            if row.passed { "yes" } else { "no" }.to_owned(),
        ]);
        cells
    });
    Table::part("Agents, best first", &head, rows)
}

fn rank(row: &RowPart) -> String {
    or_dash(row.rank)
}

/// Returns the outcomes of every agent's runs, ranked or not.
pub(super) fn attempts(ranked: &[RowPart], unranked: &[RowPart]) -> Part {
    let head = [
        "rank",
        "agent",
        "measured",
        "attempts",
        "failure rate",
        "failed",
        "void",
        "why not ranked",
        "without probes",
    ];
    let rows = ranked.iter().chain(unranked).map(|row| {
        let attempts = row.attempts;
        vec![
            rank(row),
            row.agent.clone(),
            row.trials.to_string(),
            or_dash(attempts),
            estimate(&row.failure_rate),
            counts(&row.failures),
            counts(&row.void),
            row.why_unranked.clone().unwrap_or_default(),
            row.dimensions_without_probes.join(", "),
        ]
    });
    Table::part(
        "Attempts: measurements, and failures caused by the agent. Void runs finished, \
              and are in no figure",
        &head,
        rows,
    )
}

/// Returns the units and design effects behind the intervals.
pub(super) fn intervals(rows: &[RowPart]) -> Part {
    let head = [
        "agent",
        "sessions",
        "pull requests",
        "resampled by",
        "correlation (ICC)",
        "design effect",
        "equivalent independent sessions",
    ];
    let rows = rows.iter().map(|row| {
        let effect = row.design_effect;
        vec![
            row.agent.clone(),
            row.trials.to_string(),
            or_dash(row.pull_requests),
            row.unit.as_str().replace('_', " "),
            figure(effect.map(|effect| effect.icc)),
            figure(effect.map(|effect| effect.effect)),
            figure(effect.map(|effect| effect.effective_n)),
        ]
    });
    Table::part("Basis of the intervals", &head, rows)
}

pub(super) fn session_comparisons(overall: &OverallDocument) -> Part {
    let head = [
        "agents",
        "sessions",
        "resampled",
        "difference",
        "verdict",
        "smallest detectable",
    ];
    let rows = overall.comparisons.iter().map(|part| {
        vec![
            format!("{} − {}", part.a, part.b),
            part.sessions.to_string(),
            format!(
                "{} × {}",
                part.clusters,
                part.unit.as_str().replace('_', " ")
            ),
            estimate(&part.difference),
            verdict(&part.a, &part.b, part.difference.mean, part.tie),
            figure(part.smallest_detectable),
        ]
    });
    Table::part("Pairs of agents", &head, rows)
}

/// Returns what a comparison shows. A missing difference is shown as missing.
fn verdict(a: &str, b: &str, difference: Option<f64>, tie: bool) -> String {
    match difference {
        None => figure(None),
        Some(_) if tie => "tie".to_owned(),
        Some(difference) if difference > 0.0 => format!("{a} is better"),
        Some(_) => format!("{b} is better"),
    }
}

pub(super) fn differences(rows: &[RowPart], between: &[String]) -> Part {
    let between = between
        .iter()
        .map(|what| vec!["between agents".to_owned(), what.clone()]);
    let rows = rows.iter().flat_map(|row| {
        row.differs
            .iter()
            .map(|what| vec![row.agent.clone(), what.clone()])
    });
    let rows: Vec<Vec<String>> = rows.chain(between).collect();
    if rows.is_empty() {
        return Part::Missing("All runs were made under the same conditions.".to_owned());
    }
    Table::part(
        "Different conditions among runs that are averaged or ranked together",
        &["agent", "difference"],
        rows,
    )
}

pub(super) fn comparisons(document: &ResultDocument) -> Part {
    let head = [
        "agents",
        "probes",
        "trials",
        "difference",
        "verdict",
        "smallest detectable",
    ];
    let rows = document.comparisons.iter().map(|part| {
        vec![
            format!("{} − {}", part.a, part.b),
            part.pairs.to_string(),
            part.clusters.to_string(),
            estimate(&part.difference),
            verdict(&part.a, &part.b, part.difference.mean, part.tie),
            figure(part.smallest_detectable),
        ]
    });
    Table::part("Pairs of agents", &head, rows)
}
