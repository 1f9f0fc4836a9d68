//! The event log of a task: appended in order, read by number, watched by wake-up.
//!
//! [`Event`] is stored and is what SSE clients see: it only grows.

pub mod redis_waker;

use async_trait::async_trait;
use domain::vocabulary::Level;
use entity::{RunId, TaskId, task, task_event};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, ExprTrait as _, InsertStatement, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::database::clock;
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
    /// A task that had ended goes on: runs that gave no measurement are made again.
    TaskRetried {
        by: Option<String>,
        runs: usize,
    },
    /// The last event of a task, unless it is tried again.
    Completed {
        status: String,
        message: Option<String>,
    },
}

impl Event {
    /// The kind, as stored and as named in SSE.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TaskCreated { .. } => "task_created",
            Self::TaskStarted {} => "task_started",
            Self::Progress { .. } => "progress",
            Self::FilesDropped { .. } => "files_dropped",
            Self::ProbesMade { .. } => "probes_made",
            Self::RunQueued { .. } => "run_queued",
            Self::RunStarted { .. } => "run_started",
            Self::RunResumed { .. } => "run_resumed",
            Self::PhaseStarted { .. } => "phase_started",
            Self::PhaseDone { .. } => "phase_done",
            Self::Turn { .. } => "turn",
            Self::ToolCalled { .. } => "tool_called",
            Self::BreakSeen { .. } => "break_seen",
            Self::NoBreak { .. } => "no_break",
            Self::SealBroken { .. } => "seal_broken",
            Self::Answered { .. } => "answered",
            Self::Retry { .. } => "retry",
            Self::RunJudged { .. } => "run_judged",
            Self::RunDone { .. } => "run_done",
            Self::RunFailed { .. } => "run_failed",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::TaskRetried { .. } => "task_retried",
            Self::Completed { .. } => "completed",
        }
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

/// How many events one statement writes; engines limit how many values it may carry.
const AT_ONCE: usize = 100;

/// Appends events of one task, in order, redacted. Wake the readers after the commit.
///
/// Numbers them by the task's counter, whose row it locks until the commit: events are seen in the
/// order of their numbers. So it comes last in a transaction, after what locks jobs and runs.
pub async fn append(
    transaction: &impl ConnectionTrait,
    task: TaskId,
    events: &[NewEvent],
    redactor: &Redactor,
) -> Result<(), DbErr> {
    let Ok(count) = i64::try_from(events.len()) else {
        return Err(DbErr::RecordNotInserted);
    };
    if count == 0 {
        return Ok(());
    }
    let counter = Query::update()
        .table(task::Entity)
        .value(
            task::Column::EventSeq,
            Expr::col(task::Column::EventSeq).add(count),
        )
        .and_where(Expr::col(task::Column::Id).eq(task))
        .returning_col(task::Column::EventSeq)
        .take();
    let row = transaction
        .query_one(&counter)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound(format!("there is no task {task}")))?;
    let last: i64 = row.try_get_by_index(0)?;
    store(transaction, task, last - count, events, redactor).await
}

/// What stores the first events of a task that is made together with them, with their number as its
/// counter. Wake the readers after the commit.
pub fn first(
    task: TaskId,
    events: &[NewEvent],
    redactor: &Redactor,
) -> Result<Vec<InsertStatement>, DbErr> {
    inserts(task, 0, events, redactor)
}

async fn store(
    transaction: &impl ConnectionTrait,
    task: TaskId,
    seq: i64,
    events: &[NewEvent],
    redactor: &Redactor,
) -> Result<(), DbErr> {
    for insert in inserts(task, seq, events, redactor)? {
        transaction.execute(&insert).await?;
    }
    Ok(())
}

fn inserts(
    task: TaskId,
    mut seq: i64,
    events: &[NewEvent],
    redactor: &Redactor,
) -> Result<Vec<InsertStatement>, DbErr> {
    let at = clock::of_this_host();
    let mut inserts = Vec::new();
    for events in events.chunks(AT_ONCE) {
        let mut rows = Vec::with_capacity(events.len());
        for new in events {
            seq += 1;
            rows.push(task_event::ActiveModel {
                id: NotSet,
                task_id: Set(task),
                seq: Set(seq),
                run_id: Set(new.run),
                at: Set(at),
                kind: Set(new.event.kind().to_owned()),
                level: Set(new.level),
                payload: Set(payload(&new.event, redactor)?),
            });
        }
        inserts.push(task_event::Entity::insert_many(rows).into_query());
    }
    Ok(inserts)
}

/// The event as it is stored: all of it, tag included, without secrets.
fn payload(event: &Event, redactor: &Redactor) -> Result<serde_json::Value, DbErr> {
    let mut payload =
        serde_json::to_value(event).map_err(|error| DbErr::Json(error.to_string()))?;
    if let serde_json::Value::Object(fields) = &mut payload {
        for (name, value) in fields {
            // The tag is a word of ours, even if somebody's secret is the same word.
            if name != "type" {
                redactor.redact_json(value);
            }
        }
    }
    Ok(payload)
}

/// At most `limit` events of a task after number `after`, oldest first.
pub async fn read_after(
    database: &DatabaseConnection,
    task: TaskId,
    after: i64,
    limit: u64,
) -> Result<Vec<task_event::Model>, DbErr> {
    task_event::Entity::find()
        .filter(task_event::Column::TaskId.eq(task))
        .filter(task_event::Column::Seq.gt(after))
        .order_by_asc(task_event::Column::Seq)
        .limit(limit)
        .all(database)
        .await
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

/// Wakes the readers of this process only.
#[derive(Clone, Debug)]
pub struct LocalWaker {
    readers: broadcast::Sender<TaskId>,
}

impl LocalWaker {
    /// How many wake-ups a slow reader may be behind before it misses some.
    const BEHIND: usize = 1024;

    /// A waker without readers.
    pub fn new() -> Self {
        Self {
            readers: broadcast::Sender::new(Self::BEHIND),
        }
    }
}

impl Default for LocalWaker {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Waker for LocalWaker {
    async fn wake(&self, task: TaskId) {
        // An error means that nobody reads, which is nobody's problem.
        let _readers = self.readers.send(task);
    }

    fn subscribe(&self) -> broadcast::Receiver<TaskId> {
        self.readers.subscribe()
    }
}
