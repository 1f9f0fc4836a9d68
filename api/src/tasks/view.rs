//! A task, as clients see it.

use chrono::{DateTime, Utc};
use domain::vocabulary::{FailureCause, TaskStatus};
use entity::{TaskId, task};
use sea_orm::DerivePartialModel;
use sea_orm::sea_query::{Expr, ExprTrait};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::tasks::options::OptionsView;
use crate::tenancy::{StatementCache, TaskColumns};

/// A task. Values that are not known yet are null.
#[derive(Serialize, ToSchema, DerivePartialModel)]
#[sea_orm(entity = "task::Entity")]
#[schema(example = json!({
    "id": "01a20a9f-0d3a-770c-b510-195cd6bcadde", "pr_url": "https://github.com/OWNER/REPO/pull/1",
    "repo": "OWNER/REPO", "pr_number": 1, "agents": ["claude"], "rubric": ["AR", "TTL", "LRU", "SF"],
    "status": "queued", "max_files": 50, "created_at": "2026-11-23T22:55:25.498404Z",
    "updated_at": "2026-11-23T22:55:25.498404Z", "started_at": null, "completed_at": null,
    "changed_files": [], "error_message": null, "failure_cause": null, "trials": 1, "seed": 1,
    "trigger": "auto_then_manual", "pass_mark": 0.5, "target_context_tokens": null,
    "seal_before_break": null, "breaks": 1, "probes_per_prompt": 1,
    "open_questions": true, "max_cost_usd": null, "from_question_bank": false,
    "generator_report": null, "estimate": null, "judging": 1, "base_sha": null, "head_sha": null,
    "dropped_files": [], "prompt_hash": null, "probe_set_hash": null}))]
pub(crate) struct TaskView {
    #[schema(value_type = Uuid)]
    pub(crate) id: TaskId,
    pr_url: String,
    /// `owner/name`, or the name of the folder of a local repository.
    repo: String,
    pr_number: Option<i64>,
    #[schema(value_type = Vec<String>)]
    agents: Value,
    /// `queued`, `running`, `judging`, `done`, `error` or `cancelled`.
    #[schema(value_type = String)]
    status: TaskStatus,
    pub(crate) created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    #[schema(value_type = Vec<String>)]
    changed_files: Value,
    error_message: Option<String>,
    /// Party responsible for `error_message`.
    #[schema(value_type = Option<String>)]
    failure_cause: Option<FailureCause>,
    #[sea_orm(nested)]
    #[serde(flatten)]
    #[schema(ignore)]
    options: OptionsView,
    /// Whether the request gave the probes. Otherwise they were generated.
    #[sea_orm(from_expr = "Expr::col((task::Entity, task::Column::QuestionBank)).is_not_null()")]
    from_question_bank: bool,
    /// Number of probes of each kind, and dropped candidates with reasons. Null until prepared.
    #[schema(value_type = Option<Object>)]
    generator_report: Option<Value>,
    /// Expected tokens and cost by list price of the runs of each agent, and the assumptions. Null
    /// until prepared.
    #[schema(value_type = Option<Object>)]
    estimate: Option<Value>,
    /// Number of the judging whose figures are shown.
    judging: i32,
    base_sha: Option<String>,
    head_sha: Option<String>,
    /// Files that were left out, each with its reason.
    #[schema(value_type = Vec<Object>)]
    dropped_files: Value,
    prompt_hash: Option<String>,
    probe_set_hash: Option<String>,
}

impl From<task::Model> for TaskView {
    fn from(task: task::Model) -> Self {
        Self {
            options: OptionsView::from(&task),
            id: task.id,
            pr_url: task.pr_url,
            repo: task.repo,
            pr_number: task.pr_number,
            agents: task.agents,
            status: task.status,
            created_at: task.created_at,
            updated_at: task.updated_at,
            started_at: task.started_at,
            completed_at: task.completed_at,
            changed_files: task.changed_files,
            error_message: task.error_message,
            failure_cause: task.failure_cause,
            from_question_bank: task.question_bank.is_some(),
            generator_report: task.generator_report,
            estimate: task.estimate,
            judging: task.judging,
            base_sha: task.base_sha,
            head_sha: task.head_sha,
            dropped_files: task.dropped_files,
            prompt_hash: task.prompt_hash,
            probe_set_hash: task.probe_set_hash,
        }
    }
}

impl TaskColumns for TaskView {
    fn texts() -> &'static StatementCache {
        static TEXTS: StatementCache = StatementCache::new();
        &TEXTS
    }
}
