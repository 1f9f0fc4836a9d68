//! Contents of reports, and their safety against hostile text.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is missing"
)]

use std::path::Path;

use domain::vocabulary::{FailureCause, RunStatus, TaskStatus};
use results::document::ResultDocument;
use results::overall_document::overall_document;
use results::report::{
    html, markdown, markdown_without_plots, overall_csv, overall_report, overall_schema,
    result_schema, task_csv, task_plots, task_report,
};
use serde_json::json;

/// A result with two agents, two breaks, and hostile text in every field from outside.
fn document() -> ResultDocument {
    let hostile = "</script><img src=x onerror=alert(1)>|\u{7}";
    let figures = |post: f64| {
        json!({"n": 4, "cold": 0.0, "baseline": 1.0, "post": post, "retention": post,
               "known": 4, "kept": (4.0 * post) as u64, "item_retention": post,
               "stale_rate": null, "abstained_rate": 0.0, "wrong_rate": 0.0})
    };
    let run = |agent: &str, trial: i32, post: f64| {
        json!({
            "id": uuid::Uuid::new_v4(), "agent": agent, "agent_version": hostile, "model": "=cmd()",
            "trial": trial, "status": "done", "failure_cause": null, "error": hostile,
            "retry_count": 0, "compression_detected": true, "seal_broken": false,
            "baseline": "fork",
            "breaks": [{"trigger": "auto", "tokens_before": 9000, "tokens_after": 900}],
            "attribution": {"summary": 3, "model": 1}, "summary_carries": 3,
            "dimensions": {"AR": figures(post)},
            "by_break": [
                {"break": 1, "dimensions": {"AR": figures(post)}, "kept_of_first": post},
                {"break": 2, "dimensions": {"AR": figures(post / 2.0)}, "kept_of_first": post / 2.0},
            ],
            "honesty": {"answers": 4, "claimed": 3, "right": 2, "wrong": 1, "stale": 0,
                        "abstained": 1, "unreadable": 0, "with_confidence": 3},
            "recall": [{"arm": "post", "break": 1, "judge": "deterministic/1", "facts": 5,
                        "claimed": 2, "right": 1, "ungraded": 0, "precision": 0.5, "recall": 0.2}],
            "context": [
                {"turn": 1, "phase": "deep_dive", "tokens": 900, "break": null},
                {"turn": 2, "phase": "break", "tokens": 100, "break": 1},
            ],
            "overall_score": post, "passed": true, "duration_ms": 10,
        })
    };
    let estimate = |mean: f64| json!({"mean": mean, "low": mean - 0.1, "high": mean + 0.1});
    let row = |rank: u32, agent: &str, post: f64| {
        json!({"rank": rank, "agent": agent, "trials": 2, "overall_score": post,
               "scores": {"AR": post}, "score": estimate(post), "retention": estimate(post),
               "item_retention": estimate(post), "rank_low": rank, "rank_high": 2,
               "failures": {"provider": 1}, "differs": [format!("model: {hostile}")],
               "passed": true})
    };
    serde_json::from_value(json!({
        "schema": 1,
        "task": {
            "id": uuid::Uuid::new_v4(), "status": "done", "repo": hostile,
            "pr_url": "https://forge.example/a/b/pull/1", "base": null, "head": null, "seed": 1,
            "trials": 2, "pass_mark": 0.5,
            "instrument_version": evaluation::INSTRUMENT_VERSION,
            "probe_set_hash": null, "prompt_hash": null, "probes": {"AR": 4}, "breaks": 2,
            "changed_files": [], "dropped_files": [], "error": hostile,
        },
        "runs": [run("one", 1, 0.75), run("one", 2, 0.5), run("two", 1, 0.25), run("two", 2, 0.5)],
        "leaderboard": [row(1, "one", 0.6), row(2, "two", 0.4)],
        "comparisons": [{"a": "one", "b": "two", "pairs": 8, "clusters": 2,
                         "difference": estimate(0.05), "tie": true, "smallest_detectable": 0.7}],
        "risk_coverage": {"one": {"points": [{"coverage": 0.5, "risk": 0.0, "least_confidence": 0.9},
                                             {"coverage": 0.75, "risk": 0.33, "least_confidence": 0.5}],
                                  "area": 0.1}},
    }))
    .unwrap()
}

/// Parses a text as XML. Every report is well-formed.
fn parsed(text: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(text).unwrap()
}

