//! `membreak conformance AGENT`: checks an agent's adapter.

use std::process::ExitCode;
use std::time::Duration;

use agents::adapters;
use anyhow::Context as _;
use platform::settings::Environment;
use serde_json::json;
use simulator::conformance::{self, Check, Outcome, Subject};

use crate::all_in_one::{Settings, settings_error};
use crate::output::{print, print_json};
use crate::usage_error::UsageError;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Agent: `claude`, `claude:MODEL`, or the name of an agent in `AGENTS_FILE`.
    agent: String,
    /// Run only this check. May be repeated.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(conformance::CHECKS))]
    check: Vec<String>,
    /// Seconds of silence after which a turn fails.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    stall: u64,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let settings = Settings::read(&Environment).map_err(|errors| settings_error(&errors))?;
    let setup = settings.worker.agents.setup();
    let all = adapters::all(&setup.context("could not find the path of this program")?);
    let adapter = adapters::adapter_for(&all, &options.agent).map_err(|failure| {
        let known: Vec<&str> = all
            .iter()
            .map(|adapter| adapter.profile().name.as_str())
            .collect();
        UsageError(format!(
            "{}; there are {}",
            failure.message,
            known.join(", ")
        ))
    })?;
    let subject = Subject {
        adapter,
        sandbox: settings
            .worker
            .agents
            .sandbox()
            .map_err(|why| anyhow::anyhow!("SANDBOX: {why}"))?,
        folder: settings.worker.work_dir.join("conformance"),
        stall: Duration::from_secs(options.stall),
    };
    let print_check = |check: &Check| {
        if !options.json {
            print(&line(check));
        }
    };
    let mut checks = Vec::new();
    if options.check.is_empty() {
        checks = conformance::run(&subject, print_check).await;
    } else {
        for name in &options.check {
            let check = conformance::run_one(&subject, name).await;
            print_check(&check);
            checks.push(check);
        }
    }
    let failed = checks.iter().filter(|check| check.failed()).count();
    if options.json {
        print_json(&json!({
            "schema": 1,
            "agent": options.agent,
            "sandbox": subject.sandbox.report(),
            "ok": failed == 0,
            "checks": checks,
        }))?;
    } else {
        print(&format!("{} checks, {failed} failed", checks.len()));
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(check: &Check) -> String {
    let (mark, more) = match &check.outcome {
        Outcome::Passed => ("ok      ", String::new()),
        Outcome::Declared { what } => ("declared", format!(": {what}")),
        Outcome::Failed { why } => ("FAILED  ", format!(": {why}")),
    };
    let seconds = check.duration.as_secs_f64();
    format!("{mark}  {} ({seconds:.1} s){more}", check.name)
}
