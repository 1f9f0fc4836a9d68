//! The sections of a report.

mod judging;
mod leaderboard;
mod probes;
mod runs;

use super::model::{Part, Report, Section};
use super::plots::{overall_plots, task_plots};
use crate::document::ResultDocument;
use crate::overall_document::OverallDocument;

/// The report of one task.
pub fn task_report(document: &ResultDocument) -> Report {
    let task = &document.task;
    let mut drawn = task_plots(document);
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
                leaderboard::leaderboard(&document.leaderboard),
                plot("score"),
                leaderboard::attempts(&document.leaderboard, &document.unranked_agents),
                leaderboard::differences(&document.leaderboard, &document.differs),
            ],
        },
        Section {
            title: "Comparisons",
            note: "The same probes in the same trials. A difference is claimed only where its \
                   interval excludes 0; else it is a tie, and the last column tells what so many \
                   trials could have shown. Equal differences of fewer than six trials are a tie, \
                   however large: so few could be equal by chance.",
            parts: vec![leaderboard::comparisons(document)],
        },
        Section {
            title: "Retention",
            note: "(post − cold) / (baseline − cold): how much of what was known survived. Where the \
                   agent knew next to nothing before the break it is not defined. Item retention: of \
                   the questions that were right before, how many are right after.",
            parts: vec![
                plot("retention"),
                plot("forgetting"),
                runs::dimensions(&document.runs),
            ],
        },
        Section {
            title: "Where right answers came from",
            note: "summary: the compaction's summary carries the fact. reinjected: the program put \
                   its source back. guessable: the cold arm had it right too. model: none of these. \
                   \"Summary carries\" and \"agent says\" are two numbers: what a summary carries is \
                   not always said.",
            parts: vec![plot("attribution"), runs::attributions(&document.runs)],
        },
        Section {
            title: "Honesty",
            note: "What the answers after the break claim. Saying \"I don't recall\" scores nothing, \
                   and is no error. Risk: share of the answered that is not right; coverage: share of \
                   the questions that are answered, the surest first.",
            parts: vec![plot("risk_coverage"), runs::honesty(&document.runs)],
        },
        Section {
            title: "Free recall",
            note: "What the agent says when asked for everything it remembers, held against facts of \
                   the change. Precision: how much of what it says of them is true. Recall: how many \
                   of them it says. A judge that accepts too many wrong claims may not rank.",
            parts: vec![
                judging::judges(document),
                judging::free_recalls(&document.runs),
            ],
        },
        Section {
            title: "Open questions",
            note: "What the pull request is for, what it puts at risk and how it is taken back, asked \
                   in free words and held by models against the facts of the change that bear on it. \
                   Ungraded: no model gave a readable verdict. No part of any score: a score must not \
                   depend on whether there is a jury.",
            parts: vec![judging::open_questions(&document.runs)],
        },
        Section {
            title: "Runs",
            note: "Only failures with the cause \"agent\" speak of the agent.",
            parts: vec![plot("context"), runs::runs(&document.runs)],
        },
        Section {
            title: "Probes",
            note: "How many of each kind were made, and why others were not used.",
            parts: vec![
                probes::probes_by_kind(document),
                probes::dropped_probes(document),
            ],
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
pub fn overall_report(overall: &OverallDocument) -> Report {
    let mut drawn = overall_plots(overall);
    let mut plot = |name: &str| match drawn.iter().position(|plot| plot.name == name) {
        Some(at) => Part::Plot(drawn.remove(at)),
        None => Part::Missing(format!("Not drawn, for lack of figures: {name}.")),
    };
    let left_out: Vec<String> = overall
        .left_out
        .iter()
        .map(|(reason, count)| format!("{count} × {reason}"))
        .collect();
    Report {
        title: "Memory across a break: all tasks".to_owned(),
        warning: overall
            .cut_at_tasks
            .map(|most| format!("There are more tasks: only the newest {most} were looked at.")),
        facts: vec![
            ("Tasks", overall.tasks.to_string()),
            ("Runs", overall.runs.to_string()),
            ("Instrument", overall.instrument_version.clone()),
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
                    leaderboard::leaderboard(&overall.leaderboard),
                    plot("score"),
                    leaderboard::attempts(&overall.leaderboard, &overall.unranked_agents),
                    leaderboard::intervals(&overall.leaderboard),
                    leaderboard::differences(&overall.leaderboard, &overall.differs),
                ],
            },
            Section {
                title: "Comparisons",
                note: "The overall scores of the same tasks and trials. A difference is claimed only \
                       where its interval excludes 0; else it is a tie, and the last column tells \
                       what so many could have shown.",
                parts: vec![leaderboard::session_comparisons(overall)],
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
