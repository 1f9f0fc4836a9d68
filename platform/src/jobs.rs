//! Units of work: what there is to do, and putting it into the ledger.

pub mod ledger;
pub mod sweeper;

use entity::{JobId, RunId, TaskId};
use sea_orm::{ConnectionTrait, DbErr};
use serde::{Deserialize, Serialize};

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
}

impl Work {
    /// The queue that it waits in. `control-lossy:0.5` waits in `run:control-lossy`.
    pub fn queue(&self) -> String {
        match self {
            Self::PrepareTask { .. } => "prepare".to_owned(),
            Self::RunAgent { agent, .. } => {
                format!("run:{}", agent.split(':').next().unwrap_or(agent))
            }
            Self::JudgeRun { .. } => "judge".to_owned(),
            Self::FinishTask { .. } => "finish".to_owned(),
        }
    }

    /// What makes a second copy of the same work impossible.
    pub fn key(&self) -> String {
        match self {
            Self::PrepareTask { task } => format!("prepare:{task}"),
            Self::RunAgent { run, .. } => format!("run:{run}"),
            Self::JudgeRun { run, .. } => format!("judge:{run}"),
            Self::FinishTask { task } => format!("finish:{task}"),
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
pub async fn enqueue(_connection: &impl ConnectionTrait, _work: &Work) -> Result<Ring, DbErr> {
    Err(DbErr::Custom("not yet".to_owned()))
}
