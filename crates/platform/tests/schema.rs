//! The migrated schema, and the entities that read it.

use std::fmt::Debug;

use domain::vocabulary::{
    Arm, Attribution, Dimension, FailureCause, JobKind, JobState, JudgingStatus, Level, RunStatus,
    Topic, Verdict,
};
use entity::{
    AnswerId, ArtifactId, JobId, JudgingId, ProbeId, RecallId, ScoreId, answer, artifact, job,
    judging, probe, recall, score, task, task_event, worker,
};
use migration::Direction;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ConnectionTrait as _, DatabaseConnection, EntityTrait,
    FromQueryResult, IntoActiveModel, PaginatorTrait as _,
};
use serde_json::json;
use testkit::builders::{self, some_time, store};
use testkit::database::{TestDatabase, on_both_engines};

#[tokio::test]
async fn migrations_go_up_and_down_and_up_again() {
    on_both_engines(async |test: &TestDatabase| {
        let database = test.connection();
        builders::stored_task(database).await.unwrap();
        migration::migrate(database, Direction::Down).await.unwrap();
        assert!(task::Entity::find().all(database).await.is_err());
        migration::migrate(database, Direction::Up).await.unwrap();
        assert_eq!(task::Entity::find().count(database).await.unwrap(), 0);
        every_entity_is_written_and_read(database).await;
        migration::migrate(database, Direction::Down).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn every_entity_matches_its_table() {
    on_both_engines(async |test: &TestDatabase| {
        every_entity_is_written_and_read(test.connection()).await;
    })
    .await;
}

/// Stores a row and reads it again.
async fn round_trip<M, A>(database: &DatabaseConnection, model: M)
where
    M: IntoActiveModel<A> + Clone + PartialEq + Debug + FromQueryResult,
    A: ActiveModelTrait + ActiveModelBehavior + Send,
    A::Entity: EntityTrait<Model = M>,
{
    let stored = store(database, model.clone()).await;
    assert_eq!(stored.expect("the columns match"), model);
    let read = A::Entity::find().all(database).await;
    assert!(read.expect("the columns match").contains(&model));
}

async fn every_entity_is_written_and_read(database: &DatabaseConnection) {
    let mut task = builders::task();
    task.created_by = Some("ada".to_owned());
    task.target_context_tokens = Some(i64::MAX);
    task.seal_before_break = Some(false);
    task.breaks = 3;
    task.probes_per_prompt = 4;
    task.open_questions = false;
    task.max_cost_usd = Some(2.5);
    task.question_bank = Some("{}\n".to_owned());
    task.generator_report = Some(json!({"made": {}}));
    task.judging = 2;
    task.seed = i64::MIN;
    task.base_sha = Some("a".repeat(40));
    task.head_sha = Some("b".repeat(40));
    task.prompt_hash = Some("c".repeat(64));
    task.probe_set_hash = Some("d".repeat(64));
    task.error_message = Some("näh\n".repeat(1000));
    task.failure_cause = Some(FailureCause::Harness);
    task.started_at = Some(some_time());
    task.completed_at = Some(some_time());
    round_trip(database, task.clone()).await;

    let mut run = builders::run(task.id, "claude", 1);
    run.status = RunStatus::Error;
    run.phase = Some("deep_dive".to_owned());
    run.checkpoint = Some(json!({"stage": "broken", "deep": [1, 2.5, null, "ü"]}));
    run.baseline = Some("fork".to_owned());
    run.agent_version = Some("2.1.197".to_owned());
    run.model = Some("m@stub".to_owned());
    run.manifest = Some(json!({"seed": 7}));
    run.failure_cause = Some(FailureCause::Provider);
    run.error_message = Some("rate limit".to_owned());
    run.overall_score = Some(1.0 / 3.0);
    run.passed = Some(false);
    round_trip(database, run.clone()).await;

    let probe = probe::Model {
        id: ProbeId::new(),
        task_id: task.id,
        position: 0,
        label: "AR-01".to_owned(),
        dimension: Dimension::Ar,
        kind: "constant".to_owned(),
        question: "Which?".to_owned(),
        spec: json!({"answer": 42}),
        created_at: some_time(),
    };
    round_trip(database, probe.clone()).await;

    let answer = answer::Model {
        id: AnswerId::new(),
        run_id: run.id,
        probe_id: probe.id,
        arm: Arm::Post,
        break_index: 1,
        text: "ANSWER: 42".to_owned(),
        grade: Some(0.5),
        verdict: Some(Verdict::Partial),
        grader: Some("deterministic/1".to_owned()),
        copied_from: Some(run.id),
        attribution: Some(Attribution::Guessable),
        in_summary: Some(false),
        confidence: Some(0.5),
        duration_ms: 5_000_000_000,
        created_at: some_time(),
    };
    round_trip(database, answer.clone()).await;

    let recall = recall::Model {
        id: RecallId::new(),
        run_id: run.id,
        judging: 2,
        topic: Topic::Rollback,
        arm: Arm::Post,
        break_index: 3,
        judge: "deterministic/1".to_owned(),
        facts: 12,
        claimed: 3,
        right: 2,
        ungraded: 1,
        precision: Some(2.0 / 3.0),
        recall: None,
        jurors: Some(2),
        note: Some("a note".to_owned()),
        created_at: some_time(),
    };
    round_trip(database, recall).await;

    let judging = judging::Model {
        id: JudgingId::new(),
        task_id: task.id,
        number: 2,
        status: JudgingStatus::Error,
        judges: json!([{"name": "strict"}]),
        agreement: Some(json!({"value": 0.5})),
        error_message: Some("no answer".to_owned()),
        created_by: Some("ada".to_owned()),
        created_at: some_time(),
        completed_at: Some(some_time()),
    };
    round_trip(database, judging).await;

    let score = score::Model {
        id: ScoreId::new(),
        run_id: run.id,
        judging: 1,
        dimension: Dimension::Sf,
        break_index: 1,
        n: 12,
        cold: Some(0.1),
        baseline: Some(1.0),
        post: Some(0.7),
        retention: Some(1.25),
        known: Some(9),
        kept: None,
        item_retention: None,
        stale_rate: Some(0.0),
        abstained_rate: None,
        wrong_rate: None,
        partial_rate: Some(0.25),
        unreadable_rate: None,
        created_at: some_time(),
    };
    round_trip(database, score.clone()).await;

    let artifact = artifact::Model {
        id: ArtifactId::new(),
        task_id: task.id,
        run_id: Some(run.id),
        name: "transcript".to_owned(),
        key: "a/b/c".to_owned(),
        media_type: "text/plain".to_owned(),
        size: 5_000_000_000,
        sha256: "e".repeat(64),
        created_at: some_time(),
    };
    round_trip(database, artifact.clone()).await;

    let event = task_event::Model {
        id: 5_000_000_000,
        task_id: task.id,
        seq: 1,
        run_id: Some(run.id),
        at: some_time(),
        kind: "turn".to_owned(),
        level: Level::Warning,
        payload: json!({"type": "turn"}),
    };
    round_trip(database, event.clone()).await;

    let job = job::Model {
        id: JobId::new(),
        task_id: task.id,
        run_id: Some(run.id),
        kind: JobKind::RunAgent,
        queue: "run:claude".to_owned(),
        work_key: format!("run:{}", run.id),
        work: json!({"work": "run_agent"}),
        state: JobState::Leased,
        attempt: 1,
        max_attempts: 3,
        epoch: 7,
        lease_owner: Some("me".to_owned()),
        lease_until: Some(some_time()),
        available_at: some_time(),
        notified_at: Some(some_time()),
        cancel_requested: true,
        last_error: Some("none".to_owned()),
        created_at: some_time(),
        updated_at: some_time(),
        finished_at: Some(some_time()),
    };
    round_trip(database, job.clone()).await;

    let worker = worker::Model {
        name: "host-1".to_owned(),
        host: "host".to_owned(),
        started_at: some_time(),
        seen_at: some_time(),
        queues: json!(["prepare"]),
        slots: 4,
        busy: 1,
        agents: json!([]),
    };
    round_trip(database, worker.clone()).await;
}

#[tokio::test]
async fn what_must_be_unique_is() {
    on_both_engines(async |test: &TestDatabase| {
        let database = test.connection();
        let task = builders::stored_task(database).await.unwrap();
        let run = builders::stored_run(database, task, "claude", 1)
            .await
            .unwrap();
        assert!(
            builders::stored_run(database, task, "claude", 1)
                .await
                .is_err()
        );
        builders::stored_run(database, task, "claude", 2)
            .await
            .unwrap();
        for run_id in [None, Some(run)] {
            let artifact = || artifact::Model {
                id: ArtifactId::new(),
                task_id: task,
                run_id,
                name: "report".to_owned(),
                key: String::new(),
                media_type: String::new(),
                size: 0,
                sha256: String::new(),
                created_at: some_time(),
            };
            store(database, artifact()).await.unwrap();
            assert!(store(database, artifact()).await.is_err(), "{run_id:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn rows_of_a_task_are_deleted_with_it() {
    on_both_engines(async |test: &TestDatabase| {
        let database = test.connection();
        every_entity_is_written_and_read(database).await;
        task::Entity::delete_many().exec(database).await.unwrap();
        for table in [
            "agent_run",
            "probe",
            "answer",
            "score",
            "artifact",
            "task_event",
            "job",
        ] {
            let count = Query::select()
                .expr(Expr::cust("COUNT(*)"))
                .from(table)
                .take();
            let row = database.query_one(&count).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 0, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn processes_that_start_together_do_not_trip_over_each_other() {
    on_both_engines(async |test: &TestDatabase| {
        migration::migrate(test.connection(), Direction::Down)
            .await
            .unwrap();
        let starts = (0..6).map(|_| async {
            let database = platform::database::connect(&platform::database::DatabaseSettings {
                url: test.url().to_owned(),
                max_connections: 2,
            })
            .await?;
            platform::database::migrate(&database).await
        });
        futures::future::try_join_all(starts).await.unwrap();
        builders::stored_task(test.connection()).await.unwrap();
    })
    .await;
}
