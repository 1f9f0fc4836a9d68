//! Creates tasks: one transaction, then a notification of the workers.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use domain::PullRequestSource;
use domain::vocabulary::{Level, RunStatus, TaskStatus};
use entity::{RunId, TaskId, agent_run, task};
use platform::connect::Platform;
use platform::database::batch_insert;
use platform::events::{self, Event, NewEvent};
use platform::queue::{self, Notification, Work};
use platform::telemetry::chain;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::InsertStatement;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryTrait, TransactionTrait, TryIntoModel};
use serde_json::json;

use crate::admin::audit_log::{self, Actor};
use crate::tasks::options::TaskOptions;
use crate::tasks::quota::has_capacity;

/// Timeout for notifying workers.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// Rows of one INSERT. SQLite binds at most 32,766 values.
const ROWS_PER_INSERT: usize = 100;

/// Idempotency key and fingerprint of a request, so that a repeated request creates no second task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    /// Fingerprint of the request.
    pub hash: String,
}

/// Source of a task's commits, as its row stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOrigin {
    pub pr_url: String,
    pub repo: String,
    pub pr_number: Option<i64>,
    pub source: PullRequestSource,
}

/// A task to create. Its fields are valid.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// The actor that requests the task, with its organisation and team.
    pub by: Actor,
    pub name: Option<IdempotencyKey>,
    pub origin: TaskOrigin,
    /// Agents as requested. An agent that is named twice gets twice the trials.
    pub agents: Vec<String>,
    pub options: TaskOptions,
}

/// Stores a task with its runs, its first job and its first events, then notifies workers. A failed
/// notification is not an error, because the rescuer repeats it.
///
/// Returns `None` and stores nothing if the organisation already has `max_active` open tasks. A
/// `max_active` of 0 means no limit.
pub async fn create_task(
    platform: &Platform,
    new: NewTask,
    max_active: u64,
) -> Result<Option<task::Model>, DbErr> {
    let now = now();
    let id = TaskId::new();
    let trials = new.options.trials;
    let mut first_events = vec![NewEvent {
        run: None,
        level: Level::Info,
        event: Event::TaskCreated {
            agents: new.agents.clone(),
            trials,
        },
    }];
    let mut rows = Vec::new();
    for (agent, trial) in trials_of(&new.agents, trials) {
        let run = RunId::new();
        rows.push(run_row(run, id, &agent, trial, now));
        first_events.push(NewEvent {
            run: Some(run),
            level: Level::Info,
            event: Event::RunQueued { agent, trial },
        });
    }
    let by = new.by.clone();
    let event_count = i64::try_from(first_events.len()).unwrap_or(i64::MAX);
    let row = task_row(id, new, event_count, now)?;
    let task: task::Model = row.clone().try_into_model()?;
    let task_insert = task::Entity::insert(row).into_query();
    let mut inserts: Vec<InsertStatement> = rows
        .chunks(ROWS_PER_INSERT)
        .map(|rows| agent_run::Entity::insert_many(rows.to_vec()).into_query())
        .collect();
    let (job, notification) =
        queue::first_job(&platform.database, &Work::PrepareTask { task: id })?;
    inserts.push(job);
    let details = json!({ "agents": task.agents, "trials": task.trials, "pr_url": task.pr_url });
    let subject = Some(id.to_string());
    inserts.push(audit_log::insert(&by, "task.create", subject, details));
    inserts.extend(events::first_events(id, &first_events, &platform.redactor)?);
    if max_active == 0 && batch_insert::is_one_statement(&platform.database, 1 + inserts.len()) {
        inserts.insert(0, task_insert);
        batch_insert::insert(&platform.database, inserts).await?;
    } else {
        let transaction = platform.database.begin().await?;
        transaction.execute(&task_insert).await?;
        if !has_capacity(&transaction, &by.org, max_active).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        batch_insert::insert(&transaction, inserts).await?;
        transaction.commit().await?;
    }
    tracing::info!(task.id = %id, "created task {id}");
    platform.event_notifier.notify(id).await;
    notify_workers(platform, &[notification]).await;
    Ok(Some(task))
}

