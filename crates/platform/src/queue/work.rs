//! Units of work, and the notification that announces one.

use domain::vocabulary::JobKind;
use entity::{DeliveryId, JobId, RunId, TaskId};
use serde::{Deserialize, Serialize};

/// One unit of work, stored as JSON. It holds ids only. A variant is never renamed, and a field is
/// only added with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// Resolves the pull request and makes the probes.
    PrepareTask { task: TaskId },
    /// Takes one agent through all phases.
    RunAgent {
        task: TaskId,
        run: RunId,
        agent: String,
    },
    /// Grades and scores one run.
    JudgeRun { task: TaskId, run: RunId },
    /// Writes the results of a task and ends it.
    FinishTask { task: TaskId },
    /// Repeats the judging of a finished task, under this number.
    JudgeTask { task: TaskId, judging: i32 },
    /// Notifies a webhook of the end of a task.
    DeliverWebhook { task: TaskId, delivery: DeliveryId },
}

/// Kinds of jobs that follow the end of a task. They are not part of the task's own work, and they
/// continue when the task starts again.
pub const FOLLOW_UP_JOBS: [JobKind; 2] = [JobKind::JudgeTask, JobKind::DeliverWebhook];

/// Queue of webhook deliveries.
pub(super) const WEBHOOK_QUEUE: &str = "webhook";
/// Attempts per webhook delivery. With delays that grow fourfold from ten seconds, the last attempt
/// is about fifteen hours after the first.
pub(super) const WEBHOOK_ATTEMPTS: i32 = 8;

impl Work {
    /// Returns the name of the queue. `control-lossy:0.5` waits in `run:control-lossy`.
    pub fn queue(&self) -> String {
        match self {
            Self::PrepareTask { .. } => "prepare".to_owned(),
            Self::RunAgent { agent, .. } => {
                format!("run:{}", agent.split(':').next().unwrap_or(agent))
            }
            Self::JudgeRun { .. } | Self::JudgeTask { .. } => "judge".to_owned(),
            Self::FinishTask { .. } => "finish".to_owned(),
            Self::DeliverWebhook { .. } => WEBHOOK_QUEUE.to_owned(),
        }
    }

    /// Returns the kind of the job.
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

    /// Returns the task that the work belongs to.
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

    /// Returns the run that the work belongs to, or `None` if it is about the whole task.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::RunAgent { run, .. } | Self::JudgeRun { run, .. } => Some(*run),
            Self::PrepareTask { .. }
            | Self::FinishTask { .. }
            | Self::JudgeTask { .. }
            | Self::DeliverWebhook { .. } => None,
        }
    }

    /// Returns the unique key that prevents a second job for the same work.
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

/// Announces that a job waits in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notification {
    /// Name of the queue.
    pub queue: String,
    /// The job that waits.
    pub job_id: JobId,
    /// The job's epoch when the notification was sent. A claim under another epoch is refused.
    pub epoch: i64,
}
