//! `membreak judge`: repeats the judging of a finished task without running its agents.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::judgings::create::{Refused, judge_again};
use domain::vocabulary::JudgingStatus;
use entity::{TaskId, judging};
use platform::connect::Platform;
use platform::settings::Environment;
use results::load::result_document;
use sea_orm::EntityTrait as _;

use crate::all_in_one::{AllInOne, Settings, settings_error};
use crate::output;

/// Interval at which the judging is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Queue of judgings.
///
/// The worker of this command serves no other queue, so it never runs agents of other tasks in the
/// same database. It may judge other waiting tasks, because a worker selects queues and not tasks.
const QUEUE: &str = "judge";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Id of the task in the configured database.
    task: uuid::Uuid,
    /// Print the new result as one JSON document, and nothing else, to standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::read(&Environment).map_err(|errors| settings_error(&errors))?;
    // The API serves no clients meanwhile.
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
            .context("could not read the result from the database")?,
        Err(error) => {
            embedded.stop().await?;
            return Err(error);
        }
    };
    embedded.stop().await?;
    let document = document.context("the task was deleted during the judging")?;
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

/// Requests a judging and waits until it is done.
async fn follow(platform: &Platform, task: TaskId) -> anyhow::Result<()> {
    let asked = judge_again(platform, task, &api::admin::audit_log::Actor::local())
        .await
        .map_err(|refused| match refused {
            Refused::Gone => anyhow::anyhow!(output::no_task(task)),
            Refused::NotDone | Refused::Waiting | Refused::Database(_) => refused.into(),
        })?;
    loop {
        let row = judging::Entity::find_by_id(asked.id)
            .one(&platform.database)
            .await
            .context("could not read the judging from the database")?;
        match row {
            Some(row) if row.status == JudgingStatus::Done => return Ok(()),
            Some(row) if row.status == JudgingStatus::Error => {
                bail!(row.error_message.unwrap_or_default())
            }
            Some(_) => tokio::time::sleep(POLL_INTERVAL).await,
            None => bail!("the judging was deleted meanwhile"),
        }
    }
}
