//! `membreak report`: writes the report of a task, or of all tasks together, from the configured
//! database.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::{DateTime, NaiveDate, Utc};
use clap::ValueEnum;
use entity::{TaskId, task};
use platform::connect::Platform;
use platform::settings::Environment;
use results::document::ResultDocument;
use results::load::result_document;
use results::overall_document::overall_document;
use results::ranking::OverallFilter;
use results::report::{self, Report};
use sea_orm::EntityTrait as _;

use crate::all_in_one::{Settings, settings_error};
use crate::output;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Html,
    Markdown,
    Csv,
    Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = crate::output::GLOSSARY)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["task", "across"]))]
pub(crate) struct Options {
    /// Id of the task.
    task: Option<uuid::Uuid>,
    /// One leaderboard over all finished tasks.
    #[arg(long)]
    across: bool,
    /// Only tasks of this repository, `owner/name`.
    #[arg(long, requires = "across")]
    repo: Option<String>,
    /// Only this agent.
    #[arg(long, requires = "across")]
    agent: Option<String>,
    /// Only runs with this model.
    #[arg(long, requires = "across")]
    model: Option<String>,
    /// Only tasks that ended on this day (UTC) or later, such as 2026-11-23.
    #[arg(long, requires = "across", value_name = "DATE")]
    since: Option<NaiveDate>,
    /// Only tasks that ended before this day (UTC).
    #[arg(long, requires = "across", value_name = "DATE")]
    until: Option<NaiveDate>,
    /// The score that a dimension must reach to pass.
    #[arg(long, requires = "across", default_value_t = 0.5)]
    pass_mark: f64,
    /// Format of the report.
    #[arg(long, value_enum, default_value = "markdown")]
    format: Format,
    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let settings = Settings::read(&Environment).map_err(|errors| settings_error(&errors))?;
    let platform = Platform::connect(&settings.platform).await?;
    let text = match options.task {
        Some(id) => {
            let document = result_document(&platform.database, TaskId(id))
                .await
                .context("could not read the result from the database")?;
            let Some(document) = document else {
                bail!(output::no_task(TaskId(id)));
            };
            match options.format {
                Format::Csv => report::task_csv(&document).context("could not write CSV")?,
                Format::Json => json(&document)?,
                Format::Html | Format::Markdown => {
                    written(options.format, &report::task_report(&document))?
                }
            }
        }
        None => {
            let (documents, cut_at_tasks) = documents(&platform, options).await?;
            let mut across = overall_document(&documents, options.pass_mark);
            across.cut_at_tasks = cut_at_tasks;
            if across.leaderboard.is_empty() && across.unranked_agents.is_empty() {
                bail!(
                    "none of the {} tasks has a run that can be ranked",
                    documents.len()
                );
            }
            match options.format {
                Format::Csv => report::overall_csv(&across).context("could not write CSV")?,
                Format::Json => json(&across)?,
                Format::Html | Format::Markdown => {
                    written(options.format, &report::overall_report(&across))?
                }
            }
        }
    };
    match &options.out {
        Some(path) => tokio::fs::write(path, &text)
            .await
            .with_context(|| format!("could not write {}", path.display()))?,
        None => output::print(text.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

fn json(document: &impl serde::Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(document).context("could not write JSON")?;
    text.push('\n');
    Ok(text)
}

fn written(format: Format, report: &Report) -> anyhow::Result<String> {
    let text = match format {
        Format::Html => report::html(report),
        Format::Markdown | Format::Csv | Format::Json => report::markdown_without_plots(report),
    };
    text.context("could not write the report")
}

/// Loads the result documents of the selected tasks, each with the matching runs.
///
/// Tasks that failed or were cancelled are included: a failure of an agent is a result, too.
async fn documents(
    platform: &Platform,
    options: &Options,
) -> anyhow::Result<(Vec<ResultDocument>, Option<u64>)> {
    let midnight =
        |day: NaiveDate| -> DateTime<Utc> { day.and_time(chrono::NaiveTime::MIN).and_utc() };
    let filter = OverallFilter {
        repo: options.repo.clone(),
        agent: options.agent.clone(),
        model: options.model.clone(),
        ended_from: options.since.map(midnight),
        ended_before: options.until.map(midnight),
    };
    let selected = filter
        .select_tasks(&platform.database, task::Entity::find())
        .await
        .context("could not list the tasks")?;
    let mut documents = Vec::with_capacity(selected.ids.len());
    for id in selected.ids {
        let document = result_document(&platform.database, id)
            .await
            .with_context(|| format!("could not read the result of task {id}"))?;
        let Some(mut document) = document else {
            continue;
        };
        document
            .runs
            .retain(|run| filter.matches_run(&run.agent, run.model.as_deref()));
        documents.push(document);
    }
    Ok((documents, selected.cut_at_tasks))
}