#[test]
fn the_page_fetches_nothing_and_text_stays_text() {
    let page = html(&task_report(&document())).unwrap();
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(!page.contains("src=\"") && !page.contains("href="));
    assert!(page.contains("default-src 'none'"));
    // Without HTML's void elements the page is XML.
    let body = &page[page.find("<main>").unwrap()..=page.find("</main>").unwrap() + 6];
    let tree = parsed(body);
    let named = |name: &'static str| {
        tree.descendants()
            .filter(move |node| node.has_tag_name(name))
    };
    assert_eq!(named("h1").count(), 1);
    assert!(
        named("table").all(|table| table.children().any(|child| child.has_tag_name("caption")))
    );
    let figures = tree
        .descendants()
        .filter(|node| node.tag_name().name() == "svg");
    assert_eq!(figures.count(), 6);
}

#[test]
fn every_plot_is_a_picture_with_a_description() {
    let plots = task_plots(&document());
    let names: Vec<&str> = plots.iter().map(|plot| plot.name).collect();
    assert_eq!(
        names,
        [
            "score",
            "retention",
            "context",
            "forgetting",
            "attribution",
            "risk_coverage"
        ]
    );
    for plot in &plots {
        let tree = parsed(&plot.svg);
        let root = tree.root_element();
        let says = |name| {
            root.children()
                .find(|child| child.tag_name().name() == name)
        };
        assert_eq!(says("title").unwrap().text(), Some(plot.title));
        assert!(
            says("desc").unwrap().text().unwrap().contains("one"),
            "{}",
            plot.name
        );
        let outside = |value: &str| value.contains("http") && !value.contains("www.w3.org");
        let mut attributes = tree.descendants().flat_map(|node| node.attributes());
        assert!(!attributes.any(|attribute| outside(attribute.value())));
    }
}

#[test]
fn missing_figures_are_neither_drawn_nor_zero() {
    let mut empty = document();
    empty.runs.clear();
    empty.leaderboard.clear();
    empty.comparisons.clear();
    empty.risk_coverage.clear();
    assert!(task_plots(&empty).is_empty());
    let text = markdown(&task_report(&empty)).unwrap();
    assert!(text.contains("Not drawn, because there are no figures: score."));
    let mut unknown = document();
    for run in &mut unknown.runs {
        run.by_break.clear();
        run.overall_score = None;
    }
    let lines = task_csv(&unknown).unwrap();
    let mut reader = ::csv::Reader::from_reader(lines.as_bytes());
    let head = reader.headers().unwrap().clone();
    let record = reader.records().next().unwrap().unwrap();
    for name in ["post", "overall_score", "cost_usd", "partial_rate"] {
        let at = head.iter().position(|field| field == name).unwrap();
        assert_eq!(&record[at], "", "{name}");
    }
}

#[test]
fn a_table_program_gets_figures_and_no_formulas() {
    let text = task_csv(&document()).unwrap();
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 8, "four runs, two breaks, one dimension");
    let column = |name: &str| head.iter().position(|field| field == name).unwrap();
    assert_eq!(&records[0][column("post")], "0.75");
    assert_eq!(&records[1][column("break")], "2");
    assert_eq!(&records[0][column("model")], "'=cmd()");
    assert_eq!(&records[0][column("stale_rate")], "");
}

#[test]
fn markdown_has_the_same_contents() {
    let text = markdown(&task_report(&document())).unwrap();
    assert!(
        text.contains("| one − two | 8 | 2 | 0.05 \\[-0.05, 0.15] | tie | 0.70 |"),
        "{text}"
    );
    assert!(text.contains("Plot: `plot-forgetting.svg`"));
    assert!(!text.replace("\\<", "").contains('<'), "{text}");
}

#[test]
fn tasks_are_ranked_together_by_session_and_differences_are_reported() {
    let (first, mut second) = (document(), document());
    for run in &mut second.runs {
        run.agent_version = Some("2".to_owned());
    }
    let mut stub = document();
    for run in &mut stub.runs {
        run.model_stub = true;
    }
    let mut old = document();
    old.task.instrument_version = "0".to_owned();
    let all = overall_document(&[first, second, stub, old], 0.5);
    assert_eq!((all.tasks, all.runs), (2, 8));
    assert_eq!(all.left_out["the model was a stub"], 4);
    assert_eq!(
        all.left_out["measured by another version of the instrument"],
        4
    );
    let row = &all.leaderboard[0];
    assert!(row.void.is_empty());
    assert_eq!((row.agent.as_str(), row.trials), ("one", 4));
    assert!(
        row.differs
            .iter()
            .any(|what| what.starts_with("agent_version: "))
    );
    assert!(html(&overall_report(&all)).unwrap().contains("all tasks"));
    assert!(all.differs.is_empty(), "versions of agents are their own");
}

/// A document on another pull request, whose agent `one` failed both of its runs.
fn crashed() -> ResultDocument {
    let mut document = document();
    document.task.status = TaskStatus::Error;
    document.task.pr_url = "https://forge.example/a/b/pull/2".to_owned();
    for run in document.runs.iter_mut().filter(|run| run.agent == "one") {
        run.status = RunStatus::Error;
        run.failure_cause = Some(FailureCause::Agent);
        run.compression_detected = false;
        run.overall_score = None;
    }
    document
}

