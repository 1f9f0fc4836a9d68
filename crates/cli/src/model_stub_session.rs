//! An evaluation whose agents use a model stub instead of their providers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use agents::adapters::{self, VARIABLES};
use agents::control::key::AnswerKey;
use anyhow::Context as _;
use futures::FutureExt as _;
use platform::connect::Platform;
use simulator::model_stub::{Keep, KeySource, ModelStub, Rules};
use tokio::sync::OnceCell;

use crate::all_in_one::Settings;
use crate::usage_error::UsageError;

/// Options of the model stub.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StubOptions {
    /// Let the agents' programs use a local model stub instead of a model. It needs no key and
    /// costs nothing. The stub answers only from the content of each request, so the result
    /// measures what the *program* forgets.
    #[arg(long)]
    model_stub: bool,
    /// Content that the stub's summaries keep: everything, nothing, or a share.
    #[arg(long, default_value = "0.5", value_parser = crate::model_stub::keep, requires = "model_stub")]
    stub_keep: Keep,
    /// Write every request of the programs to this file as JSON lines.
    #[arg(long, value_name = "FILE", requires = "model_stub")]
    stub_record: Option<PathBuf>,
}

/// Model stub of one evaluation.
pub(crate) struct StubSession {
    stub: ModelStub,
    key: Arc<TaskKey>,
    record: Option<PathBuf>,
}

/// Answer key of the only task, once the task exists.
#[derive(Default)]
struct TaskKey {
    platform: OnceLock<Platform>,
    key: OnceCell<AnswerKey>,
}

impl TaskKey {
    async fn get(&self) -> Option<AnswerKey> {
        let found = self.key.get_or_try_init(|| async { self.find().await });
        found.await.ok().cloned()
    }

    async fn find(&self) -> Result<AnswerKey, ()> {
        let platform = self.platform.get().ok_or(())?;
        let key = worker::answer_key(platform).await;
        key.map_err(|_| ())?.ok_or(())
    }
}

impl StubSession {
    /// Starts a stub if the options ask for one.
    pub(crate) async fn start(options: &StubOptions) -> anyhow::Result<Option<Self>> {
        if !options.model_stub {
            return Ok(None);
        }
        if let Some(path) = &options.stub_record {
            // Checks early that the file can be written. Its content is not touched until the end.
            tokio::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .await
                .with_context(|| UsageError(format!("--stub-record {}", path.display())))?;
        }
        let key = Arc::<TaskKey>::default();
        let asked = Arc::clone(&key);
        let provider = Arc::new(move || {
            let asked = Arc::clone(&asked);
            async move { asked.get().await }.boxed()
        });
        let rules = Rules {
            key: KeySource::Provider(provider),
            keep: options.stub_keep,
        };
        let stub = ModelStub::start(rules)
            .await
            .context("could not start the model stub")?;
        Ok(Some(Self {
            stub,
            key,
            record: options.stub_record.clone(),
        }))
    }

    /// Returns the variables that replace the environment's keys and addresses: no key or address
    /// of a real provider, and no proxy for this machine.
    pub(crate) fn environment(
        &self,
        settings: &Settings,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let setup = settings.worker.agents.setup();
        let adapters = adapters::all(&setup.context("could not find the path of this program")?);
        let endpoint = self.stub.endpoint();
        let mut environment: BTreeMap<String, String> = VARIABLES
            .iter()
            .map(|name| ((*name).to_owned(), String::new()))
            .collect();
        for adapter in adapters {
            environment.extend(adapter.endpoint_environment(&endpoint).unwrap_or_default());
        }
        Ok(environment)
    }

    /// Sets the platform that stores the task.
    pub(crate) fn serve(&self, platform: &Platform) {
        // An evaluation has one platform.
        let _ = self.key.platform.set(platform.clone());
    }

    /// Writes the record of requests if it was requested.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let Some(path) = &self.record else {
            return Ok(());
        };
        write(path, &self.stub).await
    }
}

async fn write(path: &Path, stub: &ModelStub) -> anyhow::Result<()> {
    let mut lines = String::new();
    for request in stub.requests() {
        lines.push_str(
            &serde_json::to_string(&request).context("could not write a request as JSON")?,
        );
        lines.push('\n');
    }
    tokio::fs::write(path, lines)
        .await
        .with_context(|| format!("writing {}", path.display()))
}
