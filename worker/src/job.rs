//! What every stage is given, and how it keeps what it finds.
//!
//! Every transaction on behalf of a job begins with the fence of its lease ([`Worker::begin`]), so
//! a worker that lost its lease cannot change anything any more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agents::adapter::AgentAdapter;
use agents::failure::Failure;
use agents::sandbox::Sandbox;
use bytes::Bytes;
use domain::vocabulary::{FailureCause, Level};
use entity::{RunId, TaskId, agent_run};
use platform::artifacts::{ArtifactError, Staged};
use platform::connect::Platform;
use platform::events::{Event, NewEvent};
use platform::queue::Notification;
use platform::queue::lease::{FenceError, Lease};
use platform::telemetry::chain;
use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::judges::{Judge, TriedJudges};
use crate::presence::Presences;
use crate::settings::WorkerSettings;
use source::SourceError;

/// What all stages share.
pub(crate) struct Worker {
    pub(crate) settings: WorkerSettings,
    pub(crate) platform: Platform,
    pub(crate) adapters: Vec<Arc<dyn AgentAdapter>>,
    pub(crate) presences: Presences,
    pub(crate) judges: Vec<Box<dyn Judge>>,
    pub(crate) tried_judges: TriedJudges,
    /// What agents' programs are confined by.
    pub(crate) sandbox: Sandbox,
}

/// A text to keep as an artifact.
pub(crate) struct Text<'a> {
    pub(crate) name: &'a str,
    pub(crate) media_type: &'a str,
    pub(crate) text: &'a str,
}

/// One claimed unit of work.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) lease: Lease,
    /// Cancelled when a user asked for it, the lease is lost, or the worker stops.
    pub(crate) cancel: CancellationToken,
}

/// Why a stage could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// Nothing may be written any more.
    #[error("the lease is lost")]
    LeaseLost,
    #[error("cancelled")]
    Cancelled,
    #[error("{message}")]
    Failed {
        cause: FailureCause,
        retry: Retry,
        message: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Whether another attempt may help, and when.
#[derive(Clone, Debug)]
pub(crate) enum Retry {
    Never,
    /// After the ledger's own wait.
    Soon,
    /// After this wait.
    After(Duration),
    /// As what failed asks for.
    As(Failure),
}

impl Retry {
    /// The least wait before the next attempt, after so many attempts; none: there is to be none.
    pub(crate) fn wait(&self, attempts: u32, unit: Duration) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Soon => Some(Duration::ZERO),
            Self::After(wait) => Some(*wait),
            Self::As(failure) => Some(failure.backoff(attempts, unit)),
        }
    }
}

impl Worker {
    /// Begins a transaction on behalf of a job.
    pub(crate) async fn begin(&self, job: &Job) -> Result<DatabaseTransaction, StageError> {
        let transaction = self.platform.database.begin().await?;
        job.lease.fence(&transaction).await?;
        Ok(transaction)
    }

