//! The worker as jobs see it, and how they store results.
//!
//! Every transaction on behalf of a job begins with the fence of its lease ([`Worker::begin`]), so
//! a worker that lost its lease cannot change anything.

use std::sync::Arc;

use agents::adapter::AgentAdapter;
use agents::sandbox::Sandbox;
use bytes::Bytes;
use entity::{RunId, TaskId};
use platform::artifacts::{self, Staged};
use platform::connect::Platform;
use platform::queue::Notification;
use platform::queue::lease::Lease;
use platform::telemetry::chain;
use sea_orm::{DatabaseTransaction, TransactionTrait};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::job_error::JobError;
use crate::judges::battery::BatteryCache;
use crate::judges::judge::Judge;
use crate::runtime::agent_availability::AgentAvailability;
use crate::settings::WorkerSettings;

/// State that all jobs of a worker share.
pub(crate) struct Worker {
    pub(crate) settings: WorkerSettings,
    pub(crate) platform: Platform,
    pub(crate) adapters: Vec<Arc<dyn AgentAdapter>>,
    pub(crate) availability: AgentAvailability,
    pub(crate) judges: Vec<Box<dyn Judge>>,
    pub(crate) batteries: BatteryCache,
    /// Confinement of the agents' processes.
    pub(crate) sandbox: Sandbox,
}

/// A text to store as an artifact.
pub(crate) struct TextArtifact<'a> {
    pub(crate) name: &'a str,
    pub(crate) media_type: &'a str,
    pub(crate) text: &'a str,
}

/// A claimed job.
#[derive(Clone, Debug)]
pub(crate) struct ClaimedJob {
    pub(crate) lease: Lease,
    /// Token that is cancelled if a user cancels the job, the lease is lost, or the worker stops.
    pub(crate) cancel: CancellationToken,
}

impl Worker {
    /// Begins a transaction on behalf of a job. Its first statement is the fence of the lease.
    pub(crate) async fn begin(&self, job: &ClaimedJob) -> Result<DatabaseTransaction, JobError> {
        let transaction = self.platform.database.begin().await?;
        job.lease.fence(&transaction).await?;
        Ok(transaction)
    }

    /// Loads an artifact of a task or a run. Returns `None` if there is none of this name.
    pub(crate) async fn load_artifact(
        &self,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
    ) -> Result<Option<Bytes>, JobError> {
        match artifacts::find(&self.platform.database, task, run, name).await? {
            Some(artifact) => Ok(Some(self.platform.artifacts.get(&artifact).await?)),
            None => Ok(None),
        }
    }

    /// Stores texts of a task or a run, behind the fence: a worker that lost its lease replaces
    /// nothing.
    pub(crate) async fn store_texts(
        &self,
        job: &ClaimedJob,
        run: Option<RunId>,
        texts: &[TextArtifact<'_>],
    ) -> Result<(), JobError> {
        let (store, task) = (&self.platform.artifacts, job.lease.task_id);
        let mut staged = Vec::with_capacity(texts.len());
        for text in texts {
            let TextArtifact {
                name,
                media_type,
                text,
            } = text;
            staged.push(store.stage_text(task, run, name, media_type, text).await?);
        }
        self.record_artifacts(job, &staged).await
    }

    /// Stores bytes that only workers read, behind the fence.
    pub(crate) async fn store_private(
        &self,
        job: &ClaimedJob,
        run: Option<RunId>,
        name: &str,
        bytes: Bytes,
    ) -> Result<(), JobError> {
        let (store, task) = (&self.platform.artifacts, job.lease.task_id);
        let staged = store.stage_private(task, run, name, bytes).await?;
        self.record_artifacts(job, &[staged]).await
    }

    /// Stores bytes from which the caller has removed all secrets, behind the fence.
    pub(crate) async fn store_redacted(
        &self,
        job: &ClaimedJob,
        run: Option<RunId>,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), JobError> {
        let (store, task) = (&self.platform.artifacts, job.lease.task_id);
        let staged = store
            .stage_redacted(task, run, name, media_type, bytes)
            .await?;
        self.record_artifacts(job, &[staged]).await
    }

    async fn record_artifacts(&self, job: &ClaimedJob, staged: &[Staged]) -> Result<(), JobError> {
        let store = &self.platform.artifacts;
        let mut replaced = Vec::with_capacity(staged.len());
        let transaction = self.begin(job).await?;
        for staged in staged {
            replaced.push(store.record(&transaction, staged).await?.1);
        }
        transaction.commit().await?;
        for replaced in replaced {
            store.discard(replaced).await;
        }
        Ok(())
    }

    /// Notifies the readers of a task's events, and workers about new jobs. It is called after a
    /// commit and cannot fail work that is already stored.
    pub(crate) async fn notify(&self, task: TaskId, notifications: &[Notification]) {
        self.platform.event_notifier.notify(task).await;
        if notifications.is_empty() {
            return;
        }
        if let Err(error) = self.platform.notifier.notify(notifications).await {
            warn!(task.id = %task, error = chain(&error), "could not notify workers; they will find the jobs by polling");
        }
    }
}
