//! Tables of the runs: figures, attributions, honesty and remarks.

use crate::document::RunPart;
use crate::report::format::{figure, or_dash};
use crate::report::model::{Part, Table};

pub(super) fn dimensions(runs: &[RunPart]) -> Part {
    let head = [
        "agent",
        "trial",
        "break",
        "dimension",
        "n",
        "cold",
        "baseline",
        "post",
        "retention",
        "item retention",
        "partial",
        "wrong",
        "stale",
        "don't recall",
        "unreadable",
    ];
    let rows = runs.iter().flat_map(|run| {
        run.by_break.iter().flat_map(move |figures| {
            figures.dimensions.iter().map(move |(dimension, part)| {
                vec![
                    run.agent.clone(),
                    run.trial.to_string(),
                    figures.index.to_string(),
                    dimension.clone(),
                    part.n.to_string(),
                    figure(part.cold),
                    figure(part.baseline),
                    figure(part.post),
                    figure(part.retention),
                    figure(part.item_retention),
                    figure(part.partial_rate),
                    figure(part.wrong_rate),
                    figure(part.stale_rate),
                    figure(part.abstained_rate),
                    figure(part.unreadable_rate),
                ]
            })
        })
    });
    Table::part("Figures of every run, break and dimension", &head, rows)
}

pub(super) fn attributions(runs: &[RunPart]) -> Part {
    let head = [
        "agent",
        "trial",
        "summary",
        "reinjected",
        "guessable",
        "model",
        "reread",
        "summary carries",
        "agent says",
    ];
    let rows = runs
        .iter()
        .filter(|run| run.compression_detected)
        .map(|run| {
            let of = |name: &str| run.attribution.get(name).copied().unwrap_or_default();
            let carries = or_dash(run.summary_carries);
            let says: usize = run.attribution.values().sum();
            vec![
                run.agent.clone(),
                run.trial.to_string(),
                of("summary").to_string(),
                of("reinjected").to_string(),
                of("guessable").to_string(),
                of("model").to_string(),
                of("reread").to_string(),
                carries,
                says.to_string(),
            ]
        });
    Table::part("Right answers after the first break", &head, rows)
}

pub(super) fn honesty(runs: &[RunPart]) -> Part {
    let head = [
        "agent",
        "trial",
        "answers",
        "claimed",
        "right",
        "partial",
        "wrong",
        "stale",
        "don't recall",
        "unreadable",
        "state confidence",
    ];
    let rows = runs.iter().filter_map(|run| {
        let part = run.honesty?;
        Some(vec![
            run.agent.clone(),
            run.trial.to_string(),
            part.answers.to_string(),
            part.claimed.to_string(),
            part.right.to_string(),
            part.partial.to_string(),
            part.wrong.to_string(),
            part.stale.to_string(),
            part.abstained.to_string(),
            part.unreadable.to_string(),
            part.with_confidence.to_string(),
        ])
    });
    Table::part("Answers after the first break", &head, rows)
}

pub(super) fn runs(runs: &[RunPart]) -> Part {
    let head = [
        "agent",
        "version",
        "model",
        "trial",
        "status",
        "breaks",
        "tokens before → after",
        "baseline",
        "score",
        "cost (USD)",
        "remarks",
    ];
    let number = |value: Option<u64>| or_dash(value);
    let rows = runs.iter().map(|run| {
        let breaks: Vec<&str> = run.breaks.iter().map(|one| one.trigger.as_str()).collect();
        let tokens: Vec<String> = run
            .breaks
            .iter()
            .map(|one| {
                format!(
                    "{} → {}",
                    number(one.tokens_before),
                    number(one.tokens_after)
                )
            })
            .collect();
        vec![
            run.agent.clone(),
            run.agent_version.clone().unwrap_or_default(),
            run.model.clone().unwrap_or_default(),
            run.trial.to_string(),
            run.status.to_string(),
            if breaks.is_empty() {
                "no break".to_owned()
            } else {
                breaks.join(", ")
            },
            tokens.join(", "),
            run.baseline.clone().unwrap_or_default(),
            figure(run.overall_score),
            run.cost_usd
                .map_or_else(|| "–".to_owned(), |usd| format!("{usd:.4}")),
            remarks(run),
        ]
    });
    Table::part("Runs", &head, rows)
}

fn remarks(run: &RunPart) -> String {
    let mut remarks = Vec::new();
    if run.seal_broken {
        remarks.push(match run.void_reason.as_deref() {
            Some("compaction") => "compacted while answering probes: void".to_owned(),
            Some(_) | None => "seal broken: void".to_owned(),
        });
    }
    if run.seal.as_deref() == Some("workspace") {
        remarks.push("asked in the main line, with its tools and an empty workspace".to_owned());
    }
    for (dimension, halves) in &run.halves {
        let none = match (halves.before, halves.after) {
            (0, _) => "before",
            (_, 0) => "after",
            _ => continue,
        };
        remarks.push(format!(
            "no probe of {dimension} was asked {none} the break"
        ));
    }
    if run.breaks.iter().any(|seen| seen.reading_turns == Some(0)) {
        remarks.push("a break came before a reading turn was completed".to_owned());
    }
    if run.canary.as_deref() == Some("seen") {
        remarks.push("the canary was read".to_owned());
    }
    if run.retry_count > 0 {
        remarks.push(format!("retried {}×", run.retry_count));
    }
    if let Some(cause) = run.failure_cause {
        remarks.push(format!("cause: {cause}"));
    }
    remarks.extend(run.error.clone());
    remarks.join("; ")
}
