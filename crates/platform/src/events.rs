//! The event log of a task: appended in order and read by number.
//!
//! [`Event`] is stored and sent to SSE clients. Kinds and fields are added, never removed.

use domain::vocabulary::Level;
use entity::{RunId, TaskId, task, task_event};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, ExprTrait as _, InsertStatement, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use serde::{Deserialize, Serialize};

use crate::database::clock;
use crate::redaction::Redactor;

/// An event of a task. The tag is the event's kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    TaskCreated {
        agents: Vec<String>,
        trials: u32,
    },
    TaskStarted {},
    /// Progress of the preparation: `resolve`, `fetch`, `diff`, `probes`.
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
    /// A turn of study or deep dive ended.
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
    /// Progress of an arm: number of answered probes.
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
    /// A finished task continues: runs without a measurement are retried.
    TaskRetried {
        by: Option<String>,
        runs: usize,
    },
    /// The last event of a task, unless the task is retried.
    Completed {
        status: String,
        message: Option<String>,
    },
}

impl Event {
    /// Returns the kind, as stored and as named in SSE.
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

    /// Returns whether this is the last event of a task.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Completed { .. })
    }
}

/// An event to append.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub run: Option<RunId>,
    pub level: Level,
    pub event: Event,
}

/// Rows per INSERT. Database engines limit the number of bound values.
const BATCH_ROWS: usize = 100;

/// Appends events of one task, in order and redacted. Notify the readers after the commit.
///
/// Numbers come from the task's counter, whose row is locked until the commit, so events become
/// visible in the order of their numbers. Call it last in a transaction, after jobs and runs are
/// locked.
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
        .ok_or_else(|| DbErr::RecordNotFound(format!("no task {task}")))?;
    let last: i64 = row.try_get_by_index(0)?;
    store(transaction, task, last - count, events, redactor).await
}

/// Returns the INSERTs of the first events of a new task, whose counter is the number of events.
/// Notify the readers after the commit.
pub fn first_events(
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
    let at = clock::host_now();
    let mut inserts = Vec::new();
    for events in events.chunks(BATCH_ROWS) {
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

/// Returns the event as it is stored: with its tag and redacted.
fn payload(event: &Event, redactor: &Redactor) -> Result<serde_json::Value, DbErr> {
    let mut payload =
        serde_json::to_value(event).map_err(|error| DbErr::Json(error.to_string()))?;
    if let serde_json::Value::Object(fields) = &mut payload {
        for (name, value) in fields {
            // The tag is never a secret, even if a secret has the same text.
            if name != "type" {
                redactor.redact_json(value);
            }
        }
    }
    Ok(payload)
}

/// Returns at most `limit` events of a task after number `after`, oldest first.
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
