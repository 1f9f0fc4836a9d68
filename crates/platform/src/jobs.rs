//! Units of work: what there is to do, and putting it into the ledger.

mod attempts;
mod rows;
pub mod ledger;
pub mod sweeper;

use std::collections::HashMap;

use domain::vocabulary::{JobKind, JobState};
use entity::{DeliveryId, JobId, RunId, TaskId, job};
use sea_orm::sea_query::{Expr, InsertStatement, OnConflict, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, RuntimeErr,
};
use serde::{Deserialize, Serialize};

use crate::database::clock;
use crate::jobs::ledger::LedgerSettings;

/// One unit of work. Stored as JSON: ids only; a variant is never renamed, a field is only added
/// with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    PrepareTask {
        task: TaskId,
    },
    RunAgent {
        task: TaskId,
        run: RunId,
        agent: String,
    },
    JudgeRun {
        task: TaskId,
        run: RunId,
    },
    FinishTask {
        task: TaskId,
    },
    /// Judges a finished task again, under this number.
    JudgeTask {
        task: TaskId,
        judging: i32,
    },
    /// Tells a webhook that a task ended.
    DeliverWebhook {
        task: TaskId,
        delivery: DeliveryId,
    },
}

/// Work that follows the end of a task: it is no part of what a task is to do until then, and goes on
/// when the task begins again.
pub const AFTERWARDS: [JobKind; 2] = [JobKind::JudgeTask, JobKind::DeliverWebhook];

/// The queue of messages to webhooks.
const WEBHOOKS: &str = "webhook";
/// Attempts per message to a webhook. With waits that grow fourfold from ten seconds, the last is
/// about fifteen hours after the first.
const WEBHOOK_ATTEMPTS: i32 = 8;

impl Work {
    /// The queue that it waits in. `control-lossy:0.5` waits in `run:control-lossy`.
    pub fn queue(&self) -> String {
        match self {
            Self::PrepareTask { .. } => "prepare".to_owned(),
            Self::RunAgent { agent, .. } => {
                format!("run:{}", agent.split(':').next().unwrap_or(agent))
            }
            Self::JudgeRun { .. } | Self::JudgeTask { .. } => "judge".to_owned(),
            Self::FinishTask { .. } => "finish".to_owned(),
            Self::DeliverWebhook { .. } => WEBHOOKS.to_owned(),
        }
    }

    /// The stage that it is.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::PrepareTask { .. } => JobKind::PrepareTask,
            Self::RunAgent { .. } => JobKind::RunAgent,
            Self::JudgeRun { .. } => JobKind::JudgeRun,
            Self::FinishTask { .. } => JobKind::FinishTask,
            Self::JudgeTask { .. } => JobKind::JudgeTask,
            Self::DeliverWebhook { .. } => JobKind::DeliverWebhook,
        }
    }

    /// The task that it is part of.
    pub fn task(&self) -> TaskId {
        match self {
            Self::PrepareTask { task }
            | Self::RunAgent { task, .. }
            | Self::JudgeRun { task, .. }
            | Self::FinishTask { task }
            | Self::JudgeTask { task, .. }
            | Self::DeliverWebhook { task, .. } => *task,
        }
    }

    /// The run that it is part of, if it is not about the whole task.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::RunAgent { run, .. } | Self::JudgeRun { run, .. } => Some(*run),
            Self::PrepareTask { .. }
            | Self::FinishTask { .. }
            | Self::JudgeTask { .. }
            | Self::DeliverWebhook { .. } => None,
        }
    }

    /// What makes a second copy of the same work impossible.
    pub fn key(&self) -> String {
        match self {
            Self::PrepareTask { task } => format!("prepare:{task}"),
            Self::RunAgent { run, .. } => format!("run:{run}"),
            Self::JudgeRun { run, .. } => format!("judge:{run}"),
            Self::FinishTask { task } => format!("finish:{task}"),
            Self::JudgeTask { task, judging } => format!("judge:{task}:{judging}"),
            Self::DeliverWebhook { delivery, .. } => format!("webhook:{delivery}"),
        }
    }
}

/// What a doorbell carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ring {
    pub queue: String,
    pub job_id: JobId,
    /// The job's epoch when the bell was rung; a claim under another one is refused.
    pub epoch: i64,
}

