//! An evaluation whose agents ask a model stub instead of their providers.

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

/// How the models are replaced.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StubOptions {
    /// Let the real programs ask a stub on this machine instead of a model: needs no key, costs
    /// nothing, and measures what the *program* forgets. The stub answers from what stands in each
    /// request, and from nothing else.
    #[arg(long)]
    model_stub: bool,
    /// What the stub's summaries keep at a compaction: everything, nothing, or a share.
    #[arg(long, default_value = "0.5", value_parser = crate::model_stub::keep, requires = "model_stub")]
    stub_keep: Keep,
    /// Write every request that the programs made to this file, as JSON lines.
    #[arg(long, value_name = "FILE", requires = "model_stub")]
    stub_record: Option<PathBuf>,
}

/// A stub for one evaluation.
pub(crate) struct StubSession {
    stub: ModelStub,
    key: Arc<TaskKey>,
    record: Option<PathBuf>,
}

/// The answer key of the only task, as soon as there is one.
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
    /// Starts a stub, where one is asked for.
    pub(crate) async fn start(options: &StubOptions) -> anyhow::Result<Option<Self>> {
        if !options.model_stub {
            return Ok(None);
        }
        if let Some(path) = &options.stub_record {
            // Not found out when everything is done; what stands there stays until then.
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
            .context("starting the model stub")?;
        Ok(Some(Self {
            stub,
            key,
            record: options.stub_record.clone(),
        }))
    }

    /// What the programs get instead of the environment's keys and addresses: nothing that belongs
    /// to a real provider, and no proxy on the way to this machine.
    pub(crate) fn environment(
        &self,
        settings: &Settings,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let setup = settings.worker.agents.setup();
        let adapters = adapters::all(&setup.context("finding this executable")?);
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

    /// Tells where the task is kept.
    pub(crate) fn serve(&self, platform: &Platform) {
        // There is one platform in an evaluation.
        let _ = self.key.platform.set(platform.clone());
    }

    /// Writes the record, if it is wanted.
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
        lines.push_str(&serde_json::to_string(&request).context("writing a request as JSON")?);
        lines.push('\n');
    }
    tokio::fs::write(path, lines)
        .await
        .with_context(|| format!("writing {}", path.display()))
}