    /// Keeps texts of a task or a run, behind the fence: a worker that lost its lease replaces
    /// nothing.
    pub(crate) async fn keep(
        &self,
        job: &Job,
        run: Option<RunId>,
        texts: &[Text<'_>],
    ) -> Result<(), StageError> {
        let (store, task) = (&self.platform.artifacts, job.lease.task_id);
        let mut staged = Vec::with_capacity(texts.len());
        for text in texts {
            let Text {
                name,
                media_type,
                text,
            } = text;
            staged.push(store.stage_text(task, run, name, media_type, text).await?);
        }
        self.record(job, &staged).await
    }

    /// Keeps bytes that nobody but a worker reads, behind the fence.
    pub(crate) async fn keep_private(
        &self,
        job: &Job,
        run: Option<RunId>,
        name: &str,
        bytes: Bytes,
    ) -> Result<(), StageError> {
        let (store, task) = (&self.platform.artifacts, job.lease.task_id);
        let staged = store.stage_private(task, run, name, bytes).await?;
        self.record(job, &[staged]).await
    }

    /// Keeps bytes out of which the caller has taken the secrets, behind the fence.
    pub(crate) async fn keep_redacted(
        &self,
        job: &Job,
        run: Option<RunId>,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), StageError> {
        let (store, task) = (&self.platform.artifacts, job.lease.task_id);
        let staged = store
            .stage_redacted(task, run, name, media_type, bytes)
            .await?;
        self.record(job, &[staged]).await
    }

    async fn record(&self, job: &Job, staged: &[Staged]) -> Result<(), StageError> {
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

    /// After a commit: wakes the readers of a task and rings for new work. Neither can fail the
    /// work that is already stored.
    pub(crate) async fn tell(&self, task: TaskId, rings: &[Notification]) {
        self.platform.event_notifier.notify(task).await;
        if rings.is_empty() {
            return;
        }
        if let Err(error) = self.platform.notifier.notify(rings).await {
            warn!(task.id = %task, error = chain(&error), "the bell cannot be rung, a sweep will");
        }
    }
}

impl StageError {
    /// A fault of the orchestrator that another attempt will meet again.
    pub(crate) fn harness(message: impl Into<String>) -> Self {
        Self::Failed {
            cause: FailureCause::Harness,
            retry: Retry::Never,
            message: message.into(),
            source: None,
        }
    }

    /// A limit was reached.
    pub(crate) fn budget(message: impl Into<String>) -> Self {
        Self::Failed {
            cause: FailureCause::Budget,
            retry: Retry::Never,
            message: message.into(),
            source: None,
        }
    }

    /// A fault of the orchestrator that may pass.
    pub(crate) fn passing(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            cause: FailureCause::Harness,
            retry: Retry::Soon,
            message: message.into(),
            source: Some(source.into()),
        }
    }
}

impl From<DbErr> for StageError {
    fn from(error: DbErr) -> Self {
        Self::passing("the database did not do what was asked", error)
    }
}

impl From<FenceError> for StageError {
    fn from(error: FenceError) -> Self {
        match error {
            FenceError::LeaseLost { .. } => Self::LeaseLost,
            FenceError::Database(error) => error.into(),
        }
    }
}

impl From<ArtifactError> for StageError {
    fn from(error: ArtifactError) -> Self {
        Self::passing("the artifact store did not do what was asked", error)
    }
}

impl From<prompts::PromptError> for StageError {
    fn from(error: prompts::PromptError) -> Self {
        Self::harness(chain(&error))
    }
}

impl From<serde_json::Error> for StageError {
    fn from(error: serde_json::Error) -> Self {
        Self::harness(format!("a stored document cannot be read: {error}"))
    }
}

impl From<SourceError> for StageError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Cancelled => Self::Cancelled,
            SourceError::Refused(message) => Self::harness(message),
            SourceError::Git { .. } | SourceError::TimedOut { .. } | SourceError::Io { .. } => {
                Self::passing("getting the source failed", error)
            }
        }
    }
}

/// Who a run is, for events.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) task: TaskId,
    pub(crate) run: RunId,
    pub(crate) agent: String,
    pub(crate) trial: u32,
}

impl Who {
    /// Of a row.
    pub(crate) fn of(run: &agent_run::Model) -> Self {
        Self {
            task: run.task_id,
            run: run.id,
            agent: run.agent.clone(),
            trial: u32::try_from(run.trial).unwrap_or_default(),
        }
    }

    /// An event of this run.
    pub(crate) fn event(&self, level: Level, event: Event) -> NewEvent {
        NewEvent {
            run: Some(self.run),
            level,
            event,
        }
    }
}

/// What went wrong with a path.
pub(crate) fn failed(doing: &str, path: &Path, error: std::io::Error) -> StageError {
    StageError::passing(format!("{doing} ({})", path.display()), error)
}
