//! `worker`: runs a worker until it is stopped.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use platform::connect::{Platform, PlatformSettings};
use platform::settings::{self, Environment, Reader};
use platform::telemetry::{self, TelemetrySettings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use worker::settings::WorkerSettings;

/// Works on the jobs of Memory-Break Orchestrator. Settings come from the environment (see
/// .env.example); options given here take precedence.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
struct Options {
    /// Queues to serve, comma-separated (`prepare`, `run:claude`, `judge`, `finish`).
    #[arg(long, value_delimiter = ',')]
    queues: Option<Vec<String>>,
    /// Number of jobs at once.
    #[arg(long)]
    slots: Option<std::num::NonZeroU16>,
    /// Write logs as JSON lines.
    #[arg(long)]
    json_logs: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|first| first == agents::control::SUBCOMMAND)
    {
        return Ok(agents::control::program::main(args));
    }
    let file = settings::file::load();
    let options = Options::parse();
    file?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(run(options))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(options: Options) -> anyhow::Result<()> {
    let source = Environment;
    let mut reader = Reader::new(&source);
    let mut telemetry = TelemetrySettings::read(&mut reader);
    let platform = PlatformSettings::read(&mut reader);
    let mut settings = WorkerSettings::read(&mut reader);
    if let Some(queues) = options.queues {
        settings.queues = queues;
    }
    if let Some(slots) = options.slots {
        settings.slots = usize::from(slots.get());
    }
    telemetry.json |= options.json_logs;
    let (telemetry, platform, settings) = reader
        .finish((telemetry, platform, settings))
        .map_err(|errors| anyhow::anyhow!(lines(&errors)))?;
    telemetry::init(&telemetry)?;

    let mut platform = platform;
    platform.secrets.extend(settings.agents.secrets());
    let platform = Platform::connect(&platform).await?;
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    let setup = settings.agents.setup().context("finding this executable")?;
    worker::run(settings, platform, agents::adapters::all(&setup), stop).await?;
    Ok(())
}

/// Returns every bad setting on its own line.
fn lines(errors: &platform::settings::SettingErrors) -> String {
    let problems: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    format!("{errors}:\n  {}", problems.join("\n  "))
}

/// Stops at SIGTERM or SIGINT. A second signal ends the process at once.
fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}