#[test]
fn failures_of_an_agent_are_in_every_format_and_are_no_score() {
    let all = overall_document(&[document(), crashed(), crashed()], 0.5);
    // Two measurements, and four failures.
    assert_eq!(all.leaderboard.len(), 1);
    let (two, one) = (&all.leaderboard[0], &all.unranked_agents[0]);
    assert_eq!((two.agent.as_str(), two.rank), ("two", Some(1)));
    assert_eq!((one.agent.as_str(), one.rank), ("one", None));
    assert_eq!((one.trials, one.attempts), (2, Some(6)));
    assert_eq!(one.failures["agent"], 4);
    assert_eq!(one.overall_score, Some(0.625), "of what was measured");
    assert!(one.failure_rate.low.unwrap() > 0.29 && one.failure_rate.high.unwrap() < 0.91);
    let why = "fails too often to be ranked: 4 of 6 attempts failed";
    assert_eq!(one.why_unranked.as_deref(), Some(why));
    let report = overall_report(&all);
    for text in [
        html(&report).unwrap(),
        markdown_without_plots(&report).unwrap(),
        overall_csv(&all).unwrap(),
        serde_json::to_string(&all).unwrap(),
    ] {
        assert!(
            text.contains(why) && text.contains("0.67") || text.contains("0.666"),
            "{text}"
        );
    }
    let lines = overall_csv(&all).unwrap();
    assert!(lines.contains("agent 4"), "{lines}");
}

#[test]
fn agents_over_several_pull_requests_are_compared_by_pull_request() {
    let mut other = crashed();
    for run in &mut other.runs {
        run.status = RunStatus::Done;
        run.failure_cause = None;
        run.compression_detected = true;
        run.overall_score = Some(if run.agent == "one" { 0.5 } else { 0.25 });
    }
    let all = overall_document(&[document(), other], 0.5);
    let row = &all.leaderboard[0];
    assert_eq!(
        (row.unit.as_str(), row.pull_requests),
        ("pull_request", Some(2))
    );
    assert!(row.design_effect.is_some());
    // Each one is graded by its deterministic judge.
    assert_eq!(row.recall, Some(0.2));
    let [pair] = all.comparisons.as_slice() else {
        panic!("{:?}", all.comparisons);
    };
    assert_eq!((pair.sessions, pair.clusters, pair.tie), (4, 2, true));
    assert!((pair.difference.mean.unwrap() - 0.25).abs() < 1e-9);
    assert_eq!(pair.smallest_detectable, None, "both show the same");
    let page = html(&overall_report(&all)).unwrap();
    for figure in [
        "Retention by dimension",
        "Sources of right answers",
        "Risk and coverage",
        "Forgetting",
    ] {
        assert!(page.contains(figure), "{figure}");
    }
    // Four runs with four answers: the curve of each document is that of both.
    let curve = &all.risk_coverage["one"].points;
    assert!((curve[0].coverage - 0.5).abs() < 1e-9, "{curve:?}");
}

#[test]
fn imported_probes_stay_out_of_boards_over_tasks() {
    let mut imported = document();
    imported.task.question_bank = Some("imported".to_owned());
    let all = overall_document(&[document(), imported], 0.5);
    assert_eq!((all.tasks, all.runs), (1, 4));
    let why = "its probes are those of an imported question bank";
    assert_eq!(all.left_out[why], 4);
}

#[test]
fn different_dimensions_are_reported() {
    let mut narrow = document();
    for run in &mut narrow.runs {
        let part = run.dimensions["AR"];
        run.dimensions.insert("SF".to_owned(), part);
        run.manifest = [("max_turns".to_owned(), "9".to_owned())].into();
    }
    let mut plain = document();
    for run in &mut plain.runs {
        run.manifest = [("max_turns".to_owned(), "20".to_owned())].into();
    }
    let all = overall_document(&[plain, narrow], 0.5);
    let told = ["max_turns: 20 | 9", "rubric: AR | AR, SF"];
    assert_eq!(all.leaderboard[0].differs, told);
    assert_eq!(all.differs, told);
}

#[test]
fn runs_of_one_task_are_of_the_version_that_measured_each() {
    let mut mixed = document();
    mixed.task.instrument_version = format!("0, {}", evaluation::INSTRUMENT_VERSION);
    for run in &mut mixed.runs {
        let version = if run.trial == 1 {
            "0"
        } else {
            evaluation::INSTRUMENT_VERSION
        };
        run.manifest = [("instrument_version".to_owned(), version.to_owned())].into();
    }
    let all = overall_document(&[mixed], 0.5);
    assert_eq!(all.runs, 2);
    let why = "measured by another version of the instrument";
    assert_eq!(all.left_out[why], 2);
}

