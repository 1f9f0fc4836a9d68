//! One task, found by its id.

use std::sync::OnceLock;

use domain::vocabulary::TaskStatus;
use entity::{TaskId, task};
use sea_orm::{DbBackend, DerivePartialModel, FromQueryResult, PartialModelTrait};
use serde_json::Value;

use crate::task_view::TaskView;

/// What routes need to know of the task that they are about. A question bank or a report of the
/// generator can be megabytes.
#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "task::Entity")]
pub(crate) struct FoundTask {
    pub(crate) id: TaskId,
    pub(crate) status: TaskStatus,
    pub(crate) pr_url: String,
    pub(crate) repo: String,
    pub(crate) pr_number: Option<i64>,
    pub(crate) agents: Value,
    pub(crate) rubric: Value,
    pub(crate) seed: i64,
    pub(crate) pass_mark: f64,
    pub(crate) judging: i32,
    pub(crate) base_sha: Option<String>,
    pub(crate) head_sha: Option<String>,
    pub(crate) probe_set_hash: Option<String>,
}

/// Some columns of one task.
pub(crate) trait OfOneTask: PartialModelTrait + FromQueryResult {
    /// The statements that find them.
    fn texts() -> &'static Texts;
}

impl OfOneTask for FoundTask {
    fn texts() -> &'static Texts {
        static TEXTS: Texts = Texts::new();
        &TEXTS
    }
}

impl OfOneTask for TaskView {
    fn texts() -> &'static Texts {
        static TEXTS: Texts = Texts::new();
        &TEXTS
    }
}

/// The text of one statement, made once: to make it takes longer than to run it.
#[derive(Default)]
pub(crate) struct Texts([OnceLock<String>; 4]);

impl Texts {
    const fn new() -> Self {
        Self([const { OnceLock::new() }; 4])
    }

    /// The place of the text for a database, and for callers that belong to a team or to none.
    pub(crate) fn of(&self, backend: DbBackend, in_team: bool) -> &OnceLock<String> {
        let [postgres, postgres_team, other, other_team] = &self.0;
        match (backend, in_team) {
            (DbBackend::Postgres, false) => postgres,
            (DbBackend::Postgres, true) => postgres_team,
            (_, false) => other,
            (_, true) => other_team,
        }
    }
}
