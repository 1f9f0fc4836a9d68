//! Output: results go to standard output, everything else to standard error.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use comfy_table::{CellAlignment, Table, presets};
use entity::TaskId;
use platform::artifacts;
use platform::connect::Platform;
use results::document::{ResultDocument, RowPart, RunPart};

use crate::usage_error::UsageError;

/// Explanation of abbreviations and terms, under every table and in the help.
pub(crate) const GLOSSARY: &str = "\
AR accurate retrieval · TTL test-time learning · LRU long-range understanding · SF selective forgetting
break: one compaction · cold: a session that never saw the pull request
baseline: just before the break · post: after it · score: post
retention: share of the knowledge from before the break that is left · –: not defined";

/// Shown for a figure that is not defined.
const UNDEFINED: &str = "–";

/// Writes a text to standard output. Ignores a closed pipe.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a message to standard error.
pub(crate) fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "membreak: {text}");
}

/// Prints the document of `--json`.
pub(crate) fn print_json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(document).context("could not write JSON")?);
    Ok(())
}

/// Returns the error for a missing task.
pub(crate) fn no_task(id: TaskId) -> String {
    format!(
        "no task {id} in the database. Check DATABASE_URL. `demo` and `eval` keep only what --out wrote"
    )
}

/// Prints the reason if nothing, or not everything, was measured.
pub(crate) fn print_failure(document: &ResultDocument) {
    if let Some(error) = &document.task.error {
        print_error(error);
    } else if document.leaderboard.is_empty() {
        for run in &document.runs {
            if let Some(error) = &run.error {
                print_error(&format!("{} #{}: {error}", run.agent, run.trial));
            }
        }
    }
}

/// Prints the result as tables.
pub(crate) fn print_result(document: &ResultDocument) {
    let task = &document.task;
    let probes: Vec<String> = task
        .probes
        .iter()
        .map(|(dimension, n)| format!("{dimension} {n}"))
        .collect();
    print(&format!(
        "{}  {} … {}  probes: {}",
        task.repo,
        short(task.base.as_deref()),
        short(task.head.as_deref()),
        if probes.is_empty() {
            "none".to_owned()
        } else {
            probes.join(", ")
        },
    ));
    if document.model_stub {
        print("the models were a stub: the scores say nothing about a model");
    }
    if let Some(error) = &task.error {
        print(&format!("error: {error}"));
    }
    print(&runs_table(&document.runs).to_string());
    print(&leaderboard_table(document).to_string());
    for row in &document.unranked_agents {
        if let Some(why) = &row.why_unranked {
            print(&format!("{} is not ranked: {why}", row.agent));
        }
    }
    print(GLOSSARY);
}

fn short(commit: Option<&str>) -> &str {
    commit.map_or("?", |commit| commit.get(..10).unwrap_or(commit))
}

fn runs_table(runs: &[RunPart]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "agent",
        "trial",
        "end",
        "break",
        "dim",
        "n",
        "cold",
        "baseline",
        "post",
        "retention",
    ]);
    for run in runs {
        let broke = match run.breaks.first() {
            Some(seen) => format!(
                "{} {} → {}",
                seen.trigger,
                seen.tokens_before
                    .map_or("?".to_owned(), |tokens| tokens.to_string()),
                seen.tokens_after
                    .map_or("?".to_owned(), |tokens| tokens.to_string()),
            ),
            None => "no break".to_owned(),
        };
        let end = match (&run.failure_cause, run.seal_broken, &run.void_reason) {
            (Some(cause), ..) => format!("{} ({cause})", run.status),
            (None, true, Some(why)) => format!("{} (void: {})", run.status, why.replace('_', " ")),
            (None, true, None) => format!("{} (void)", run.status),
            (None, false, _) => run.status.to_string(),
        };
        let mut first = true;
        let mut row = |dimension: &str, figures: [String; 5]| {
            let own = |text: String| if first { text } else { String::new() };
            let cells = [
                own(run.agent.clone()),
                own(run.trial.to_string()),
                own(end.clone()),
                own(broke.clone()),
                dimension.to_owned(),
            ];
            table.add_row(cells.into_iter().chain(figures));
            first = false;
        };
        if run.dimensions.is_empty() {
            row("", std::array::from_fn(|_| String::new()));
        }
        for (dimension, part) in &run.dimensions {
            let figures = [
                part.n.to_string(),
                figure(part.cold),
                figure(part.baseline),
                figure(part.post),
                figure(part.retention),
            ];
            row(dimension, figures);
        }
    }
    right_aligned(table, 5)
}

