//! The API as a separate process.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use api::KnownAgent;
use api::settings::ApiSettings;
use api::state::ApiDependencies;
use clap::Parser;
use domain::shipped_agents;
use platform::connect::{Platform, PlatformSettings};
use platform::settings::{self, Environment, Reader};
use platform::telemetry::TelemetrySettings;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A request allocates on one thread and frees on another, over which the system's allocator waits
/// for itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// HTTP API of Memory-Break Orchestrator. Other settings are environment variables.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen, instead of HOST.
    #[arg(long)]
    host: Option<String>,
    /// The port, instead of PORT; 0 for any free one.
    #[arg(long)]
    port: Option<u16>,
}

struct Settings {
    telemetry: TelemetrySettings,
    platform: PlatformSettings,
    api: ApiSettings,
}

fn main() -> ExitCode {
    let file = settings::file::load();
    let arguments = Arguments::parse();
    match file.map_err(Into::into).and_then(|()| start(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "prints errors before the log starts and after it ends"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("api: {error:#}");
    if let Some(errors) = error.downcast_ref::<platform::settings::SettingErrors>() {
        for error in &errors.0 {
            eprintln!("  {error}");
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let settings = read_settings(arguments)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?
        .block_on(run(settings))
}

fn read_settings(arguments: Arguments) -> anyhow::Result<Settings> {
    let environment = Environment;
    let mut reader = Reader::new(&environment);
    let mut settings = Settings {
        telemetry: TelemetrySettings::read(&mut reader),
        platform: PlatformSettings::read(&mut reader),
        api: ApiSettings::read(&mut reader),
    };
    if let Some(host) = arguments.host {
        settings.api.host = host;
    }
    if let Some(port) = arguments.port {
        settings.api.port = port;
    }
    Ok(reader.finish(settings)?)
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    platform::telemetry::init(&settings.telemetry)?;
    if settings.platform.redis_url.is_none() {
        tracing::warn!("REDIS_URL is not set; workers find new tasks only by polling the database");
    }
    let address = (settings.api.host.as_str(), settings.api.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("could not listen on {}:{}", address.0, address.1))?;
    settings.api.may_listen(listener.local_addr()?)?;
    let platform = Platform::connect(&settings.platform).await?;
    let state = ApiDependencies {
        platform,
        settings: Arc::new(settings.api),
        known_agents: known_agents(),
    };
    api::serve(listener, state, stopped()?).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
fn stopped() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}

/// Agents that tasks can name before a worker has reported them.
fn known_agents() -> Arc<[KnownAgent]> {
    let known = |control| {
        move |(name, display_name): (&str, &str)| KnownAgent {
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            control,
            takes_model: !control,
        }
    };
    let programs = shipped_agents::PROGRAMS.into_iter().map(known(false));
    let controls = shipped_agents::CONTROLS.into_iter().map(known(true));
    programs.chain(controls).collect()
}