#[test]
fn different_judges_of_free_recall_are_reported() {
    let mut by_jury = document();
    by_jury.judging = serde_json::from_value(json!({
        "number": 1, "agreement": null, "judges": [
            {"name": "m", "model": "m-1", "prompt_version": "0123456789", "may_rank": true,
             "false_accept": {}, "false_reject": {}, "cases": 1, "unread": 0},
            {"name": "jury", "may_rank": true,
             "false_accept": {}, "false_reject": {}, "cases": 1, "unread": 0},
        ]
    }))
    .unwrap();
    for part in by_jury.runs.iter_mut().flat_map(|run| &mut run.recall) {
        part.judge = "jury".to_owned();
    }
    let told = ["free_recall_judge: deterministic/1 | jury of m (m-1, prompts 01234567)"];
    let all = overall_document(&[document(), by_jury.clone()], 0.5);
    assert_eq!(all.leaderboard[0].differs, told);
    assert_eq!(
        overall_document(&[by_jury.clone(), by_jury], 0.5)
            .differs
            .len(),
        0
    );
}

#[test]
fn changes_of_a_local_repository_are_pull_requests_of_their_own() {
    let change = |head: &str| {
        let mut document = document();
        document.task.pr_url = "file:///srv/widgets".to_owned();
        document.task.base = Some("aaaa".to_owned());
        document.task.head = Some(head.to_owned());
        document
    };
    let row =
        |documents: &[ResultDocument]| overall_document(documents, 0.5).leaderboard[0].clone();
    let two = row(&[change("bbbb"), change("cccc")]);
    assert_eq!(
        (two.unit.as_str(), two.pull_requests),
        ("pull_request", Some(2))
    );
    let one = row(&[change("bbbb"), change("bbbb")]);
    assert_eq!((one.unit.as_str(), one.pull_requests), ("session", Some(1)));
}

#[test]
fn void_runs_are_reported_beside_measurements() {
    let mut document = document();
    document.runs[0].seal_broken = true;
    document.runs[0].void_reason = Some("tool_call".to_owned());
    let all = overall_document(&[document], 0.5);
    let rows = all.leaderboard.iter();
    let one = rows.clone().find(|row| row.agent == "one").unwrap();
    assert_eq!((one.trials, one.attempts), (1, Some(1)));
    let why = "a tool was used where only memory was allowed";
    assert_eq!(one.void, [(why.to_owned(), 1)].into());
    let told = format!("{why} 1");
    let report = overall_report(&all);
    for text in [html(&report).unwrap(), overall_csv(&all).unwrap()] {
        assert!(text.contains(&told), "{text}");
    }
}

#[test]
fn a_forgetting_curve_is_of_the_same_runs_at_every_break() {
    let mut document = document();
    // This run was lost between its breaks.
    document.runs[0].by_break.truncate(1);
    let curve = |document: &ResultDocument| {
        let plots = task_plots(document);
        let plot = plots.iter().find(|plot| plot.name == "forgetting").unwrap();
        let tree = parsed(&plot.svg);
        let text = tree.descendants().filter_map(|node| node.text());
        text.collect::<Vec<_>>().join("\n")
    };
    let told = curve(&document);
    assert!(told.contains("one: 0.50, 0.25 (1 of 2 runs)"), "{told}");
    // Retention over 1: the interval reaches the figure.
    for run in &mut document.runs {
        for part in &mut run.by_break {
            part.kept_of_first = Some(1.25);
        }
    }
    let told = curve(&document);
    assert!(!told.contains("1.00]"), "{told}");
}

#[test]
fn a_limited_document_contains_a_warning() {
    let mut all = overall_document(&[document()], 0.5);
    all.cut_at_tasks = Some(2_000);
    assert!(
        markdown_without_plots(&overall_report(&all))
            .unwrap()
            .contains("only the newest 2000 were considered")
    );
}

#[test]
fn markdown_without_plots_beside_it_names_no_file() {
    let text = markdown_without_plots(&task_report(&document())).unwrap();
    assert!(!text.contains(".svg"), "{text}");
    assert!(text.contains("in the HTML report only: Score"), "{text}");
}

/// `UPDATE_SCHEMA=1` writes the schemas again.
#[test]
fn the_published_schemas_are_those_of_the_code() {
    for (name, schema) in [
        ("result.schema.json", result_schema()),
        ("across.schema.json", overall_schema()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs")
            .join(name);
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, format!("{schema:#}\n")).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        let published: serde_json::Value = serde_json::from_str(&published).unwrap_or_default();
        assert_eq!(
            published, schema,
            "docs/{name} is old: run this test with UPDATE_SCHEMA=1"
        );
    }
}
