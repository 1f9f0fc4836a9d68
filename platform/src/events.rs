//! The event log of a task: appended in order, read by number, watched by wake-up.
//!
//! [`Event`] is stored and is what SSE clients see: it only grows.

pub mod redis_waker;

use async_trait::async_trait;
use entity::status::Level;
use entity::{RunId, TaskId, task_event};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::redaction::Redactor;

/// What can happen to a task. The tag is the event's kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    TaskCreated {
        agents: Vec<String>,
        trials: u32,
    },
    TaskStarted {},
    /// A stage of preparing: `resolve`, `fetch`, `diff`, `probes`.
    Progress {
        stage: String,
        message: String,
        percent: Option<u8>,
    },
    FilesDropped {
        count: usize,
        reasons: Vec<String>,
    },
    ProbesMade {
        counts: std::collections::BTreeMap<String, usize>,
        hash: String,
    },
    RunQueued {
        agent: String,
        trial: u32,
    },
    RunStarted {
        agent: String,
        trial: u32,
        attempt: u32,
    },
    RunResumed {
        agent: String,
        trial: u32,
        attempt: u32,
        from: String,
    },
    PhaseStarted {
        agent: String,
        trial: u32,
        phase: String,
    },
    PhaseDone {
        agent: String,
        trial: u32,
        phase: String,
        duration_ms: u64,
    },
    /// A turn of study or deep dive is over.
    Turn {
        agent: String,
        trial: u32,
        turn: u32,
        context: Option<u64>,
        window: Option<u64>,
    },
    ToolCalled {
        agent: String,
        trial: u32,
        tool: String,
        target: String,
        sealed: bool,
    },
    BreakSeen {
        agent: String,
        trial: u32,
        trigger: String,
        tokens_before: Option<u64>,
        tokens_after: Option<u64>,
    },
    NoBreak {
        agent: String,
        trial: u32,
        why: String,
    },
    SealBroken {
        agent: String,
        trial: u32,
        tool: String,
    },
    /// So many probes of an arm are answered.
    Answered {
        agent: String,
        trial: u32,
        arm: String,
        done: usize,
        of: usize,
    },
    Retry {
        agent: String,
        trial: u32,
        message: String,
    },
    RunJudged {
        agent: String,
        trial: u32,
        overall_score: Option<f64>,
        passed: Option<bool>,
    },
    RunDone {
        agent: String,
        trial: u32,
        status: String,
    },
    RunFailed {
        agent: String,
        trial: u32,
        cause: String,
        message: String,
        will_retry: bool,
    },
    CancelRequested {
        by: Option<String>,
    },
    /// The last event of a task.
    Completed {
        status: String,
        message: Option<String>,
    },
}

impl Event {
    /// The kind, as stored and as named in SSE.
    pub fn kind(&self) -> &'static str {
        "todo"
    }

    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Completed { .. })
    }
}

/// An event that is to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub run: Option<RunId>,
    pub level: Level,
    pub event: Event,
}

/// Appends events of one task, in order, redacted. Numbers them by the task's counter, whose row
/// it locks until the commit: events are seen in the order of their numbers. Wake the readers
/// after the commit.
pub async fn append(
    _transaction: &impl ConnectionTrait,
    _task: TaskId,
    _events: &[NewEvent],
    _redactor: &Redactor,
) -> Result<(), DbErr> {
    Ok(())
}

/// At most `limit` events of a task after number `after`, oldest first.
pub async fn read_after(
    _database: &DatabaseConnection,
    _task: TaskId,
    _after: i64,
    _limit: u64,
) -> Result<Vec<task_event::Model>, DbErr> {
    Ok(Vec::new())
}

/// Tells readers that a task has new events. Carries no events; may lose a wake-up, so readers
/// also look once a second.
#[async_trait]
pub trait Waker: Send + Sync + 'static {
    /// Wakes the readers of a task, in every process that can be reached. Never fails.
    async fn wake(&self, task: TaskId);

    /// Hears of every task that has new events.
    fn subscribe(&self) -> broadcast::Receiver<TaskId>;
}
