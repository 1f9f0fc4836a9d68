//! Creating and cancelling tasks: one transaction each, then the bell.

use entity::TaskId;
use entity::status::{Dimension, Trigger};
use entity::task::{self, Source};
use platform::parts::Platform;
use sea_orm::DbErr;

/// A task that is to be created; checked by whoever makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    pub org_id: String,
    pub created_by: Option<String>,
    pub pr_url: String,
    pub repo: String,
    pub pr_number: Option<i64>,
    pub source: Source,
    /// As asked for. An agent named twice gets twice the trials.
    pub agents: Vec<String>,
    pub rubric: Vec<Dimension>,
    pub trials: u32,
    pub max_files: u32,
    pub seed: i64,
    pub trigger: Trigger,
    pub pass_mark: f64,
    pub target_context_tokens: Option<i64>,
}

/// Stores a task with its runs, its first job and its first events, then rings. A bell that cannot
/// be rung is no error: the sweeper rings again.
pub async fn create_task(_platform: &Platform, _new: NewTask) -> Result<task::Model, DbErr> {
    Err(DbErr::Custom("not yet".to_owned()))
}

/// What came of asking for a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    Yes,
    /// The task had already ended.
    TooLate,
    NoSuchTask,
}

/// Cancels a task: its queued jobs at once, its running ones by their workers within seconds.
pub async fn cancel_task(
    _platform: &Platform,
    _task: TaskId,
    _by: Option<String>,
) -> Result<Cancelled, DbErr> {
    Ok(Cancelled::NoSuchTask)
}
