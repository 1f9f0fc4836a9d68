//! The control agents, and tasks for them.

use std::sync::Arc;

use agents::adapter::AgentAdapter;
use agents::adapters::{self, Setup};
use agents::control::{ControlProgram, SUBCOMMAND};
use domain::vocabulary::Trigger;
use entity::TaskId;
use platform::queue::{Work, enqueue};
use testkit::builders;

use super::Installation;
use super::repository::Repository;

pub(crate) fn controls() -> Vec<Arc<dyn AgentAdapter>> {
    adapters::all(&Setup::with_control(ControlProgram {
        path: env!("CARGO_BIN_EXE_worker").into(),
        args: vec![SUBCOMMAND.into()],
        in_process: false,
    }))
}

/// Creates a task that waits for its preparation.
pub(crate) async fn task(
    installation: &Installation,
    repository: &Repository,
    agents: &[&str],
    trials: i32,
    trigger: Trigger,
) -> TaskId {
    let database = &installation.platform.database;
    let mut row = builders::task();
    row.source = serde_json::json!({
        "kind": "local",
        "path": repository.path,
        "base": repository.base,
        "head": repository.head,
    });
    row.agents = serde_json::json!(agents);
    row.trials = trials;
    row.trigger = trigger;
    row.pass_mark = 0.5;
    let id = builders::store(database, row).await.unwrap().id;
    for agent in agents {
        for trial in 1..=trials {
            builders::stored_run(database, id, agent, trial)
                .await
                .unwrap();
        }
    }
    let ring = enqueue(database, &Work::PrepareTask { task: id })
        .await
        .unwrap();
    installation
        .platform
        .notifier
        .notify(&[ring])
        .await
        .unwrap();
    id
}
