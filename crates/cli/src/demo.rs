//! `membreak demo`: evaluates the sample pull request with the control agents.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use simulator::demo::{base_files, head_files};

use crate::local_evaluation::{CommonOptions, evaluate};
use crate::output::{print, print_error};
use crate::self_check;

/// All control agents.
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
#[command(after_help = crate::output::GLOSSARY)]
pub(crate) struct Options {
    /// Agents, comma-separated. By default all control agents.
    #[arg(long, value_delimiter = ',')]
    agents: Option<Vec<String>>,
    #[command(flatten)]
    common: CommonOptions,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let folder =
        tempfile::tempdir().context("could not create a temporary folder; check TMPDIR")?;
    let repository = folder.path().join("sample");
    let (base, head) =
        simulator::repository::build_repository(&repository, &base_files()?, &head_files()?)
            .await
            .context("could not build the sample repository; is git installed?")?;
    let repository = tokio::fs::canonicalize(&repository)
        .await
        .context("could not find the sample repository")?;
    let agents = options
        .agents
        .unwrap_or_else(|| CONTROLS.iter().map(|&agent| agent.to_owned()).collect());
    let request = json!({
        "repo": repository,
        "base": base,
        "head": head,
        "agents": agents,
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
    // A control that misses its expected result is a defect of the instrument.
    let checked = self_check::check(&evaluated.document);
    for miss in &checked.misses {
        print_error(&format!("the instrument is broken: {miss}"));
    }
    if !checked.misses.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if checked.controls == 0 {
        // Without controls this is an ordinary evaluation.
        return Ok(evaluated.exit_code());
    }
    let verdict = "all controls measured as expected";
    if !options.common.json {
        print(verdict);
    } else if !options.common.quiet {
        print_error(verdict);
    }
    Ok(ExitCode::SUCCESS)
}
