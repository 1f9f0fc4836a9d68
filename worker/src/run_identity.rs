//! Identity of a run in events.

use domain::vocabulary::Level;
use entity::{RunId, TaskId, agent_run};
use platform::events::{Event, NewEvent};

/// Identity of a run, as events contain it.
#[derive(Clone, Debug)]
pub(crate) struct RunIdentity {
    pub(crate) task: TaskId,
    pub(crate) run: RunId,
    pub(crate) agent: String,
    pub(crate) trial: u32,
}

impl RunIdentity {
    /// Returns an event of this run.
    pub(crate) fn event(&self, level: Level, event: Event) -> NewEvent {
        NewEvent {
            run: Some(self.run),
            level,
            event,
        }
    }
}

impl From<&agent_run::Model> for RunIdentity {
    fn from(run: &agent_run::Model) -> Self {
        Self {
            task: run.task_id,
            run: run.id,
            agent: run.agent.clone(),
            trial: u32::try_from(run.trial).unwrap_or_default(),
        }
    }
}
