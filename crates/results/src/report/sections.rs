//! What a report says, apart from how it is written down.

use std::collections::BTreeMap;

use super::plots::{Plot, plots};
use super::{estimate, figure};
use crate::across::Across;
use crate::document::{ResultDocument, RowPart, RunPart};

const DIMENSIONS: [&str; 4] = ["AR", "TTL", "LRU", "SF"];

/// A whole report.
pub struct Report {
    pub title: String,
    /// What must not be overlooked.
    pub warning: Option<String>,
    /// What was measured: name and value.
    pub facts: Vec<(&'static str, String)>,
    pub sections: Vec<Section>,
}

/// One section.
pub struct Section {
    pub title: &'static str,
    /// How to read it.
    pub note: &'static str,
    pub parts: Vec<Part>,
}

/// What stands in a section.
pub enum Part {
    Table(Table),
    Plot(Plot),
    /// Why there is no plot, or nothing to show.
    Missing(String),
}

/// A table. Cells are plain text from anywhere.
pub struct Table {
    pub caption: &'static str,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn part(
        caption: &'static str,
        head: &[&'static str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Part {
        let rows: Vec<Vec<String>> = rows.into_iter().collect();
        if rows.is_empty() {
            return Part::Missing(format!("{caption}: nothing to show."));
        }
        Part::Table(Self {
            caption,
            head: head.to_vec(),
            rows,
        })
    }
}

/// The report of one task.
pub fn of_task(document: &ResultDocument) -> Report {
    let task = &document.task;
    let mut drawn = plots(document);
    let mut plot = |name: &str| match drawn.iter().position(|plot| plot.name == name) {
        Some(at) => Part::Plot(drawn.remove(at)),
        None => Part::Missing(format!("Not drawn, for lack of figures: {name}.")),
    };
    let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    let probes: Vec<String> = task
        .probes
        .iter()
        .map(|(dimension, count)| format!("{dimension} {count}"))
        .collect();
    let mut facts = vec![
        ("Pull request", task.pr_url.clone()),
        (
            "Commits",
            format!("{} → {}", optional(&task.base), optional(&task.head)),
        ),
        ("Status", task.status.to_string()),
        ("Probes", probes.join(", ")),
        ("Trials", task.trials.to_string()),
        ("Breaks per run", task.breaks.to_string()),
        ("Probes per prompt", task.probes_per_prompt.to_string()),
        ("Trigger", optional(&task.trigger)),
        ("Seed", task.seed.to_string()),
        ("Pass mark", task.pass_mark.to_string()),
        ("Instrument", task.instrument_version.clone()),
        ("Probe set", optional(&task.probe_set_hash)),
    ];
    if let Some(origin) = &task.question_bank {
        facts.push(("Probes are", origin.clone()));
    }
    if let Some(error) = &task.error {
        facts.push(("Error", error.clone()));
    }
    let sections = vec![
        Section {
            title: "Leaderboard",
            note: "Only runs that came to their end, had a break and kept their seal. Score: mean \
                   grade after the break. In brackets: 95 % intervals over whole sessions (Student's \
                   t over fewer than ten, resampled over more); a single trial has none, and \
                   sessions that all say the same are no certainty. Ranks: those that the data do \
                   not exclude.",
            parts: vec![
                board(&document.leaderboard),
                plot("score"),
                attempts(&document.leaderboard, &document.unranked_agents),
                differs(&document.leaderboard, &document.differs),
            ],
        },
        Section {
            title: "Comparisons",
            note: "The same probes in the same trials. A difference is claimed only where its \
                   interval excludes 0; else it is a tie, and the last column tells what so many \
                   trials could have shown. Equal differences of fewer than six trials are a tie, \
                   however large: so few could be equal by chance.",
            parts: vec![comparisons(document)],
        },
        Section {
            title: "Retention",
            note: "(post − cold) / (baseline − cold): how much of what was known survived. Where the \
                   agent knew next to nothing before the break it is not defined. Item retention: of \
                   the questions that were right before, how many are right after.",
            parts: vec![
                plot("retention"),
                plot("forgetting"),
                dimensions(&document.runs),
            ],
        },
        Section {
            title: "Where right answers came from",
            note: "summary: the compaction's summary carries the fact. reinjected: the program put \
                   its source back. guessable: the cold arm had it right too. model: none of these. \
                   \"Summary carries\" and \"agent says\" are two numbers: what a summary carries is \
                   not always said.",
            parts: vec![plot("attribution"), attribution(&document.runs)],
        },
        Section {
            title: "Honesty",
            note: "What the answers after the break claim. Saying \"I don't recall\" scores nothing, \
                   and is no error. Risk: share of the answered that is not right; coverage: share of \
                   the questions that are answered, the surest first.",
            parts: vec![plot("risk_coverage"), honesty(&document.runs)],
        },
        Section {
            title: "Free recall",
            note: "What the agent says when asked for everything it remembers, held against facts of \
                   the change. Precision: how much of what it says of them is true. Recall: how many \
                   of them it says. A judge that accepts too many wrong claims may not rank.",
            parts: vec![judges(document), recalls(&document.runs)],
        },
        Section {
            title: "Open questions",
            note: "What the pull request is for, what it puts at risk and how it is taken back, asked \
                   in free words and held by models against the facts of the change that bear on it. \
                   Ungraded: no model gave a readable verdict. No part of any score: a score must not \
                   depend on whether there is a jury.",
            parts: vec![open(&document.runs)],
        },
        Section {
            title: "Runs",
            note: "Only failures with the cause \"agent\" speak of the agent.",
            parts: vec![plot("context"), runs(&document.runs)],
        },
        Section {
            title: "Probes",
            note: "How many of each kind were made, and why others were not used.",
            parts: vec![generator(document), dropped(document)],
        },
    ];
    Report {
        title: format!("Memory across a break: {}", task.repo),
        warning: document
            .model_stub
            .then(|| "The models were a stub: these figures say nothing of any model.".to_owned()),
        facts,
        sections,
    }
}

/// The report over several tasks.
pub fn of_across(across: &Across) -> Report {
    let mut drawn = super::plots::plots_across(across);
    let mut plot = |name: &str| match drawn.iter().position(|plot| plot.name == name) {
        Some(at) => Part::Plot(drawn.remove(at)),
        None => Part::Missing(format!("Not drawn, for lack of figures: {name}.")),
    };
    let left_out: Vec<String> = across
        .left_out
        .iter()
        .map(|(reason, count)| format!("{count} × {reason}"))
        .collect();
    Report {
        title: "Memory across a break: all tasks".to_owned(),
        warning: across
            .cut_at_tasks
            .map(|most| format!("There are more tasks: only the newest {most} were looked at.")),
        facts: vec![
            ("Tasks", across.tasks.to_string()),
            ("Runs", across.runs.to_string()),
            ("Instrument", across.instrument_version.clone()),
            (
                "Left out",
                if left_out.is_empty() {
                    "nothing".to_owned()
                } else {
                    left_out.join(", ")
                },
            ),
        ],
        sections: vec![
            Section {
                title: "Leaderboard",
                note: "Means over all sessions (agent × pull request × trial). In brackets: 95 % \
                       intervals that resample whole pull requests; where an agent's sessions are \
                       of one pull request, they resample sessions and say nothing of others.",
                parts: vec![
                    board(&across.leaderboard),
                    plot("score"),
                    attempts(&across.leaderboard, &across.unranked_agents),
                    units(&across.leaderboard),
                    differs(&across.leaderboard, &across.differs),
                ],
            },
            Section {
                title: "Comparisons",
                note: "The overall scores of the same tasks and trials. A difference is claimed only \
                       where its interval excludes 0; else it is a tie, and the last column tells \
                       what so many could have shown.",
                parts: vec![session_comparisons(across)],
            },
            Section {
                title: "What was kept, and where it came from",
                note: "Over all sessions. Retention: (post − cold) / (baseline − cold). Risk: share \
                       of the answered that is not right; coverage: share of the questions that are \
                       answered, the surest first.",
                parts: vec![
                    plot("retention"),
                    plot("forgetting"),
                    plot("attribution"),
                    plot("risk_coverage"),
                ],
            },
        ],
    }
}

fn board(rows: &[RowPart]) -> Part {
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
    row.rank
        .map_or_else(|| "–".to_owned(), |rank| rank.to_string())
}

/// What became of every run of every agent, ranked or not.
fn attempts(ranked: &[RowPart], unranked: &[RowPart]) -> Part {
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
            attempts.map_or_else(|| "–".to_owned(), |count| count.to_string()),
            estimate(&row.failure_rate),
            super::failures(row),
            super::counts(&row.void),
            row.why_unranked.clone().unwrap_or_default(),
            row.dimensions_without_probes.join(", "),
        ]
    });
    Table::part(
        "Attempts: measurements and what the agent failed; other causes are not its attempts. Void \
         runs came to their end and are in no figure",
        &head,
        rows,
    )
}

