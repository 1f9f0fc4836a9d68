//! Builders of rows with defaults.

use domain::vocabulary::{RunStatus, TaskStatus, Trigger};
use entity::{RunId, TaskId, agent_run, task};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
};
use serde_json::json;

/// Returns a fixed time that every engine can store.
pub fn some_time() -> DateTimeUtc {
    DateTimeUtc::from_timestamp_micros(1_795_000_000_123_456).expect("a valid timestamp")
}

/// Builds a queued task without storing it.
pub fn task() -> task::Model {
    task::Model {
        id: TaskId::new(),
        org_id: "local".to_owned(),
        team_id: None,
        created_by: None,
        pr_url: "https://forge.example/acme/shop/pull/7".to_owned(),
        repo: "acme/shop".to_owned(),
        pr_number: Some(7),
        source: json!({
            "kind": "forge", "base_url": "https://forge.example",
            "owner": "acme", "name": "shop", "number": 7,
        }),
        agents: json!(["control-perfect"]),
        rubric: json!(["AR", "TTL", "LRU", "SF"]),
        trials: 1,
        max_files: 50,
        seed: 7,
        trigger: Trigger::AutoThenManual,
        pass_mark: 0.7,
        target_context_tokens: None,
        seal_before_break: None,
        breaks: 1,
        probes_per_prompt: 1,
        open_questions: true,
        max_cost_usd: None,
        question_bank: None,
        options: None,
        generator_report: None,
        estimate: None,
        judging: 1,
        status: TaskStatus::Queued,
        changed_files: json!([]),
        dropped_files: json!([]),
        base_sha: None,
        head_sha: None,
        prompt_hash: None,
        probe_set_hash: None,
        error_message: None,
        failure_cause: None,
        event_seq: 0,
        idempotency_key: None,
        request_hash: None,
        created_at: some_time(),
        updated_at: some_time(),
        started_at: None,
        completed_at: None,
    }
}

/// Builds a queued run of a task without storing it.
pub fn run(task: TaskId, agent: &str, trial: i32) -> agent_run::Model {
    agent_run::Model {
        id: RunId::new(),
        task_id: task,
        agent: agent.to_owned(),
        trial,
        status: RunStatus::Queued,
        phase: None,
        milestones: json!({}),
        stats: json!({}),
        breaks: json!([]),
        compression_detected: false,
        seal_broken: false,
        baseline: None,
        checkpoint: None,
        agent_version: None,
        model: None,
        manifest: None,
        retry_count: 0,
        failure_cause: None,
        error_message: None,
        overall_score: None,
        passed: None,
        created_at: some_time(),
        updated_at: some_time(),
        started_at: None,
        completed_at: None,
    }
}

/// Stores a queued task.
pub async fn stored_task(connection: &impl ConnectionTrait) -> Result<TaskId, DbErr> {
    Ok(store(connection, task()).await?.id)
}

/// Stores a queued run.
pub async fn stored_run(
    connection: &impl ConnectionTrait,
    task: TaskId,
    agent: &str,
    trial: i32,
) -> Result<RunId, DbErr> {
    Ok(store(connection, run(task, agent, trial)).await?.id)
}

/// Inserts a row with its id, and returns the stored row.
pub async fn store<M, A>(connection: &impl ConnectionTrait, model: M) -> Result<M, DbErr>
where
    M: IntoActiveModel<A>,
    A: ActiveModelTrait + ActiveModelBehavior + Send,
    A::Entity: EntityTrait<Model = M>,
{
    // The values of a model count as unchanged. An insert needs them set.
    model
        .into_active_model()
        .reset_all()
        .insert(connection)
        .await
}
