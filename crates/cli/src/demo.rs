//! `membreak demo`: the sample pull request, evaluated with the control agents.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use simulator::demo::{base_files, head_files};

use crate::local_evaluation::{CommonOptions, evaluate};
use crate::output::{print, print_error};
use crate::self_check;

/// Every behaviour that is known beforehand.
const CONTROLS: [&str; 8] = [
    "control-perfect",
    "control-lossy:0.5",
    "control-amnesiac",
    "control-stale",
    "control-guesser",
    "control-vague",
    "control-silent",
    "control-cheater",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Agents, comma-separated; default: every control agent.
    #[arg(long, value_delimiter = ',')]
    agents: Option<Vec<String>>,
    #[command(flatten)]
    common: CommonOptions,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let repository = folder.path().join("sample");
    let (base, head) =
        simulator::repository::build_repository(&repository, &base_files()?, &head_files()?)
            .await
            .context("building the sample repository (is git installed?)")?;
    let repository = tokio::fs::canonicalize(&repository)
        .await
        .context("finding the sample")?;
    let agents = options
        .agents
        .unwrap_or_else(|| CONTROLS.iter().map(|&agent| agent.to_owned()).collect());
    let request = json!({
        "repo": repository,
        "base": base,
        "head": head,
        "agents": agents,
        "trials": options.common.trials,
        "seed": options.common.seed,
    });
    let evaluated = evaluate(
        &request,
        std::slice::from_ref(&repository),
        &options.common,
        None,
    )
    .await?;
    if evaluated.cancelled || evaluated.incomplete {
        return Ok(evaluated.exit_code());
    }
    // A control that misses its row of the protocol's table is a defect of the instrument.
    let checked = self_check::check(&evaluated.document);
    for miss in &checked.misses {
        print_error(&format!("the instrument is broken: {miss}"));
    }
    if !checked.misses.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if checked.controls == 0 {
        // Then it is an evaluation like any other.
        return Ok(evaluated.exit_code());
    }
    let verdict = "all controls measured as they must";
    if !options.common.json {
        print(verdict);
    } else if !options.common.quiet {
        print_error(verdict);
    }
    Ok(ExitCode::SUCCESS)
}
