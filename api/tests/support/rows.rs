//! Rows as a worker would leave them.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use domain::vocabulary::{
    Arm, Dimension, FailureCause, JobState, JudgingStatus, Level, RunStatus, TaskStatus, Topic,
    Trigger,
};
use entity::{
    JobId, JudgingId, RecallId, RunId, ScoreId, TaskId, agent_run, job, judging, recall, score,
    task, worker,
};
use platform::connect::Platform;
use platform::events::{self, Event, NewEvent};
use platform::queue::{self, Work};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use sea_orm::{IntoActiveModel, TransactionTrait};
use serde_json::{Value, json};

/// Writes rows.
pub(crate) struct Rows<'a>(pub(crate) &'a Platform);

/// A finished run. Change the fields that differ.
pub(crate) struct RunRow {
    pub(crate) agent: &'static str,
    pub(crate) trial: i32,
    pub(crate) status: RunStatus,
    pub(crate) broke: bool,
    /// Reason why the seal is broken.
    pub(crate) void_reason: Option<&'static str>,
    pub(crate) score: Option<f64>,
    pub(crate) cause: Option<FailureCause>,
}

impl Default for RunRow {
    fn default() -> Self {
        Self {
            agent: "claude",
            trial: 1,
            status: RunStatus::Done,
            broke: true,
            void_reason: None,
            score: Some(0.5),
            cause: None,
        }
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

impl Rows<'_> {
    pub(crate) async fn task(
        &self,
        id: TaskId,
        status: TaskStatus,
        agents: &[&str],
    ) -> task::Model {
        self.task_of("local", id, status, agents).await
    }

    pub(crate) async fn task_of(
        &self,
        org: &str,
        id: TaskId,
        status: TaskStatus,
        agents: &[&str],
    ) -> task::Model {
        task::Model {
            id,
            org_id: org.to_owned(),
            team_id: None,
            created_by: None,
            pr_url: "https://github.com/acme/widgets/pull/9999".to_owned(),
            repo: "acme/widgets".to_owned(),
            pr_number: Some(9999),
            source: json!({"kind": "forge", "base_url": "https://github.com", "owner": "acme",
                "name": "widgets", "number": 9999}),
            agents: json!(agents),
            rubric: json!(["AR", "TTL", "LRU", "SF"]),
            trials: 1,
            max_files: 50,
            seed: 1,
            trigger: Trigger::AutoThenManual,
            pass_mark: 0.5,
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
            status,
            changed_files: json!(["src/lib.rs"]),
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
            created_at: now(),
            updated_at: now(),
            started_at: None,
            completed_at: status.is_final().then(chrono::Utc::now),
        }
        .into_active_model()
        .reset_all()
        .insert(&self.0.database)
        .await
        .expect("a task can be stored")
    }

    pub(crate) async fn run(&self, task: TaskId, row: RunRow) -> agent_run::Model {
        let started = now() - TimeDelta::seconds(90);
        let run = agent_run::Model {
            id: RunId::new(),
            task_id: task,
            agent: row.agent.to_owned(),
            trial: row.trial,
            status: row.status,
            phase: None,
            milestones: json!({"milestone_0": "repo_loaded"}),
            stats: json!({"turns": 3, "void_reason": row.void_reason}),
            breaks: json!([]),
            compression_detected: row.broke,
            seal_broken: row.void_reason.is_some(),
            baseline: Some("fork".to_owned()),
            checkpoint: Some(json!({"stage": "broken"})),
            agent_version: Some("1.0".to_owned()),
            model: Some("m-1".to_owned()),
            manifest: Some(json!({
                "instrument_version": evaluation::INSTRUMENT_VERSION, "model": "m-1",
            })),
            retry_count: 0,
            failure_cause: row.cause,
            error_message: None,
            overall_score: row.score,
            passed: row.score.map(|score| score >= 0.5),
            created_at: now(),
            updated_at: now(),
            started_at: Some(started),
            completed_at: row
                .status
                .is_final()
                .then_some(started + TimeDelta::seconds(60)),
        }
        .into_active_model()
        .reset_all()
        .insert(&self.0.database)
        .await
        .expect("a run can be stored");
        if let Some(score) = row.score {
            self.scores(run.id, 1, score).await;
        }
        run
    }

    /// A judging that is done.
    pub(crate) async fn judging(&self, task: TaskId, number: i32) {
        judging::Model {
            id: JudgingId::new(),
            task_id: task,
            number,
            status: JudgingStatus::Done,
            judges: json!([{"name": "deterministic/1", "may_rank": true}]),
            agreement: None,
            error_message: None,
            created_by: None,
            created_at: now(),
            completed_at: Some(now()),
        }
        .into_active_model()
        .reset_all()
        .insert(&self.0.database)
        .await
        .expect("a judging can be stored");
    }

    /// Changes how a judging stands.
    pub(crate) async fn judging_is(&self, task: TaskId, number: i32, status: JudgingStatus) {
        judging::Entity::update_many()
            .set(judging::ActiveModel {
                status: Set(status),
                ..Default::default()
            })
            .filter(judging::Column::TaskId.eq(task))
            .filter(judging::Column::Number.eq(number))
            .exec(&self.0.database)
            .await
            .expect("a judging can be changed");
    }

    /// How the judgings of a task stand, by number.
    pub(crate) async fn judgings_of(&self, task: TaskId) -> Vec<JudgingStatus> {
        judging::Entity::find()
            .filter(judging::Column::TaskId.eq(task))
            .order_by_asc(judging::Column::Number)
            .all(&self.0.database)
            .await
            .expect("judgings can be read")
            .into_iter()
            .map(|judging| judging.status)
            .collect()
    }

    /// Free recall of a run, as graded by a jury of two.
    pub(crate) async fn recall(&self, run: RunId, judging: i32, right: i32) {
        recall::Model {
            id: RecallId::new(),
            run_id: run,
            judging,
            topic: Topic::FreeRecall,
            arm: Arm::Post,
            break_index: 1,
            judge: "jury".to_owned(),
            facts: 10,
            claimed: 10,
            right,
            ungraded: 0,
            precision: Some(f64::from(right) / 10.0),
            recall: Some(f64::from(right) / 10.0),
            jurors: Some(2),
            note: None,
            created_at: now(),
        }
        .into_active_model()
        .reset_all()
        .insert(&self.0.database)
        .await
        .expect("a free recall can be stored");
    }

    pub(crate) async fn scores(&self, run: RunId, judging: i32, post: f64) {
        let scores = Dimension::ALL.iter().map(|dimension| {
            score::Model {
                id: ScoreId::new(),
                run_id: run,
                judging,
                dimension: *dimension,
                break_index: 1,
                n: 6,
                cold: Some(0.0),
                baseline: Some(1.0),
                post: Some(post),
                retention: Some(post),
                known: Some(6),
                kept: Some((post * 6.0).round() as i32),
                item_retention: Some(post),
                stale_rate: None,
                abstained_rate: Some(0.0),
                wrong_rate: Some(0.0),
                partial_rate: Some(0.0),
                unreadable_rate: Some(0.0),
                created_at: now(),
            }
            .into_active_model()
            .reset_all()
        });
        score::Entity::insert_many(scores)
            .exec_without_returning(&self.0.database)
            .await
            .expect("scores can be stored");
    }

    /// Appends events as a worker does, and wakes the readers.
    pub(crate) async fn happened(&self, task: TaskId, run: Option<RunId>, events: Vec<Event>) {
        let events: Vec<NewEvent> = events
            .into_iter()
            .map(|event| NewEvent {
                run,
                level: Level::Info,
                event,
            })
            .collect();
        let transaction = self.0.database.begin().await.expect("a transaction");
        events::append(&transaction, task, &events, &self.0.redactor)
            .await
            .expect("events can be appended");
        transaction.commit().await.expect("a commit");
        self.0.event_notifier.notify(task).await;
    }

    /// Ends a task as a worker does.
    pub(crate) async fn completed(&self, task: TaskId) {
        task::ActiveModel {
            id: Set(task),
            status: Set(TaskStatus::Done),
            ..Default::default()
        }
        .update(&self.0.database)
        .await
        .expect("a task can be changed");
        let completed = Event::Completed {
            status: "done".to_owned(),
            message: None,
        };
        self.happened(task, None, vec![completed]).await;
    }

    pub(crate) async fn file(&self, task: TaskId, run: Option<RunId>, name: &str, text: &str) {
        self.0
            .artifacts
            .put_text(&self.0.database, task, run, name, "text/plain", text)
            .await
            .expect("a file can be kept");
    }

    pub(crate) async fn worker(&self, name: &str, seen_at: DateTime<Utc>, agents: Value) {
        worker::Model {
            name: name.to_owned(),
            host: "localhost".to_owned(),
            started_at: now(),
            seen_at,
            queues: json!(["prepare"]),
            slots: 4,
            busy: 1,
            agents,
        }
        .into_active_model()
        .reset_all()
        .insert(&self.0.database)
        .await
        .expect("a worker can be stored");
    }

    pub(crate) async fn find_task(&self, id: TaskId) -> task::Model {
        task::Entity::find_by_id(id)
            .one(&self.0.database)
            .await
            .expect("tasks can be read")
            .expect("the task is there")
    }

    pub(crate) async fn runs_of(&self, task: TaskId) -> Vec<agent_run::Model> {
        agent_run::Entity::find()
            .filter(agent_run::Column::TaskId.eq(task))
            .order_by_asc(agent_run::Column::Agent)
            .order_by_asc(agent_run::Column::Trial)
            .all(&self.0.database)
            .await
            .expect("runs can be read")
    }

    pub(crate) async fn jobs_of(&self, task: TaskId) -> Vec<job::Model> {
        job::Entity::find()
            .filter(job::Column::TaskId.eq(task))
            .all(&self.0.database)
            .await
            .expect("jobs can be read")
    }

    /// The kinds of a task's events, in order.
    pub(crate) async fn kinds_of(&self, task: TaskId) -> Vec<String> {
        events::read_after(&self.0.database, task, 0, 10_000)
            .await
            .expect("events can be read")
            .into_iter()
            .map(|event| event.kind)
            .collect()
    }

    /// Changes a task.
    pub(crate) async fn change(&self, task: TaskId, mut change: task::ActiveModel) {
        change.id = Set(task);
        change
            .update(&self.0.database)
            .await
            .expect("a task can be changed");
    }

    /// A job that is out of attempts.
    pub(crate) async fn dead_job(&self, work: &Work) -> JobId {
        let notification = queue::enqueue(&self.0.database, work)
            .await
            .expect("work can be enqueued");
        job::ActiveModel {
            id: Set(notification.job_id),
            state: Set(JobState::Failed),
            attempt: Set(3),
            last_error: Set(Some("the provider was away".to_owned())),
            finished_at: Set(Some(now())),
            ..Default::default()
        }
        .update(&self.0.database)
        .await
        .expect("a job can be changed");
        notification.job_id
    }

    /// Ends a run badly.
    pub(crate) async fn failed(&self, run: RunId, cause: FailureCause) {
        agent_run::ActiveModel {
            id: Set(run),
            status: Set(RunStatus::Error),
            failure_cause: Set(Some(cause)),
            error_message: Set(Some("it failed".to_owned())),
            ..Default::default()
        }
        .update(&self.0.database)
        .await
        .expect("a run can be changed");
    }
}
