//! Scoped access to rows: tasks through the caller's organisation, other rows through an accessible
//! task. `clippy.toml` of this crate forbids unscoped queries.

use std::sync::OnceLock;

use domain::vocabulary::{Arm, JobState, RunStatus, TaskStatus, Topic};
use entity::{
    RunId, TaskId, TokenId, agent_run, api_token, artifact, audit_event, job, judging, recall,
    score, task, task_event, webhook, webhook_delivery, worker,
};
use platform::queue::FOLLOW_UP_JOBS;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, Condition, DatabaseConnection, DbBackend, DbErr, DerivePartialModel, EntityTrait,
    FromQueryResult, JoinType, PaginatorTrait, PartialModelTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, RelationTrait, Select, Statement,
};
use serde_json::Value;

use crate::caller::Caller;
use crate::http::error::ApiError;
use crate::http::validation;

/// Time without a heartbeat after which a worker counts as dead.
const ALIVE: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// The tasks that a caller can access: those of its organisation and, if it has one, its team.
pub(crate) fn tasks(caller: &Caller) -> Select<task::Entity> {
    task::Entity::visible_to(&caller.org).filter(of_team(caller, task::Column::TeamId))
}

/// Restricts a query to the team of the caller, if it has one.
fn of_team(caller: &Caller, column: impl ColumnTrait) -> Condition {
    match &caller.team {
        Some(team) => Condition::all().add(column.eq(team.as_str())),
        None => Condition::all(),
    }
}

/// The task that a part of a path names.
pub(crate) async fn task(
    database: &DatabaseConnection,
    caller: &Caller,
    id: &str,
) -> Result<TaskSummary, ApiError> {
    task_as(database, caller, id).await
}

/// Other columns of that task.
pub(crate) async fn task_as<T: TaskColumns>(
    database: &DatabaseConnection,
    caller: &Caller,
    id: &str,
) -> Result<T, ApiError> {
    let id: TaskId = validation::id("task_id", id)?;
    let backend = database.get_database_backend();
    let text = T::texts()
        .of(backend, caller.team.is_some())
        .get_or_init(|| {
            let wanted = tasks(caller).filter(task::Column::Id.eq(id)).select_only();
            T::select_cols(wanted).build(backend).sql
        });
    // In the order of the filters above, which restrict callers to their own tasks.
    let mut values: Vec<sea_orm::Value> = vec![caller.org.as_str().into()];
    values.extend(caller.team.as_deref().map(sea_orm::Value::from));
    values.push(id.into());
    T::find_by_statement(Statement::from_sql_and_values(backend, text, values))
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
pub(crate) fn runs_of(task: &TaskSummary) -> Select<agent_run::Entity> {
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
pub(crate) fn scores_of(task: &TaskSummary) -> Select<score::Entity> {
    score::Entity::find()
        .inner_join(agent_run::Entity)
        .filter(agent_run::Column::TaskId.eq(task.id))
        .filter(score::Column::Judging.eq(task.judging))
        .filter(score::Column::BreakIndex.eq(1))
}

/// The runs of a task with their figures: a row per run and dimension, of the first break and of the
/// judging that is shown; a run without figures has one row.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn measured_runs_of(task: &TaskSummary) -> Select<agent_run::Entity> {
    let judging = task.judging;
    let shown = agent_run::Relation::Score
        .def()
        .on_condition(move |_, score| {
            Condition::all()
                .add(Expr::col((score.clone(), score::Column::Judging)).eq(judging))
                .add(Expr::col((score, score::Column::BreakIndex)).eq(1))
        });
    agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task.id))
        .join(JoinType::LeftJoin, shown)
        .order_by_asc(agent_run::Column::Agent)
        .order_by_asc(agent_run::Column::Trial)
}

/// The runs of all tasks that a caller can access.
#[expect(
    clippy::disallowed_methods,
    reason = "joined with the tasks of the caller's organisation"
)]
pub(crate) fn all_runs(caller: &Caller) -> Select<agent_run::Entity> {
    agent_run::Entity::find()
        .inner_join(task::Entity)
        .filter(task::Column::OrgId.eq(caller.org.as_str()))
        .filter(of_team(caller, task::Column::TeamId))
}

/// The scores of the first break and of the shown judging, for the tasks that a caller can access.
#[expect(
    clippy::disallowed_methods,
    reason = "joined with the tasks of the caller's organisation"
)]
pub(crate) fn all_scores(caller: &Caller) -> Select<score::Entity> {
    score::Entity::find()
        .join(JoinType::InnerJoin, score::Relation::AgentRun.def())
        .join(JoinType::InnerJoin, agent_run::Relation::Task.def())
        .filter(task::Column::OrgId.eq(caller.org.as_str()))
        .filter(of_team(caller, task::Column::TeamId))
        .filter(
            Expr::col((score::Entity, score::Column::Judging))
                .equals((task::Entity, task::Column::Judging)),
        )
        .filter(score::Column::BreakIndex.eq(1))
}

