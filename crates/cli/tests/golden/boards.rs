//! The leaderboard over all tasks, as the API, the command line and the reports print it.

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use super::compare::{differences, numbers};
use super::parse;
use super::service::{Installation, ORGANISATION};

/// Fields of a row that the API and the command line name alike.
const ROW: &[&str] = &[
    "rank",
    "why_unranked",
    "agent",
    "trials",
    "attempts",
    "failure_rate",
    "unit",
    "pull_requests",
    "design_effect",
    "dimensions_without_probes",
    "overall_score",
    "scores",
    "score",
    "retention",
    "item_retention",
    "rank_low",
    "rank_high",
    "failures",
    "void",
    "differs",
    "passed",
];
/// Fields of the board itself.
const BOARD: &[&str] = &[
    "instrument_version",
    "tasks",
    "runs",
    "left_out",
    "comparisons",
    "differs",
];

/// Returns one line for each difference between the boards of one database.
pub(crate) async fn disagreements(installation: &Installation) -> anyhow::Result<Vec<String>> {
    let service = installation.serve().await?;
    let mut found = Vec::new();
    for (query, args) in [
        ("", vec![]),
        ("?pass_mark=0.7", vec!["--pass-mark", "0.7"]),
        (
            "?agent=control-lossy:0.5",
            vec!["--agent", "control-lossy:0.5"],
        ),
        ("?repo=membreak/sample", vec!["--repo", "membreak/sample"]),
    ] {
        let answer = service
            .get(&format!("/api/v1/leaderboard{query}"), ORGANISATION)
            .await?;
        let api: Value = serde_json::from_str(&answer.text).context("reading the API's board")?;
        let command = board_of(installation, &args, "json").await?;
        let command: Value =
            serde_json::from_str(&command).context("reading the command's board")?;
        let lines = differences(
            &comparable(&command, "free_recall"),
            &comparable(&api, "recall"),
        );
        let lines = lines.iter().map(|line| {
            let line = line
                .replace("recorded", "command line")
                .replace("now", "API");
            format!("{query} {line}")
        });
        found.extend(lines);
        found.extend(report_disagreements(installation, &args, &command).await?);
    }
    Ok(found)
}

async fn board_of(
    installation: &Installation,
    args: &[&str],
    format: &str,
) -> anyhow::Result<String> {
    let all = [&["report", "--across"], args, &["--format", format]].concat();
    let ended = installation.run(&all).await?;
    ensure!(ended.code == Some(0), "membreak {all:?}: {}", ended.stderr);
    Ok(ended.stdout)
}

/// The fields that both have, rows by their agent, with the interval of the recall under one name.
fn comparable(board: &Value, recall: &str) -> Value {
    let fields = |value: &Value, names: &[&str]| -> Map<String, Value> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), value[*name].clone()))
            .collect()
    };
    let mut all = fields(board, BOARD);
    for name in ["leaderboard", "unranked_agents"] {
        let rows = board[name].as_array().map_or(&[][..], Vec::as_slice);
        let order: Vec<&Value> = rows.iter().map(|row| &row["agent"]).collect();
        all.insert(format!("order of {name}"), json!(order));
        for row in rows {
            let mut kept = fields(row, ROW);
            kept.insert("recall".to_owned(), row[recall].clone());
            // The API names every dimension, the command line those that have a score.
            if let Some(scores) = kept["scores"].as_object_mut() {
                scores.retain(|_, score| !score.is_null());
            }
            let agent = row["agent"].as_str().unwrap_or_default();
            all.insert(format!("{name} {agent}"), Value::Object(kept));
        }
    }
    Value::Object(all)
}

/// Compares the reports with the command's board: CSV to the last digit, tables as they are rounded.
async fn report_disagreements(
    installation: &Installation,
    args: &[&str],
    board: &Value,
) -> anyhow::Result<Vec<String>> {
    let rows: Vec<&Value> = ["leaderboard", "unranked_agents"]
        .iter()
        .filter_map(|name| board[*name].as_array())
        .flatten()
        .collect();
    let mut found = Vec::new();

    let csv = parse::csv(&board_of(installation, args, "csv").await?)?;
    let from_csv = csv["rows"]
        .as_array()
        .context("CSV has no rows")?
        .iter()
        .map(|row| {
            let filled = |name: &str| Some(&row[name]).filter(|value| **value != "").cloned();
            json!([
                filled("rank"),
                row["agent"],
                row["sessions"],
                filled("score"),
                filled("score_low"),
                filled("score_high"),
                filled("retention"),
                filled("retention_low"),
                filled("retention_high"),
                filled("recall"),
                filled("rank_low"),
                filled("rank_high"),
            ])
        });
    let expected = rows.iter().map(|row| {
        json!([
            row["rank"],
            row["agent"],
            row["trials"],
            row["score"]["mean"],
            row["score"]["low"],
            row["score"]["high"],
            row["retention"]["mean"],
            row["retention"]["low"],
            row["retention"]["high"],
            row["free_recall"]["mean"],
            row["rank_low"],
            row["rank_high"],
        ])
    });
    let lines = differences(&expected.collect(), &from_csv.collect());
    found.extend(lines.iter().map(|line| format!("{args:?} CSV {line}")));

    let ranked = board["leaderboard"].as_array().map_or(0, Vec::len);
    let expected: Vec<Value> = rows[..ranked].iter().map(|row| shown(row)).collect();
    let markdown = parse::markdown(&board_of(installation, args, "markdown").await?);
    let html = parse::html(&board_of(installation, args, "html").await?);
    let tables = [
        (
            "Markdown",
            markdown["sections"]
                .as_array()
                .and_then(|sections| sections.iter().find_map(|section| section["tables"].get(0))),
        ),
        ("HTML", html["tables"].get(0)),
    ];
    for (name, table) in tables {
        let printed = table.and_then(|table| table["rows"].as_array());
        let printed: Vec<Value> = printed.into_iter().flatten().map(printed_row).collect();
        let lines = differences(&json!(expected), &json!(printed));
        found.extend(lines.iter().map(|line| format!("{args:?} {name} {line}")));
    }
    Ok(found)
}

/// Rank, agent, number of runs and score of a row, as a report rounds them.
fn shown(row: &Value) -> Value {
    let score = ["mean", "low", "high"]
        .iter()
        .filter_map(|name| row["score"][*name].as_f64());
    let score: Vec<String> = score.map(|figure| format!("{figure:.2}")).collect();
    json!([
        row["rank"].to_string(),
        row["agent"],
        row["trials"].to_string(),
        score
    ])
}

fn printed_row(row: &Value) -> Value {
    let cell = |number: usize| row["cells"][number].as_str().unwrap_or_default();
    json!([cell(0), cell(1), cell(2), numbers(cell(3))])
}
