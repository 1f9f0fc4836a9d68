//! Identity of a run in events.

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
use source::SourceError;

/// Who a run is, for events.
#[derive(Clone, Debug)]
pub(crate) struct RunIdentity {
    pub(crate) task: TaskId,
    pub(crate) run: RunId,
    pub(crate) agent: String,
    pub(crate) trial: u32,
}

impl RunIdentity {
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