/// Free recall after the first break, by run and judge, of the shown judging and with its judges.
#[expect(
    clippy::disallowed_methods,
    reason = "joined with the tasks of the caller's organisation"
)]
pub(crate) fn all_recalls(caller: &Caller) -> Select<recall::Entity> {
    recall::Entity::find()
        .join(JoinType::InnerJoin, recall::Relation::AgentRun.def())
        .join(JoinType::InnerJoin, agent_run::Relation::Task.def())
        .join_rev(JoinType::InnerJoin, judging::Relation::Task.def())
        .filter(task::Column::OrgId.eq(caller.org.as_str()))
        .filter(of_team(caller, task::Column::TeamId))
        .filter(
            Expr::col((recall::Entity, recall::Column::Judging))
                .equals((task::Entity, task::Column::Judging)),
        )
        .filter(
            Expr::col((judging::Entity, judging::Column::Number))
                .equals((task::Entity, task::Column::Judging)),
        )
        .filter(recall::Column::Topic.eq(Topic::FreeRecall))
        .filter(recall::Column::Arm.eq(Arm::Post))
        .filter(recall::Column::BreakIndex.eq(1))
}

/// The judgings of a task, oldest first.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn judgings_of(task: &TaskSummary) -> Select<judging::Entity> {
    judging::Entity::find()
        .filter(judging::Column::TaskId.eq(task.id))
        .order_by_asc(judging::Column::Number)
}

/// All figures of one judging of a task, of all runs and breaks.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn scores_of_judging(task: &TaskSummary, number: i32) -> Select<score::Entity> {
    score::Entity::find()
        .inner_join(agent_run::Entity)
        .filter(agent_run::Column::TaskId.eq(task.id))
        .filter(score::Column::Judging.eq(number))
        .order_by_asc(score::Column::BreakIndex)
        .order_by_asc(score::Column::Dimension)
}

/// The free recalls and answers to open questions of one judging of a task, of all runs, breaks and judges.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn recalls_of_judging(task: &TaskSummary, number: i32) -> Select<recall::Entity> {
    recall::Entity::find()
        .inner_join(agent_run::Entity)
        .filter(agent_run::Column::TaskId.eq(task.id))
        .filter(recall::Column::Judging.eq(number))
        .order_by_asc(recall::Column::Topic)
        .order_by_asc(recall::Column::BreakIndex)
        .order_by_asc(recall::Column::Arm)
        .order_by_asc(recall::Column::Judge)
}

/// The files of a task that clients can access. Names that begin with a dot are internal to
/// workers.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) fn artifacts_of(task: &TaskSummary) -> Select<artifact::Entity> {
    artifact::Entity::find()
        .filter(artifact::Column::TaskId.eq(task.id))
        .filter(artifact::Column::Name.not_like(".%"))
        .order_by_asc(artifact::Column::CreatedAt)
        .order_by_asc(artifact::Column::Id)
}

/// The number and the kind of the newest event of a task.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) async fn newest_event(
    database: &DatabaseConnection,
    task: TaskId,
) -> Result<Option<(i64, String)>, DbErr> {
    task_event::Entity::find()
        .select_only()
        .columns([task_event::Column::Seq, task_event::Column::Kind])
        .filter(task_event::Column::TaskId.eq(task))
        .order_by_desc(task_event::Column::Seq)
        .limit(1)
        .into_tuple()
        .one(database)
        .await
}

/// The number of the newest event of some runs of a task; 0 if they have none.
#[expect(
    clippy::disallowed_methods,
    reason = "the task was found within the caller's organisation"
)]
pub(crate) async fn newest_event_of(
    database: &DatabaseConnection,
    task: TaskId,
    runs: &[RunId],
) -> Result<i64, DbErr> {
    let newest: Option<Option<i64>> = task_event::Entity::find()
        .select_only()
        .column_as(task_event::Column::Seq.max(), "newest")
        .filter(task_event::Column::TaskId.eq(task))
        .filter(task_event::Column::RunId.is_in(runs.iter().copied()))
        .into_tuple()
        .one(database)
        .await?;
    Ok(newest.flatten().unwrap_or_default())
}

/// Returns the number of open jobs of a task, without follow-up jobs.
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
        .filter(job::Column::Kind.is_not_in(FOLLOW_UP_JOBS))
        .count(database)
        .await
}

/// The workers with a recent heartbeat.
#[expect(
    clippy::disallowed_methods,
    reason = "workers belong to the installation"
)]
pub(crate) fn live_workers() -> Select<worker::Entity> {
    worker::Entity::find()
        .filter(worker::Column::SeenAt.gt(chrono::Utc::now() - ALIVE))
        .order_by_asc(worker::Column::Name)
}

