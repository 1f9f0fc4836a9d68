//! The sections of a report.

mod judging;
mod leaderboard;
mod probes;
mod runs;

use super::model::{Part, Report, Section};
use super::plots::{overall_plots, task_plots};
use crate::document::ResultDocument;
use crate::overall_document::OverallDocument;

/// Returns the report of one task.
pub fn task_report(document: &ResultDocument) -> Report {
    let task = &document.task;
    let mut drawn = task_plots(document);
    let mut plot = |name: &str| match drawn.iter().position(|plot| plot.name == name) {
        Some(at) => Part::Plot(drawn.remove(at)),
        None => Part::Missing(format!("Not drawn, because there are no figures: {name}.")),
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
            note: "Only measurements are ranked: runs that finished, had a break and kept \
                  their seal. Score: mean grade after the break. In brackets: 95 % intervals \
                  over whole sessions (Student's t for fewer than ten, resampled for more). \
                  A single trial has no interval, and equal results of all sessions do not \
                  make a figure certain. Ranks: the ranks that the data do not exclude.",
            parts: vec![
                leaderboard::leaderboard(&document.leaderboard),
                plot("score"),
                leaderboard::attempts(&document.leaderboard, &document.unranked_agents),
                leaderboard::differences(&document.leaderboard, &document.differs),
            ],
        },
        Section {
            title: "Comparisons",
            note: "The same probes in the same trials. A difference counts only if its \
                  interval excludes 0. Otherwise it is a tie, and the last column shows the \
                  smallest difference that so many trials could have shown. Equal \
                  differences in fewer than six trials are a tie, however large: so few \
                  could be equal by chance.",
            parts: vec![leaderboard::comparisons(document)],
        },
        Section {
            title: "Retention",
            note: "Retention: (post − cold) / (baseline − cold), the share of the knowledge \
                  that survived the break. It is undefined if the agent knew almost nothing \
                  before the break. Item retention: the share of questions answered \
                  correctly before the break that are also answered correctly after it.",
            parts: vec![
                plot("retention"),
                plot("forgetting"),
                runs::dimensions(&document.runs),
            ],
        },
        Section {
            title: "Sources of right answers",
            note: "summary: the compaction summary carries the fact. reinjected: the program \
                  put its source back. guessable: the cold arm answered correctly, too. \
                  model: none of these. \"Summary carries\" and \"agent says\" are two \
                  numbers: an agent does not always say a fact that the summary carries.",
            parts: vec![plot("attribution"), runs::attributions(&document.runs)],
        },
        Section {
            title: "Honesty",
            note: "Claims of the answers after the break. \"I don't recall\" scores nothing \
                  and is no error. Risk: share of the answered questions that are wrong. \
                  Coverage: share of the questions that are answered, in order of \
                  confidence.",
            parts: vec![plot("risk_coverage"), runs::honesty(&document.runs)],
        },
        Section {
            title: "Free recall",
            note: "The agent lists everything that it remembers, and judges compare it with \
                  facts of the change. Precision: share of its statements about these facts \
                  that are true. Recall: share of the facts that it states. A judge that \
                  accepts too many wrong claims may not rank.",
            parts: vec![
                judging::judges(document),
                judging::free_recalls(&document.runs),
            ],
        },
        Section {
            title: "Open questions",
            note: "Purpose, risks and rollback of the pull request, answered in free text and \
                  compared with facts of the change by models. Ungraded: no model gave a \
                  readable verdict. Open questions are not part of any score, because a \
                  score must not depend on whether there is a jury.",
            parts: vec![judging::open_questions(&document.runs)],
        },
        Section {
            title: "Runs",
            note: "Only failures with the cause \"agent\" count against the agent.",
            parts: vec![plot("context"), runs::runs(&document.runs)],
        },
        Section {
            title: "Probes",
            note: "Number of probes by kind, and reasons why candidates were dropped.",
            parts: vec![
                probes::probes_by_kind(document),
                probes::dropped_probes(document),
            ],
        },
    ];
    Report {
        title: format!("Memory across a break: {}", task.repo),
        warning: document.model_stub.then(|| {
            "The models were a stub: these figures say nothing about any model.".to_owned()
        }),
        facts,
        sections,
    }
}

/// Returns the report over several tasks.
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
            .map(|most| format!("There are more tasks: only the newest {most} were considered.")),
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
                note: "Means over all sessions (agent × pull request × trial). In brackets: \
                      95 % intervals that resample whole pull requests. For an agent with \
                      only one pull request they resample sessions and do not generalise to \
                      other pull requests.",
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
                note: "Overall scores of the same tasks and trials. A difference counts only \
                      if its interval excludes 0. Otherwise it is a tie, and the last column \
                      shows the smallest difference that so many could have shown.",
                parts: vec![leaderboard::session_comparisons(overall)],
            },
            Section {
                title: "Retention and sources of right answers",
                note: "Over all sessions. Retention: (post − cold) / (baseline − cold). Risk: \
                      share of the answered questions that are wrong. Coverage: share of the \
                      questions that are answered, in order of confidence.",
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
