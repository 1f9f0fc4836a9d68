//! `membreak serve`: runs the API and a worker in one process until it is stopped.

use std::process::ExitCode;

use anyhow::Context as _;
use platform::settings::Environment;
use tokio::signal::unix::{SignalKind, signal};

use crate::all_in_one::{AllInOne, Settings, settings_error};

/// All other settings are environment variables: see `.env.example`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Address to listen on, instead of HOST.
    #[arg(long)]
    host: Option<String>,
    /// Port, instead of PORT. 0 for a free port.
    #[arg(long)]
    port: Option<u16>,
    /// Jobs at the same time, instead of `WORKER_SLOTS`.
    #[arg(long)]
    slots: Option<std::num::NonZeroU16>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::read(&Environment).map_err(|errors| settings_error(&errors))?;
    if let Some(host) = options.host {
        settings.api.host = host;
    }
    if let Some(port) = options.port {
        settings.api.port = port;
    }
    if let Some(slots) = options.slots {
        settings.worker.slots = usize::from(slots.get());
    }
    platform::telemetry::init(&settings.telemetry)?;
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let mut embedded = AllInOne::start(settings).await?;
    tracing::info!(
        "listening at {}; the API documentation is at /docs",
        embedded.url("/")
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        error = embedded.failed() => return Err(error),
    }
    tracing::info!("stopping: running jobs are finished or released");
    tokio::select! {
        stopped = embedded.stop() => stopped.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
    }
}