/// All jobs, for figures about the installation as a whole.
#[expect(
    clippy::disallowed_methods,
    reason = "used only for counts of the whole installation"
)]
pub(crate) fn jobs_of_all() -> Select<job::Entity> {
    job::Entity::find()
}

/// The jobs of the tasks that a caller can access.
#[expect(
    clippy::disallowed_methods,
    reason = "joined with the tasks of the caller's organisation"
)]
pub(crate) fn jobs(caller: &Caller) -> Select<job::Entity> {
    job::Entity::find()
        .join(JoinType::InnerJoin, job::Relation::Task.def())
        .filter(task::Column::OrgId.eq(caller.org.as_str()))
        .filter(of_team(caller, task::Column::TeamId))
}

/// Returns the status and the number of events of some tasks, which their followers can access.
#[expect(
    clippy::disallowed_methods,
    reason = "the tasks were found within the organisations of their followers"
)]
pub(crate) async fn task_states(
    database: &DatabaseConnection,
    tasks: &[TaskId],
) -> Result<Vec<(TaskId, TaskStatus, i64)>, DbErr> {
    task::Entity::find()
        .select_only()
        .columns([
            task::Column::Id,
            task::Column::Status,
            task::Column::EventSeq,
        ])
        .filter(task::Column::Id.is_in(tasks.iter().copied()))
        .into_tuple()
        .all(database)
        .await
}

/// Returns the statuses of the runs of some tasks.
#[expect(
    clippy::disallowed_methods,
    reason = "the tasks were found within the organisations of their followers"
)]
pub(crate) async fn run_states(
    database: &DatabaseConnection,
    tasks: &[TaskId],
) -> Result<Vec<(TaskId, RunId, RunStatus)>, DbErr> {
    agent_run::Entity::find()
        .select_only()
        .columns([
            agent_run::Column::TaskId,
            agent_run::Column::Id,
            agent_run::Column::Status,
        ])
        .filter(agent_run::Column::TaskId.is_in(tasks.iter().copied()))
        .into_tuple()
        .all(database)
        .await
}

/// A token by its id. The token itself determines the access of its bearer.
#[expect(
    clippy::disallowed_methods,
    reason = "the token identifies its caller; its secret is verified afterwards"
)]
pub(crate) fn token_by_id(id: TokenId) -> Select<api_token::Entity> {
    api_token::Entity::find_by_id(id)
}

/// The tokens that an administrator can access.
pub(crate) fn tokens(caller: &Caller) -> Select<api_token::Entity> {
    api_token::Entity::of_org(&caller.org).filter(of_team(caller, api_token::Column::TeamId))
}

/// The webhooks that an administrator can access.
pub(crate) fn webhooks(caller: &Caller) -> Select<webhook::Entity> {
    webhook::Entity::of_org(&caller.org).filter(of_team(caller, webhook::Column::TeamId))
}

/// The messages to a webhook, newest first.
#[expect(
    clippy::disallowed_methods,
    reason = "the webhook was found within the caller's organisation"
)]
pub(crate) fn deliveries_of(webhook: &webhook::Model) -> Select<webhook_delivery::Entity> {
    webhook_delivery::Entity::find()
        .filter(webhook_delivery::Column::WebhookId.eq(webhook.id))
        .order_by_desc(webhook_delivery::Column::Id)
}

/// The audit entries of a caller's organisation.
pub(crate) fn audit(caller: &Caller) -> Select<audit_event::Entity> {
    audit_event::Entity::of_org(&caller.org).filter(of_team(caller, audit_event::Column::TeamId))
}

/// The columns of a task that most handlers need. Question banks and generator reports are left
/// out, because they can be megabytes.
#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "task::Entity")]
pub(crate) struct TaskSummary {
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
    /// Whether the probes are those of a question bank that came with the request.
    #[sea_orm(from_expr = "Expr::col((task::Entity, task::Column::QuestionBank)).is_not_null()")]
    pub(crate) imported_probes: bool,
}

/// Some columns of one task.
pub(crate) trait TaskColumns: PartialModelTrait + FromQueryResult {
    /// The statements that find them.
    fn texts() -> &'static StatementCache;
}

impl TaskColumns for TaskSummary {
    fn texts() -> &'static StatementCache {
        static TEXTS: StatementCache = StatementCache::new();
        &TEXTS
    }
}

/// SQL text of a statement, built once. Building takes longer than executing.
#[derive(Default)]
pub(crate) struct StatementCache([OnceLock<String>; 4]);

impl StatementCache {
    pub(crate) const fn new() -> Self {
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