/// Returns the current time with the precision of all databases.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// Returns each agent with its trials, in the requested order. An agent that is named again
/// continues its numbers.
fn trials_of(agents: &[String], trials: u32) -> Vec<(String, u32)> {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    let mut runs = Vec::new();
    for agent in agents {
        let count = counts.entry(agent).or_default();
        for _ in 0..trials {
            *count += 1;
            runs.push((agent.clone(), *count));
        }
    }
    runs
}

fn task_row(
    id: TaskId,
    new: NewTask,
    event_count: i64,
    now: DateTime<Utc>,
) -> Result<task::ActiveModel, DbErr> {
    let TaskOrigin {
        pr_url,
        repo,
        pr_number,
        source,
    } = new.origin;
    let source = serde_json::to_value(&source).map_err(|error| DbErr::Json(error.to_string()))?;
    let (idempotency_key, request_hash) = match new.name {
        Some(IdempotencyKey { key, hash }) => (Some(key), Some(hash)),
        None => (None, None),
    };
    let mut row = task::ActiveModel {
        id: Set(id),
        org_id: Set(new.by.org),
        team_id: Set(new.by.team),
        created_by: Set(new.by.id),
        idempotency_key: Set(idempotency_key),
        request_hash: Set(request_hash),
        pr_url: Set(pr_url),
        repo: Set(repo),
        pr_number: Set(pr_number),
        source: Set(source),
        agents: Set(json!(new.agents)),
        generator_report: Set(None),
        estimate: Set(None),
        judging: Set(1),
        status: Set(TaskStatus::Queued),
        changed_files: Set(json!([])),
        dropped_files: Set(json!([])),
        base_sha: Set(None),
        head_sha: Set(None),
        prompt_hash: Set(None),
        probe_set_hash: Set(None),
        error_message: Set(None),
        failure_cause: Set(None),
        event_seq: Set(event_count),
        created_at: Set(now),
        updated_at: Set(now),
        started_at: Set(None),
        completed_at: Set(None),
        ..Default::default()
    };
    new.options.store(&mut row)?;
    Ok(row)
}

fn run_row(
    id: RunId,
    task: TaskId,
    agent: &str,
    trial: u32,
    now: DateTime<Utc>,
) -> agent_run::ActiveModel {
    agent_run::ActiveModel {
        id: Set(id),
        task_id: Set(task),
        agent: Set(agent.to_owned()),
        // Limits of the request keep the number of trials far below the maximum.
        trial: Set(i32::try_from(trial).unwrap_or(i32::MAX)),
        status: Set(RunStatus::Queued),
        phase: Set(None),
        milestones: Set(json!({})),
        stats: Set(json!({})),
        breaks: Set(json!([])),
        compression_detected: Set(false),
        seal_broken: Set(false),
        baseline: Set(None),
        checkpoint: Set(None),
        agent_version: Set(None),
        model: Set(None),
        manifest: Set(None),
        retry_count: Set(0),
        failure_cause: Set(None),
        error_message: Set(None),
        overall_score: Set(None),
        passed: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        started_at: Set(None),
        completed_at: Set(None),
    }
}

/// Notifies workers. A worker that misses the notification is notified again by the rescuer.
pub(crate) async fn notify_workers(platform: &Platform, notifications: &[Notification]) {
    let notified = platform.notifier.notify(notifications);
    match tokio::time::timeout(NOTIFY_TIMEOUT, notified).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = chain(&error),
            "could not notify workers; the rescuer will notify them"
        ),
        Err(_) => tracing::warn!("notifying workers timed out; the rescuer will notify them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_named_twice_gets_twice_the_trials() {
        let agents = ["a", "b", "a"].map(str::to_owned);
        let runs = trials_of(&agents, 2);
        let named: Vec<_> = runs
            .iter()
            .map(|(agent, trial)| (agent.as_str(), *trial))
            .collect();
        assert_eq!(
            named,
            [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("a", 3), ("a", 4)]
        );
    }
}
