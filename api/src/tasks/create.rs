//! Creating and cancelling tasks: one transaction each, then the bell.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use domain::PullRequestSource;
use domain::vocabulary::{Dimension, Level, RunStatus, TaskStatus, Trigger};
use entity::task;
use entity::{RunId, TaskId, agent_run};
use platform::connect::Platform;
use platform::database::batch_insert;
use platform::events::{self, Event, NewEvent};
use platform::queue::{self, Notification, Work};
use platform::telemetry::chain;
use sea_orm::sea_query::InsertStatement;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryTrait, Set,
    TransactionTrait,
};
use serde_json::json;

use crate::admin::audit_log::{self, Actor};
use crate::tasks::quota::is_room;

/// How long a request waits for the bell.
const RING_LIMIT: Duration = Duration::from_secs(2);
/// Rows of one INSERT; SQLite binds at most 32,766 values.
const ROWS_AT_ONCE: usize = 100;

/// What a client calls a request, so that it makes no second task however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestName {
    pub key: String,
    /// What was asked for under that name, as one number.
    pub hash: String,
}

/// A task that is to be created; checked by whoever makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Who asks for it, and for which organisation and team.
    pub by: Actor,
    pub name: Option<RequestName>,
    pub pr_url: String,
    pub repo: String,
    pub pr_number: Option<i64>,
    pub source: PullRequestSource,
    /// As asked for. An agent named twice gets twice the trials.
    pub agents: Vec<String>,
    pub rubric: Vec<Dimension>,
    pub trials: u32,
    pub max_files: u32,
    pub seed: i64,
    pub trigger: Trigger,
    pub pass_mark: f64,
    pub target_context_tokens: Option<i64>,
    /// None: as the trigger asks for.
    pub seal_before_break: Option<bool>,
    /// Breaks per run, from 1.
    pub breaks: u32,
    /// Closed probes of one prompt, from 1.
    pub probes_per_prompt: u32,
    /// Whether purpose, risks and rollback are asked about too.
    pub open_questions: bool,
    /// The cost of all runs, in US dollars, at which the task stops.
    pub max_cost_usd: Option<f64>,
    /// Probes to use instead of generated ones, as JSON lines.
    pub question_bank: Option<String>,
}

/// Stores a task with its runs, its first job and its first events, then rings. A bell that cannot
/// be rung is no error: the sweeper rings again.
///
/// None: `most` tasks of the organisation are open, and
/// nothing was stored; 0 is any number.
pub async fn create_task(
    platform: &Platform,
    new: NewTask,
    most: u64,
) -> Result<Option<task::Model>, DbErr> {
    let now = now();
    let runs = runs_of(&new.agents, new.trials);
    let mut happened = vec![NewEvent {
        run: None,
        level: Level::Info,
        event: Event::TaskCreated {
            agents: new.agents.clone(),
            trials: new.trials,
        },
    }];
    let id = TaskId::new();
    let mut rows = Vec::with_capacity(runs.len());
    for (agent, trial) in runs {
        let run = RunId::new();
        rows.push(run_row(run, id, &agent, trial, now));
        happened.push(NewEvent {
            run: Some(run),
            level: Level::Info,
            event: Event::RunQueued { agent, trial },
        });
    }
    let by = new.by.clone();
    let events = i64::try_from(happened.len()).unwrap_or(i64::MAX);
    let task = task_row(id, new, events, now)?;
    let first = task::Entity::insert(task.clone().into_active_model().reset_all()).into_query();
    let mut others: Vec<InsertStatement> = rows
        .chunks(ROWS_AT_ONCE)
        .map(|rows| agent_run::Entity::insert_many(rows.to_vec()).into_query())
        .collect();
    let (job, ring) = queue::first_job(&platform.database, &Work::PrepareTask { task: id })?;
    others.push(job);
    let details = json!({ "agents": task.agents, "trials": task.trials, "pr_url": task.pr_url });
    let subject = Some(id.to_string());
    others.push(audit_log::insert(&by, "task.create", subject, details));
    others.extend(events::first_events(id, &happened, &platform.redactor)?);
    if most == 0 && batch_insert::is_one_statement(&platform.database, 1 + others.len()) {
        others.insert(0, first);
        batch_insert::insert(&platform.database, others).await?;
    } else {
        let transaction = platform.database.begin().await?;
        transaction.execute(&first).await?;
        if !is_room(&transaction, &by.org, most).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        batch_insert::insert(&transaction, others).await?;
        transaction.commit().await?;
    }
    tracing::info!(task.id = %id, "created task {id}");
    platform.event_notifier.notify(id).await;
    notify_workers(platform, &[ring]).await;
    Ok(Some(task))
}

/// The time, as exactly as every database keeps it.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// Every agent with its trials, in the order asked for; naming an agent again goes on counting.
fn runs_of(agents: &[String], trials: u32) -> Vec<(String, u32)> {
    let mut had: HashMap<&str, u32> = HashMap::new();
    let mut runs = Vec::new();
    for agent in agents {
        let had = had.entry(agent).or_default();
        for _ in 0..trials {
            *had += 1;
            runs.push((agent.clone(), *had));
        }
    }
    runs
}

fn number(value: u32, of: &str) -> Result<i32, DbErr> {
    i32::try_from(value).map_err(|_| DbErr::Type(format!("{value} is too large for {of}")))
}

fn task_row(
    id: TaskId,
    new: NewTask,
    events: i64,
    now: DateTime<Utc>,
) -> Result<task::Model, DbErr> {
    let source =
        serde_json::to_value(&new.source).map_err(|error| DbErr::Json(error.to_string()))?;
    let (idempotency_key, request_hash) = match new.name {
        Some(RequestName { key, hash }) => (Some(key), Some(hash)),
        None => (None, None),
    };
    Ok(task::Model {
        id,
        org_id: new.by.org,
        team_id: new.by.team,
        created_by: new.by.id,
        idempotency_key,
        request_hash,
        pr_url: new.pr_url,
        repo: new.repo,
        pr_number: new.pr_number,
        source,
        agents: json!(new.agents),
        rubric: json!(new.rubric),
        trials: number(new.trials, "trials")?,
        max_files: number(new.max_files, "max_files")?,
        seed: new.seed,
        trigger: new.trigger,
        pass_mark: new.pass_mark,
        target_context_tokens: new.target_context_tokens,
        seal_before_break: new.seal_before_break,
        breaks: number(new.breaks, "breaks")?,
        probes_per_prompt: number(new.probes_per_prompt, "probes_per_prompt")?,
        open_questions: new.open_questions,
        max_cost_usd: new.max_cost_usd,
        question_bank: new.question_bank,
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
        event_seq: events,
        created_at: now,
        updated_at: now,
        started_at: None,
        completed_at: None,
    })
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
        // At most agents × trials, which the request's limits keep far below.
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

/// Rings, for a moment; who does not hear it is told by the sweeper.
pub(crate) async fn notify_workers(platform: &Platform, rings: &[Notification]) {
    match tokio::time::timeout(RING_LIMIT, platform.notifier.notify(rings)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(
                error = chain(&error),
                "the bell cannot be rung; the sweeper will"
            );
        }
        Err(_) => tracing::warn!("the bell does not answer; the sweeper will ring"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_named_twice_gets_twice_the_trials() {
        let agents = ["a", "b", "a"].map(str::to_owned);
        let runs = runs_of(&agents, 2);
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
