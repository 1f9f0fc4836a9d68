//! `membreak judge`: judges a finished task again, without running its agents.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::judging::{Refused, judge_again};
use domain::vocabulary::JudgingStatus;
use entity::{TaskId, judging};
use platform::connect::Platform;
use platform::settings::Environment;
use results::load::result_document;
use sea_orm::EntityTrait as _;

use crate::all_in_one::{AllInOne, Settings, settings_error};
use crate::output;

/// How often the judging is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What a judging waits in.
///
/// It is one job from its votes to its documents, and nobody asked this program to run the agents of
/// whatever else waits in the same database. What else is to be judged there may be judged meanwhile:
/// a worker chooses among queues, not among tasks.
const QUEUE: &str = "judge";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The task's id, in the database of the settings.
    task: uuid::Uuid,
    /// Print the new result as one JSON document, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::read(&Environment).map_err(|errors| settings_error(&errors))?;
    // Nobody is served meanwhile.
    "127.0.0.1".clone_into(&mut settings.api.host);
    settings.api.port = 0;
    settings.worker.queues = vec![QUEUE.to_owned()];
    let judges: Vec<String> = settings
        .worker
        .judges
        .models
        .iter()
        .map(|judge| format!("{}:{}", judge.api, judge.model))
        .collect();
    let mut embedded = AllInOne::start(settings).await?;
    let platform = embedded.platform.clone();
    let followed = tokio::select! {
        judged = follow(&platform, TaskId(options.task)) => judged,
        error = embedded.failed() => Err(error),
    };
    let document = match followed {
        Ok(()) => result_document(&platform.database, TaskId(options.task))
            .await
            .context("reading the result")?,
        Err(error) => {
            embedded.stop().await?;
            return Err(error);
        }
    };
    embedded.stop().await?;
    let document = document.context("the task is gone")?;
    if options.json {
        output::print_json(&document)?;
    } else {
        output::print(&format!(
            "judging {} of task {} by the deterministic judge{}",
            document.judging.number,
            document.task.id,
            judges
                .iter()
                .map(|judge| format!(", {judge}"))
                .collect::<String>()
        ));
        for judge in &document.judging.judges {
            let why = judge.why.as_deref().unwrap_or("may rank");
            output::print(&format!("{}: {why}", judge.name));
        }
        output::print_result(&document);
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for a judging and waits until it is done.
async fn follow(platform: &Platform, task: TaskId) -> anyhow::Result<()> {
    let asked = judge_again(platform, task, &api::audit::Actor::local())
        .await
        .map_err(|refused| match refused {
            Refused::Gone => anyhow::anyhow!(output::no_task(task)),
            Refused::NotDone | Refused::Waiting | Refused::Database(_) => refused.into(),
        })?;
    loop {
        let row = judging::Entity::find_by_id(asked.id)
            .one(&platform.database)
            .await
            .context("looking at the judging")?;
        match row {
            Some(row) if row.status == JudgingStatus::Done => return Ok(()),
            Some(row) if row.status == JudgingStatus::Error => {
                bail!(row.error_message.unwrap_or_default())
            }
            Some(_) => tokio::time::sleep(POLL_INTERVAL).await,
            None => bail!("the judging is gone"),
        }
    }
}