fn leaderboard_table(document: &ResultDocument) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let dimensions: Vec<&String> = document.task.probes.keys().collect();
    let mut header: Vec<String> = ["rank", "agent", "trials", "score"]
        .map(str::to_owned)
        .into();
    header.extend(dimensions.iter().map(|dimension| (*dimension).clone()));
    header.extend(["retention", "95 % interval", "passed", "failed"].map(str::to_owned));
    table.set_header(header);
    for row in document.leaderboard.iter().chain(&document.unranked_agents) {
        let mut cells = vec![
            row.rank
                .map_or_else(|| UNDEFINED.to_owned(), |rank| rank.to_string()),
            row.agent.clone(),
            row.trials.to_string(),
            figure(row.overall_score),
        ];
        cells.extend(
            dimensions
                .iter()
                .map(|dimension| figure(row.scores.get(*dimension).copied().flatten())),
        );
        let interval = match (row.retention.low, row.retention.high) {
            (Some(low), Some(high)) => format!("{low:.2} to {high:.2}"),
            (_, None) | (None, Some(_)) => UNDEFINED.to_owned(),
        };
        cells.extend([
            figure(row.retention.mean),
            interval,
            if row.passed { "yes" } else { "no" }.to_owned(),
            failed(row),
        ]);
        table.add_row(cells);
    }
    if document.leaderboard.is_empty() {
        table.add_row(["", "no measurement"]);
    }
    right_aligned(table, 2)
}

/// Returns failed runs and attempted runs of an agent.
fn failed(row: &RowPart) -> String {
    let attempts = row.attempts.unwrap_or(row.trials);
    let failed = attempts.saturating_sub(row.trials);
    format!("{failed} of {attempts}")
}

fn right_aligned(mut table: Table, from: usize) -> Table {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| UNDEFINED.to_owned(), |value| format!("{value:.2}"))
}

/// Creates the folder of a result before anything costs money.
///
/// It must be new or empty: existing files belong to the user, and files of two evaluations could
/// not be distinguished. Hidden files do not count, because none is written.
pub(crate) async fn prepare_folder(folder: &Path) -> anyhow::Result<()> {
    let unusable = || UsageError(format!("--out {} cannot be used", folder.display()));
    tokio::fs::create_dir_all(folder)
        .await
        .with_context(unusable)?;
    let mut entries = tokio::fs::read_dir(folder).await.with_context(unusable)?;
    while let Some(entry) = entries.next_entry().await.with_context(unusable)? {
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            bail!(UsageError(format!(
                "--out {} is not empty ({} is there): name a new folder, or an empty one",
                folder.display(),
                name.display()
            )));
        }
    }
    tempfile::tempfile_in(folder).with_context(unusable)?;
    Ok(())
}

/// Writes the result and all artifacts to a folder.
pub(crate) async fn write_files(
    platform: &Platform,
    document: &ResultDocument,
    folder: &Path,
) -> anyhow::Result<()> {
    let create = |folder: std::path::PathBuf| async move {
        tokio::fs::create_dir_all(&folder)
            .await
            .with_context(|| format!("making the folder {}", folder.display()))
    };
    create(folder.to_owned()).await?;
    let result = serde_json::to_vec_pretty(document).context("could not write JSON")?;
    write(&folder.join("result.json"), &result).await?;
    let runs: std::collections::BTreeMap<_, _> = document
        .runs
        .iter()
        .map(|run| {
            (
                run.id,
                format!("{}-{}", run.agent.replace([':', '/'], "-"), run.trial),
            )
        })
        .collect();
    let kept = artifacts::list(&platform.database, document.task.id)
        .await
        .context("could not list the artifacts of the task")?;
    for artifact in kept {
        // Names that begin with a dot are private to the worker.
        if artifact.name.starts_with('.') || artifact.name == "result.json" {
            continue;
        }
        let place = match artifact.run_id.and_then(|run| runs.get(&run)) {
            Some(run) => folder.join("runs").join(run),
            None => folder.to_owned(),
        };
        create(place.clone()).await?;
        let bytes = platform.artifacts.get(&artifact).await?;
        // Names come from this program, but still no name may lead out of the folder.
        let name = artifact.name.replace(['/', '\\'], "-");
        write(&place.join(name), &bytes).await?;
    }
    Ok(())
}

async fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    tokio::fs::write(path, bytes)
        .await
        .with_context(|| format!("writing {}", path.display()))
}
