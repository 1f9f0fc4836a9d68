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
    /// The organisation that owns the task; `local` where there is no single sign-on.
    pub org_id: String,
    /// The team within it; none where it has none.
    pub team_id: Option<String>,
    pub created_by: Option<String>,
    /// The address as the client gave it; for a local repository a `file:` address.
    #[sea_orm(column_type = "Text")]
    pub pr_url: String,
    /// `owner/name`, or the folder's name for a local repository.
    pub repo: String,
    pub pr_number: Option<i64>,
    /// Source of the commits: a [`domain::PullRequestSource`].
    pub source: Json,
    /// The agents as asked for, in order: a list of strings.
    pub agents: Json,
    /// The dimensions asked for: a list of `AR`, `TTL`, `LRU`, `SF`.
    pub rubric: Json,
    /// Runs per agent.
    pub trials: i32,
    pub max_files: i32,
    /// Fixes probes, teaching and every random draw of the instrument.
    pub seed: i64,
    pub trigger: Trigger,
    /// The grade in `[0, 1]` that a dimension must reach to pass.
    pub pass_mark: f64,
    /// The context size, in tokens, at which a break is to come; none: derived from the material.
    pub target_context_tokens: Option<i64>,
    /// Whether the workspace is emptied before the compaction, so that nothing can be read again
    /// from the disk; none: where we bring it about by the program's own command, yes.
    pub seal_before_break: Option<bool>,
    /// Breaks per run.
    pub breaks: i32,
    /// Closed probes of one prompt, the same in all arms.
    pub probes_per_prompt: i32,
    /// Whether purpose, risks and rollback are asked about in free words.
    pub open_questions: bool,
    /// The cost of all its runs, in US dollars, at which the task is to stop; none: no such limit.
    pub max_cost_usd: Option<f64>,
    /// Probes to use instead of generated ones, as JSON lines.
    #[sea_orm(column_type = "Text", nullable)]
    pub question_bank: Option<String>,
    /// How many probes of each kind were made, and what was dropped and why; none until prepared.
    pub generator_report: Option<Json>,
    /// What the runs are expected to ask and to cost; none until prepared.
    pub estimate: Option<Json>,
    /// The number of the judging whose figures are shown, from 1.
    pub judging: i32,
    pub status: TaskStatus,
    /// Paths of the files that the pull request changes and that are used.
    pub changed_files: Json,
    /// What was left out and why: a list of `{path, reason}`.
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
    /// How many events the task has; the next one's number is one more.
    pub event_seq: i64,
    /// What the client called its request, so that it makes no second task; unique within the
    /// organisation.
    pub idempotency_key: Option<String>,
    /// SHA-256 of what that request asked for.
    pub request_hash: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub started_at: Option<DateTimeUtc>,
    pub completed_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(has_many = "super::agent_run::Entity")]
    AgentRun,
}

impl Related<super::agent_run::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::AgentRun.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The tasks that a member of `org` may see. The API has no other way in.
    pub fn visible_to(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
