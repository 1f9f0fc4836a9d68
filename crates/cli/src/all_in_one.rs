//! API and worker in one process.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use api::KnownAgent;
use api::settings::ApiSettings;
use api::state::ApiDependencies;
use platform::connect::{Platform, PlatformSettings};
use platform::settings::{Reader, SettingErrors, Source};
use platform::telemetry::TelemetrySettings;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::settings::WorkerSettings;

/// Settings of all parts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) telemetry: TelemetrySettings,
    pub(crate) platform: PlatformSettings,
    pub(crate) api: ApiSettings,
    pub(crate) worker: WorkerSettings,
}

impl Settings {
    /// Reads all settings and reports all problems at once.
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

/// Returns one error that lists each invalid setting on its own line.
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
    /// Starts both. Port 0 selects a free port.
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Self> {
        let setup = settings.worker.agents.setup();
        let adapters =
            agents::adapters::all(&setup.context("could not find the path of this program")?);
        let address = (settings.api.host.as_str(), settings.api.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
                ". Is the service running already? Otherwise choose another PORT or --port"
            } else {
                ""
            };
            let doing = format!("listening on {}:{}{hint}", address.0, address.1);
            anyhow::Error::new(error).context(doing)
        })?;
        let address = listener
            .local_addr()
            .context("could not read the address of the listener")?;
        settings.api.may_listen(address)?;
        let platform = Platform::connect(&settings.platform).await?;
        let state = ApiDependencies {
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

    /// Returns the URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until one of the two ends unexpectedly.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            ended = &mut self.serving => match ended {
                Ok(Ok(())) => anyhow::anyhow!("the API stopped unexpectedly"),
                Ok(Err(error)) => anyhow::Error::new(error).context("could not serve the API"),
                Err(error) => anyhow::Error::new(error).context("the API panicked"),
            },
            ended = &mut self.working => match ended {
                Ok(Ok(())) => anyhow::anyhow!("the worker stopped unexpectedly"),
                Ok(Err(error)) => anyhow::Error::new(error).context("the worker failed"),
                Err(error) => anyhow::Error::new(error).context("the worker panicked"),
            },
        }
    }

    /// Stops both. The worker first finishes its jobs within its drain time.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.serving
            .await
            .context("the API panicked")?
            .context("could not serve the API")?;
        self.working.await.context("the worker panicked")??;
        Ok(())
    }
}
