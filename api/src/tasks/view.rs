//! What clients are told of a task.

use chrono::{DateTime, Utc};
use domain::vocabulary::{FailureCause, TaskStatus, Trigger};
use entity::{TaskId, task};
use sea_orm::DerivePartialModel;
use sea_orm::sea_query::{Expr, ExprTrait};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::tenancy::{StatementCache, TaskColumns};

/// A task as clients see it. What is not known yet is null.
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
    /// `owner/name`, or the folder's name of a local repository.
    repo: String,
    pr_number: Option<i64>,
    #[schema(value_type = Vec<String>)]
    agents: Value,
    /// Some of `AR`, `TTL`, `LRU`, `SF`.
    #[schema(value_type = Vec<String>)]
    rubric: Value,
    /// `queued`, `running`, `judging`, `done`, `error` or `cancelled`.
    #[schema(value_type = String)]
    status: TaskStatus,
    max_files: i32,
    pub(crate) created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    #[schema(value_type = Vec<String>)]
    changed_files: Value,
    error_message: Option<String>,
    /// Who is to blame for `error_message`.
    #[schema(value_type = Option<String>)]
    failure_cause: Option<FailureCause>,
    /// Runs per agent named.
    trials: i32,
    seed: i64,
    /// `auto`, `manual` or `auto_then_manual`.
    #[schema(value_type = String)]
    trigger: Trigger,
    pass_mark: f64,
    target_context_tokens: Option<i64>,
    /// Whether the workspace is emptied before the compaction; null: where it is brought about by
    /// the agent's own command, yes.
    seal_before_break: Option<bool>,
    /// Breaks per run.
    breaks: i32,
    /// Closed probes of one prompt.
    probes_per_prompt: i32,
    /// Whether purpose, risks and rollback are asked about too.
    open_questions: bool,
    /// The cost of all runs, in US dollars, at which the task stops.
    max_cost_usd: Option<f64>,
    /// Whether its probes were given with it instead of generated.
    #[sea_orm(from_expr = "Expr::col((task::Entity, task::Column::QuestionBank)).is_not_null()")]
    from_question_bank: bool,
    /// How many probes of each kind were made, and what was dropped and why; null until prepared.
    #[schema(value_type = Option<Object>)]
    generator_report: Option<Value>,
    /// What the runs of each agent are expected to ask and to cost by list prices, and what that
    /// assumes; null until prepared.
    #[schema(value_type = Option<Object>)]
    estimate: Option<Value>,
    /// The number of the judging whose figures are shown.
    judging: i32,
    base_sha: Option<String>,
    head_sha: Option<String>,
    /// What was left out, and why.
    #[schema(value_type = Vec<Object>)]
    dropped_files: Value,
    prompt_hash: Option<String>,
    probe_set_hash: Option<String>,
}

impl From<task::Model> for TaskView {
    fn from(task: task::Model) -> Self {
        let task::Model {
            id,
            org_id: _,
            team_id: _,
            idempotency_key: _,
            request_hash: _,
            created_by: _,
            pr_url,
            repo,
            pr_number,
            source: _,
            agents,
            rubric,
            trials,
            max_files,
            seed,
            trigger,
            pass_mark,
            target_context_tokens,
            seal_before_break,
            breaks,
            probes_per_prompt,
            open_questions,
            max_cost_usd,
            question_bank,
            generator_report,
            estimate,
            judging,
            status,
            changed_files,
            dropped_files,
            base_sha,
            head_sha,
            prompt_hash,
            probe_set_hash,
            error_message,
            failure_cause,
            event_seq: _,
            created_at,
            updated_at,
            started_at,
            completed_at,
        } = task;
        Self {
            id,
            pr_url,
            repo,
            pr_number,
            agents,
            rubric,
            status,
            max_files,
            created_at,
            updated_at,
            started_at,
            completed_at,
            changed_files,
            error_message,
            failure_cause,
            trials,
            seed,
            trigger,
            pass_mark,
            target_context_tokens,
            seal_before_break,
            breaks,
            probes_per_prompt,
            open_questions,
            max_cost_usd,
            from_question_bank: question_bank.is_some(),
            generator_report,
            estimate,
            judging,
            base_sha,
            head_sha,
            dropped_files,
            prompt_hash,
            probe_set_hash,
        }
    }
}

impl TaskColumns for TaskView {
    fn texts() -> &'static StatementCache {
        static TEXTS: StatementCache = StatementCache::new();
        &TEXTS
    }
}