/// What the intervals stand on.
fn units(rows: &[RowPart]) -> Part {
    let head = [
        "agent",
        "sessions",
        "pull requests",
        "resampled by",
        "correlation (ICC)",
        "design effect",
        "independent sessions that would say as much",
    ];
    let rows = rows.iter().map(|row| {
        let effect = row.design_effect;
        vec![
            row.agent.clone(),
            row.trials.to_string(),
            row.pull_requests
                .map_or_else(|| "–".to_owned(), |count| count.to_string()),
            row.unit.as_str().replace('_', " "),
            figure(effect.map(|effect| effect.icc)),
            figure(effect.map(|effect| effect.effect)),
            figure(effect.map(|effect| effect.effective_n)),
        ]
    });
    Table::part("What the intervals stand on", &head, rows)
}

fn session_comparisons(across: &Across) -> Part {
    let head = [
        "agents",
        "sessions",
        "resampled",
        "difference",
        "verdict",
        "smallest detectable",
    ];
    let rows = across.comparisons.iter().map(|part| {
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
    Table::part("Every two agents", &head, rows)
}

fn verdict(a: &str, b: &str, difference: Option<f64>, tie: bool) -> String {
    let better = if difference.unwrap_or_default() > 0.0 {
        a
    } else {
        b
    };
    if tie {
        "tie".to_owned()
    } else {
        format!("{better} is better")
    }
}

fn differs(rows: &[RowPart], between: &[String]) -> Part {
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
        return Part::Missing("Every agent's runs were made alike.".to_owned());
    }
    Table::part(
        "Averaged or ranked together although these are not the same",
        &["agent", "what differs"],
        rows,
    )
}

fn comparisons(document: &ResultDocument) -> Part {
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
    Table::part("Every two agents", &head, rows)
}

fn dimensions(runs: &[RunPart]) -> Part {
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

fn attribution(runs: &[RunPart]) -> Part {
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
            let carries = run
                .summary_carries
                .map_or_else(|| "–".to_owned(), |count| count.to_string());
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

fn honesty(runs: &[RunPart]) -> Part {
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

fn recalls(runs: &[RunPart]) -> Part {
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
            vec![
                run.agent.clone(),
                run.trial.to_string(),
                part.index.to_string(),
                part.arm.clone(),
                part.judge.clone(),
                part.claims
                    .jurors
                    .map_or_else(String::new, |jurors| jurors.to_string()),
                part.claims.facts.to_string(),
                part.claims.claimed.to_string(),
                part.claims.right.to_string(),
                part.claims.ungraded.to_string(),
                figure(part.claims.precision),
                figure(part.claims.recall),
                part.claims.note.clone().unwrap_or_default(),
            ]
        })
    });
    Table::part("Free recall", &head, rows)
}

