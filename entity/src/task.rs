//! A request to measure agents on one pull request.

use sea_orm::Select;
use sea_orm::entity::prelude::*;

use crate::TaskId;
use domain::vocabulary::{FailureCause, TaskStatus, Trigger};

/// One task.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TaskId,
    /// Organisation that owns the task. `local` without single sign-on.
    pub org_id: String,
    /// Team within the organisation, if any.
    pub team_id: Option<String>,
    pub created_by: Option<String>,
    /// URL as given by the client. A `file:` URL for a local repository.
    #[sea_orm(column_type = "Text")]
    pub pr_url: String,
    /// `owner/name`, or the folder's name for a local repository.
    pub repo: String,
    pub pr_number: Option<i64>,
    /// Source of the commits: a [`domain::PullRequestSource`].
    pub source: Json,
    /// Requested agents, in order: a list of strings.
    pub agents: Json,
    /// Requested dimensions: a list of `AR`, `TTL`, `LRU`, `SF`.
    pub rubric: Json,
    /// Runs per agent.
    pub trials: i32,
    pub max_files: i32,
    /// Fixes probes, teaching and every random draw of the instrument.
    pub seed: i64,
    pub trigger: Trigger,
    /// Minimum grade of a passed dimension, in `[0, 1]`.
    pub pass_mark: f64,
    /// Context size of the break, in tokens. `None` to derive it from the material.
    pub target_context_tokens: Option<i64>,
    /// Whether the workspace is emptied before the compaction, so that no file can be read again.
    /// `None` for `true` if the break is triggered by the program's own command.
    pub seal_before_break: Option<bool>,
    /// Breaks per run.
    pub breaks: i32,
    /// Closed probes per prompt, the same in all arms.
    pub probes_per_prompt: i32,
    /// Whether open questions about purpose, risks and rollback are asked.
    pub open_questions: bool,
    /// Limit of the cost of all runs, in US dollars. `None` for no limit.
    pub max_cost_usd: Option<f64>,
    /// Imported probes that replace generated ones, as JSON lines.
    #[sea_orm(column_type = "Text", nullable)]
    pub question_bank: Option<String>,
    /// Options without a column of their own, by name. `None` if the request gave none of them.
    pub options: Option<Json>,
    /// Number of probes per kind, and dropped candidates with reasons. `None` until prepared.
    pub generator_report: Option<Json>,
    /// Estimated requests and cost of the runs. `None` until prepared.
    pub estimate: Option<Json>,
    /// Number of the judging whose figures are shown, from 1.
    pub judging: i32,
    pub status: TaskStatus,
    /// Paths of the changed files that are used.
    pub changed_files: Json,
    /// Files left out: a list of `{path, reason}`.
    pub dropped_files: Json,
    pub base_sha: Option<String>,
    pub head_sha: Option<String>,
    /// SHA-256 of the templates that the runs of this task use.
    pub prompt_hash: Option<String>,
    /// SHA-256 of the probe set.
    pub probe_set_hash: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    pub failure_cause: Option<FailureCause>,
    /// Number of events of the task. The next event has the next number.
    pub event_seq: i64,
    /// Idempotency key of the request. Unique within the organisation.
    pub idempotency_key: Option<String>,
    /// SHA-256 of the request's content.
    pub request_hash: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub started_at: Option<DateTimeUtc>,
    pub completed_at: Option<DateTimeUtc>,
}

relations! {
    has_many AgentRun: agent_run;
}

impl Entity {
    /// Selects the tasks that a member of `org` may see. The API has no other access to tasks.
    pub fn visible_to(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
