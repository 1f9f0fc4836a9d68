//! Tables of the judging: judges, free recall and open questions.

use crate::document::{ClaimsPart, ResultDocument, RunPart};
use crate::report::format::{estimate, figure};
use crate::report::model::{Part, Table};

pub(super) fn judges(document: &ResultDocument) -> Part {
    let head = [
        "judge",
        "cases",
        "false accepts",
        "false rejects",
        "unread",
        "may rank",
        "why not",
        "battery, US dollars",
        "votes, US dollars",
    ];
    let judging = &document.judging;
    let rows = judging.judges.iter().map(|judge| {
        vec![
            judge.name.clone(),
            judge.cases.to_string(),
            estimate(&judge.false_accept),
            estimate(&judge.false_reject),
            judge.unread.to_string(),
            if judge.may_rank { "yes" } else { "no" }.to_owned(),
            judge.why.clone().unwrap_or_default(),
            figure(judge.cost_usd),
            figure(judge.votes_cost_usd),
        ]
    });
    let agreement = judging.agreement.iter().map(|part| {
        let mut row = vec![
            part.measure.replace('_', " "),
            part.items.to_string(),
            estimate(&part.value),
        ];
        row.resize(9, String::new());
        row
    });
    Table::part(
        "Judges on the adversarial battery, and their agreement",
        &head,
        rows.chain(agreement),
    )
}

pub(super) fn free_recalls(runs: &[RunPart]) -> Part {
    let head = [
        "agent",
        "trial",
        "break",
        "arm",
        "judge",
        "jurors",
        "facts",
        "claimed",
        "right",
        "ungraded",
        "precision",
        "recall",
        "note",
    ];
    let rows = runs.iter().flat_map(|run| {
        run.recall.iter().map(|part| {
            let mut cells = vec![
                run.agent.clone(),
                run.trial.to_string(),
                part.index.to_string(),
                part.arm.clone(),
                part.judge.clone(),
                part.claims
                    .jurors
                    .map_or_else(String::new, |jurors| jurors.to_string()),
            ];
            cells.extend(claims(&part.claims));
            cells.push(part.claims.note.clone().unwrap_or_default());
            cells
        })
    });
    Table::part("Free recall", &head, rows)
}

pub(super) fn open_questions(runs: &[RunPart]) -> Part {
    let head = [
        "agent",
        "trial",
        "topic",
        "break",
        "arm",
        "judge",
        "facts",
        "claimed",
        "right",
        "ungraded",
        "precision",
        "recall",
    ];
    let rows = runs.iter().flat_map(|run| {
        run.open.iter().map(|part| {
            let mut cells = vec![
                run.agent.clone(),
                run.trial.to_string(),
                part.topic.clone(),
                // The cold arm belongs to no break.
                if part.index == 0 {
                    "–".to_owned()
                } else {
                    part.index.to_string()
                },
                part.arm.clone(),
                part.judge.clone(),
            ];
            cells.extend(claims(&part.claims));
            cells
        })
    });
    Table::part("Open questions", &head, rows)
}

/// Returns the cells of a graded text: facts, claims and their rates.
fn claims(claims: &ClaimsPart) -> [String; 6] {
    [
        claims.facts.to_string(),
        claims.claimed.to_string(),
        claims.right.to_string(),
        claims.ungraded.to_string(),
        figure(claims.precision),
        figure(claims.recall),
    ]
}