fn open(runs: &[RunPart]) -> Part {
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
            vec![
                run.agent.clone(),
                run.trial.to_string(),
                part.topic.clone(),
                // The cold arm belongs to none.
                if part.index == 0 {
                    "–".to_owned()
                } else {
                    part.index.to_string()
                },
                part.arm.clone(),
                part.judge.clone(),
                part.claims.facts.to_string(),
                part.claims.claimed.to_string(),
                part.claims.right.to_string(),
                part.claims.ungraded.to_string(),
                figure(part.claims.precision),
                figure(part.claims.recall),
            ]
        })
    });
    Table::part("Open questions", &head, rows)
}

fn judges(document: &ResultDocument) -> Part {
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

fn runs(runs: &[RunPart]) -> Part {
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
    let number =
        |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
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
            Some("compaction") => "compacted while it was asked: void".to_owned(),
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
        remarks.push(format!("no probe of {dimension} is asked {none} the break"));
    }
    if run.breaks.iter().any(|seen| seen.reading_turns == Some(0)) {
        remarks.push("a break came before a turn of reading was over".to_owned());
    }
    if run.canary.as_deref() == Some("seen") {
        remarks.push("the canary was read".to_owned());
    }
    if run.retry_count > 0 {
        remarks.push(format!("tried again {}×", run.retry_count));
    }
    if let Some(cause) = run.failure_cause {
        remarks.push(format!("cause: {cause}"));
    }
    remarks.extend(run.error.clone());
    remarks.join("; ")
}

fn generator(document: &ResultDocument) -> Part {
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

fn dropped(document: &ResultDocument) -> Part {
    let none = BTreeMap::new();
    let report = document.task.generator.as_ref();
    let dropped = report.map_or(&none, |report| &report.dropped);
    let rows = dropped
        .iter()
        .map(|(reason, count)| vec![reason.clone(), count.to_string()]);
    Table::part("Why probes were dropped", &["reason", "probes"], rows)
}