/// Puts work into the ledger, in the caller's transaction. Ring the bell after the commit. Work
/// that is already there is not added again (and gives its ring all the same).
pub async fn enqueue(connection: &impl ConnectionTrait, work: &Work) -> Result<Ring, DbErr> {
    let mut rings = enqueue_all(connection, std::slice::from_ref(work)).await?;
    rings.pop().ok_or_else(|| DbErr::RecordNotInserted)
}

/// What puts the first work of a task into the ledger that is made together with it, and its ring.
pub fn first(
    connection: &impl ConnectionTrait,
    work: &Work,
) -> Result<(InsertStatement, Ring), DbErr> {
    let ring = Ring {
        queue: work.queue(),
        job_id: JobId::new(),
        epoch: 0,
    };
    let mut insert = into_ledger();
    add(&mut insert, connection, work, ring.job_id)?;
    Ok((insert, ring))
}

/// Like [`enqueue`], for many at once; the rings are in the order of the works.
pub async fn enqueue_all(
    connection: &impl ConnectionTrait,
    works: &[Work],
) -> Result<Vec<Ring>, DbErr> {
    let mut rings = Vec::with_capacity(works.len());
    for works in works.chunks(AT_ONCE) {
        let mut found = insert(connection, works).await?;
        if found.len() < works.len() {
            let there = job::Entity::find()
                .filter(job::Column::WorkKey.is_in(works.iter().map(Work::key)))
                .all(connection)
                .await?;
            for job in there {
                let ring = Ring {
                    queue: job.queue,
                    job_id: job.id,
                    epoch: job.epoch,
                };
                found.insert(job.work_key, ring);
            }
        }
        for work in works {
            let ring = found.get(&work.key()).ok_or(DbErr::RecordNotInserted)?;
            rings.push(ring.clone());
        }
    }
    Ok(rings)
}

/// How many rows one statement writes; engines limit how many values it may carry.
const AT_ONCE: usize = 500;

/// Adds what is not there yet, and returns its rings by key.
async fn insert(
    connection: &impl ConnectionTrait,
    works: &[Work],
) -> Result<HashMap<String, Ring>, DbErr> {
    let mut insert = into_ledger();
    for work in works {
        add(&mut insert, connection, work, JobId::new())?;
    }
    insert.on_conflict(
        OnConflict::column(job::Column::WorkKey)
            .do_nothing()
            .to_owned(),
    );
    insert.returning(Query::returning().columns([
        job::Column::WorkKey,
        job::Column::Queue,
        job::Column::Id,
        job::Column::Epoch,
    ]));
    let mut rings = HashMap::with_capacity(works.len());
    for row in connection.query_all(&insert).await? {
        let ring = Ring {
            queue: row.try_get_by_index(1)?,
            job_id: row.try_get_by_index(2)?,
            epoch: row.try_get_by_index(3)?,
        };
        rings.insert(row.try_get_by_index(0)?, ring);
    }
    Ok(rings)
}

fn into_ledger() -> InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(job::Entity).columns([
        job::Column::Id,
        job::Column::TaskId,
        job::Column::RunId,
        job::Column::Kind,
        job::Column::Queue,
        job::Column::WorkKey,
        job::Column::Work,
        job::Column::State,
        job::Column::Attempt,
        job::Column::MaxAttempts,
        job::Column::Epoch,
        job::Column::AvailableAt,
        job::Column::RungAt,
        job::Column::CancelRequested,
        job::Column::CreatedAt,
        job::Column::UpdatedAt,
    ]);
    insert
}

/// Adds the row of a job.
fn add(
    insert: &mut InsertStatement,
    connection: &impl ConnectionTrait,
    work: &Work,
    id: JobId,
) -> Result<(), DbErr> {
    let stored = serde_json::to_value(work).map_err(|error| DbErr::Json(error.to_string()))?;
    let now = || clock::now(connection);
    insert
        .values([
            Expr::val(id),
            Expr::val(work.task()),
            Expr::val(work.run()),
            Expr::val(work.kind()),
            Expr::val(work.queue()),
            Expr::val(work.key()),
            Expr::val(stored),
            Expr::val(JobState::Queued),
            Expr::val(0),
            Expr::val(LedgerSettings::default().max_attempts),
            Expr::val(0_i64),
            now(),
            // The caller rings after the commit; the sweeper waits a little for that.
            now(),
            Expr::val(false),
            now(),
            now(),
        ])
        .map_err(|error| DbErr::Query(RuntimeErr::Internal(error.to_string())))?;
    Ok(())
}
