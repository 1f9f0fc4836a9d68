//! `membreak forge`: serves the sample pull request as a local forge.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::output::print;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Port on 127.0.0.1. 0 for a free port.
    #[arg(long, default_value_t = 9_418)]
    port: u16,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let forge = simulator::forge::Forge::start_on(options.port)
        .await
        .with_context(|| format!("starting a forge on port {}", options.port))?;
    forge
        .add_pull_request(
            "membreak",
            "sample",
            1,
            &simulator::demo::base_files()?,
            &simulator::demo::head_files()?,
        )
        .await
        .context("could not create the sample pull request")?;
    print(&format!(
        "pull request: {base}/membreak/sample/pull/1\nset for API and worker: FORGE_URLS={base} \
         FORGE_API_URL={api}\nstop with Ctrl-C",
        base = forge.base_url(),
        api = forge.api_url(),
    ));
    tokio::signal::ctrl_c()
        .await
        .context("could not wait for Ctrl-C")?;
    Ok(ExitCode::SUCCESS)
}
