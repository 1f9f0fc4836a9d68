//! API and worker in one process.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use api::settings::ApiSettings;
use api::state::{ApiState, KnownAgent};
use platform::connect::{Platform, PlatformSettings};
use platform::settings::{Reader, SettingErrors, Source};
use platform::telemetry::TelemetrySettings;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::settings::WorkerSettings;

/// The settings of all parts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) telemetry: TelemetrySettings,
    pub(crate) platform: PlatformSettings,
    pub(crate) api: ApiSettings,
    pub(crate) worker: WorkerSettings,
}

impl Settings {
    /// Reads all of them; every bad one is told at once.
    pub(crate) fn read(source: &dyn Source) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(source);
        let settings = Self {
            telemetry: TelemetrySettings::read(&mut reader),
            platform: PlatformSettings::read(&mut reader),
            api: ApiSettings::read(&mut reader),
            worker: WorkerSettings::read(&mut reader),
        };
        let mut settings = reader.finish(settings)?;
        let agents = &settings.worker.agents;
        settings.platform.secrets.extend(agents.secrets());
        Ok(settings)
    }
}

/// Bad settings as one error, each on a line of its own.
pub(crate) fn settings_error(errors: &SettingErrors) -> anyhow::Error {
    let mut text = errors.to_string();
    for error in &errors.0 {
        text.push_str(&format!("\n  {error}"));
    }
    anyhow::anyhow!(text)
}

/// A running API and worker.
pub(crate) struct AllInOne {
    pub(crate) platform: Platform,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    working: JoinHandle<Result<(), worker::WorkerError>>,
}

impl AllInOne {
    /// Starts both. The API listens where its settings say; port 0 is any free one.
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Self> {
        let setup = settings.worker.agents.setup();
        let adapters = agents::adapters::all(&setup.context("finding this executable")?);
        let address = (settings.api.host.as_str(), settings.api.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
                " (does the service run already? else choose another PORT, or --port)"
            } else {
                ""
            };
            let doing = format!("listening on {}:{}{hint}", address.0, address.1);
            anyhow::Error::new(error).context(doing)
        })?;
        let address = listener
            .local_addr()
            .context("asking for the own address")?;
        settings.api.may_listen(address)?;
        let platform = Platform::connect(&settings.platform).await?;
        let state = ApiState {
            platform: platform.clone(),
            settings: Arc::new(settings.api),
            known_agents: adapters
                .iter()
                .map(|adapter| {
                    let profile = adapter.profile();
                    KnownAgent {
                        name: profile.name.clone(),
                        display_name: profile.display_name.clone(),
                        control: profile.control,
                        takes_model: profile.default_model.is_some(),
                    }
                })
                .collect(),
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn({
            let stop = stop.clone();
            api::serve(listener, state, async move { stop.cancelled().await })
        });
        let working = tokio::spawn(worker::run(
            settings.worker,
            platform.clone(),
            adapters,
            stop.clone(),
        ));
        Ok(Self {
            platform,
            address,
            stop,
            serving,
            working,
        })
    }

    /// A request's address.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until one of the two ends by itself, which neither should.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            ended = &mut self.serving => match ended {
                Ok(Ok(())) => anyhow::anyhow!("the API stopped by itself"),
                Ok(Err(error)) => anyhow::Error::new(error).context("serving the API"),
                Err(error) => anyhow::Error::new(error).context("the API broke"),
            },
            ended = &mut self.working => match ended {
                Ok(Ok(())) => anyhow::anyhow!("the worker stopped by itself"),
                Ok(Err(error)) => anyhow::Error::new(error).context("working"),
                Err(error) => anyhow::Error::new(error).context("the worker broke"),
            },
        }
    }

    /// Stops both, as gracefully as the worker's settings say.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.serving
            .await
            .context("the API broke")?
            .context("serving the API")?;
        self.working.await.context("the worker broke")??;
        Ok(())
    }
}
