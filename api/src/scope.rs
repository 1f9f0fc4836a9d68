//! The only doors to rows: a task through its organisation, everything else through a task that
//! was found that way. `clippy.toml` of this crate forbids every other way in.

use entity::status::JobState;
use entity::{TaskId, agent_run, artifact, job, judging, score, task, task_event, worker};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, DatabaseConnection, EntityTrait, JoinType, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, RelationTrait, Select,
};

use crate::caller::Caller;
use crate::error::ApiError;
use crate::fields;

/// How long a worker that was not heard of counts as alive.
const ALIVE: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// The task that a part of a path names.
pub(crate) async fn task(
    database: &DatabaseConnection,
    caller: &Caller,
    id: &str,
) -> Result<task::Model, ApiError> {
    let id: TaskId = fields::id(id)?;
    task::Entity::visible_to(&caller.org)
        .filter(task::Column::Id.eq(id))
        .one(database)
        .await
        .map_err(ApiError::database("finding a task"))?
        .ok_or_else(ApiError::no_task)
}

/// The runs of a task, by agent and trial.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn runs_of(task: &task::Model) -> Select<agent_run::Entity> {
    agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task.id))
        .order_by_asc(agent_run::Column::Agent)
        .order_by_asc(agent_run::Column::Trial)
}

/// The scores of all runs of a task: of their first break, and of the judging that is shown.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn scores_of(task: &task::Model) -> Select<score::Entity> {
    score::Entity::find()
        .inner_join(agent_run::Entity)
        .filter(agent_run::Column::TaskId.eq(task.id))
        .filter(score::Column::Judging.eq(task.judging))
        .filter(score::Column::BreakIndex.eq(1))
}

/// The runs of all tasks that a caller may see.
#[expect(
    clippy::disallowed_methods,
    reason = "joined with the tasks of the caller's organisation"
)]
pub(crate) fn all_runs(caller: &Caller) -> Select<agent_run::Entity> {
    agent_run::Entity::find()
        .inner_join(task::Entity)
        .filter(task::Column::OrgId.eq(caller.org.as_str()))
}

/// The scores of the first break of runs, of the judging that is shown. The runs were found within
/// the caller's organisation.
#[expect(
    clippy::disallowed_methods,
    reason = "joined with the tasks of the caller's organisation"
)]
pub(crate) fn all_scores(caller: &Caller) -> Select<score::Entity> {
    score::Entity::find()
        .join(JoinType::InnerJoin, score::Relation::AgentRun.def())
        .join(JoinType::InnerJoin, agent_run::Relation::Task.def())
        .filter(task::Column::OrgId.eq(caller.org.as_str()))
        .filter(
            Expr::col((score::Entity, score::Column::Judging))
                .equals((task::Entity, task::Column::Judging)),
        )
        .filter(score::Column::BreakIndex.eq(1))
}

/// The judgings of a task, oldest first.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn judgings_of(task: &task::Model) -> Select<judging::Entity> {
    judging::Entity::find()
        .filter(judging::Column::TaskId.eq(task.id))
        .order_by_asc(judging::Column::Number)
}

/// The files of a task that a client may have. Names that begin with a dot are the workers' own.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn artifacts_of(task: &task::Model) -> Select<artifact::Entity> {
    artifact::Entity::find()
        .filter(artifact::Column::TaskId.eq(task.id))
        .filter(artifact::Column::Name.not_like(".%"))
        .order_by_asc(artifact::Column::CreatedAt)
        .order_by_asc(artifact::Column::Id)
}

/// Whether the last event of a task is the one that nothing comes after, and not after number
/// `after`.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) async fn has_completed(
    database: &DatabaseConnection,
    task: TaskId,
    after: i64,
) -> Result<bool, sea_orm::DbErr> {
    let last = task_event::Entity::find()
        .filter(task_event::Column::TaskId.eq(task))
        .order_by_desc(task_event::Column::Seq)
        .one(database)
        .await?;
    Ok(last.is_some_and(|last| last.kind == "completed" && last.seq <= after))
}

/// How many jobs of a task may still do something.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) async fn open_jobs(
    database: &DatabaseConnection,
    task: TaskId,
) -> Result<u64, sea_orm::DbErr> {
    job::Entity::find()
        .filter(job::Column::TaskId.eq(task))
        .filter(job::Column::State.is_in([JobState::Queued, JobState::Leased]))
        .count(database)
        .await
}

/// The workers that were heard of lately.
#[expect(
    clippy::disallowed_methods,
    reason = "workers belong to the installation, not to an organisation"
)]
pub(crate) fn live_workers() -> Select<worker::Entity> {
    worker::Entity::find()
        .filter(worker::Column::SeenAt.gt(chrono::Utc::now() - ALIVE))
        .order_by_asc(worker::Column::Name)
}

/// All jobs, for figures about the installation as a whole.
#[expect(
    clippy::disallowed_methods,
    reason = "only counts of the whole installation are made of it"
)]
pub(crate) fn jobs_of_all() -> Select<job::Entity> {
    job::Entity::find()
}
