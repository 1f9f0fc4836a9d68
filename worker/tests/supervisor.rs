//! The runtime: slots, leases, cancellation, failures, shutdown, and resuming after a lost worker.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use agents::adapter::AgentAdapter;
use agents::adapters::{self, Setup};
use agents::control::{ControlProgram, KEY_FILE, SUBCOMMAND};
use agents::failure::Cause;
use agents::sandbox::Mode;
use domain::vocabulary::{Arm, FailureCause, RunStatus, TaskStatus, Trigger};
use entity::{ProbeId, TaskId, agent_run, job, task};
use platform::queue::{Work, enqueue};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use support::scripted::{Script, ScriptedAdapter, cancel, prepared_task, prepared_task_of};
use support::{Installation, quick};
use testkit::builders;
use testkit::database::on_both_engines;
use worker::settings::WorkerSettings;

fn all(adapter: &Arc<ScriptedAdapter>) -> Vec<Arc<dyn AgentAdapter>> {
    vec![Arc::<ScriptedAdapter>::clone(adapter)]
}

async fn measured(script: Script) -> (Installation, TaskId, Arc<ScriptedAdapter>) {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let adapter = ScriptedAdapter::new(script);
    let worker = installation.start("w1", all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    (installation, id, adapter)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_through_every_phase_to_its_score() {
    let (installation, id, _) = measured(Script::default()).await;
    let result = installation.result(id).await;
    let run = &result.runs[0];
    assert_eq!(run.status, RunStatus::Done, "{run:?}");
    assert_eq!(run.overall_score, Some(1.0));
    assert_eq!(run.breaks[0].trigger, "auto");
    let ar = &run.dimensions["AR"];
    assert_eq!(
        (ar.cold, ar.baseline, ar.post),
        (Some(0.0), Some(1.0), Some(1.0))
    );
    assert_eq!(ar.retention, Some(1.0));
    assert_eq!(result.leaderboard.len(), 1);

    let stored = &installation.runs(id).await[0];
    assert_eq!(stored.milestones["milestone_0"], "repo_loaded");
    assert_eq!(stored.milestones["milestone_5"], "session_complete");
    let kinds = installation.kinds(id).await;
    assert_eq!(kinds.last().unwrap(), "completed");
    for kind in [
        "run_started",
        "phase_started",
        "turn",
        "break_seen",
        "answered",
        "run_judged",
    ] {
        assert!(
            kinds.iter().any(|known| known == kind),
            "{kind} in {kinds:?}"
        );
    }
    for name in ["result.json", "report.md", "answers.jsonl"] {
        assert!(!installation.artifact(id, None, name).await.is_empty());
    }
    let log = installation.artifact(id, None, "task.log").await;
    assert_eq!(log.lines().count(), kinds.len());
    assert!(log.lines().last().unwrap().contains("completed"));
    for name in [
        "transcript",
        "manifest.json",
        "free_recall",
        "compaction_summary",
    ] {
        installation.artifact(id, Some(stored.id), name).await;
    }
    let raw = installation
        .artifact_bytes(id, Some(stored.id), "raw_stream.jsonl.gz")
        .await;
    assert_eq!(raw.get(..2), Some(&[0x1f, 0x8b][..]), "gzip");
}

#[tokio::test(flavor = "multi_thread")]
async fn trials_run_at_once_on_either_engine() {
    on_both_engines(async |database| {
        let installation = Installation::on(database.connection().clone(), quick());
        let id = prepared_task(&installation, 6).await;
        let adapter = ScriptedAdapter::new(Script::default());
        let mut settings = installation.settings("w1");
        settings.slots = 3;
        let workers = [
            installation.start_with(settings.clone(), all(&adapter)),
            installation.start_with(
                WorkerSettings {
                    name: "w2".to_owned(),
                    ..settings
                },
                all(&adapter),
            ),
        ];
        installation.ended(id).await;
        for worker in workers {
            worker.stop().await;
        }
        let result = installation.result(id).await;
        assert_eq!(result.runs.len(), 6);
        for run in &result.runs {
            assert_eq!(
                (run.status, run.retry_count),
                (RunStatus::Done, 0),
                "{run:?}"
            );
            assert_eq!(run.overall_score, Some(1.0));
            assert_eq!(installation.answers(run.id).await.len(), 3 * 8);
        }
        assert_eq!(result.leaderboard[0].trials, 6);
        let kinds = installation.kinds(id).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "completed").count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_run_stays_on_the_disk() {
    let (installation, _, _) = measured(Script::default()).await;
    let left = std::fs::read_dir(installation.work_dir().join("runs"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn knowledge_removed_by_a_break_is_missing_only_after_it() {
    let (installation, id, _) = measured(Script {
        forgets: true,
        ..Script::default()
    })
    .await;
    let result = installation.result(id).await;
    let ar = &result.runs[0].dimensions["AR"];
    assert_eq!(
        (ar.baseline, ar.post, ar.retention),
        (Some(1.0), Some(0.0), Some(0.0))
    );
    assert_eq!(ar.abstained_rate, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_break_has_no_score_and_no_rank() {
    let (installation, id, _) = measured(Script {
        never_breaks: true,
        ..Script::default()
    })
    .await;
    let result = installation.result(id).await;
    let run = &result.runs[0];
    assert_eq!(run.status, RunStatus::Done);
    assert!(!run.compression_detected);
    assert_eq!((run.overall_score, run.passed), (None, None));
    assert!(run.dimensions.values().all(|part| part.post.is_none()));
    assert!(result.leaderboard.is_empty());
    assert!(
        installation
            .kinds(id)
            .await
            .contains(&"no_break".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_seal_makes_the_run_void() {
    let (installation, id, _) = measured(Script {
        cheats: true,
        ..Script::default()
    })
    .await;
    let result = installation.result(id).await;
    let run = &result.runs[0];
    assert_eq!(run.status, RunStatus::Done);
    assert!(run.seal_broken);
    assert_eq!((run.overall_score, run.passed), (None, None));
    assert!(result.leaderboard.is_empty());
    let kinds = installation.kinds(id).await;
    let broken = kinds.iter().filter(|kind| *kind == "seal_broken").count();
    assert_eq!(broken, 1, "it breaks once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_break_comes_after_one_turn_of_reading() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    task::Entity::update_many()
        .set(task::ActiveModel {
            trigger: Set(Trigger::Manual),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(id))
        .exec(&installation.platform.database)
        .await
        .unwrap();
    let adapter = ScriptedAdapter::new(Script::default());
    let worker = installation.start("w1", all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.breaks[0].trigger, "manual");
    // The last teaching must not be the end of the conversation, which programs keep verbatim.
    assert_eq!(run.breaks[0].reading_turns, Some(1));
    assert_eq!(
        installation.runs(id).await[0].stats["deep_dive_iterations"],
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_is_tried_again_and_then_ends_in_error_without_a_score() {
    let (installation, id, _) = measured(Script {
        fail: Some((100, Cause::AgentCrashed)),
        ..Script::default()
    })
    .await;
    let task = installation.task(id).await;
    assert_eq!(task.status, TaskStatus::Error);
    let run = &installation.runs(id).await[0];
    assert_eq!(run.status, RunStatus::Error);
    assert_eq!(run.failure_cause, Some(FailureCause::Agent));
    assert_eq!(run.retry_count, quick().max_attempts - 1);
    assert!(
        run.error_message
            .as_deref()
            .unwrap()
            .contains("told to fail")
    );
    assert_eq!(run.overall_score, None);
    assert!(installation.result(id).await.leaderboard.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_passes_leaves_a_good_run() {
    let (installation, id, _) = measured(Script {
        fail: Some((1, Cause::ProviderDown)),
        ..Script::default()
    })
    .await;
    let run = &installation.runs(id).await[0];
    assert_eq!(run.status, RunStatus::Done);
    assert_eq!((run.retry_count, run.overall_score), (1, Some(1.0)));
    assert_eq!((run.failure_cause, &run.error_message), (None, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_only_its_own_run_with_the_cause_harness() {
    let (installation, id, _) = measured(Script {
        panics: true,
        ..Script::default()
    })
    .await;
    let run = &installation.runs(id).await[0];
    assert_eq!(run.failure_cause, Some(FailureCause::Harness));
    assert!(
        run.error_message
            .as_deref()
            .unwrap()
            .contains("told to panic")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_a_running_task_within_seconds() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 3).await;
    let adapter = ScriptedAdapter::new(Script {
        hang_at: Some("CONSTANT_3_"),
        ..Script::default()
    });
    let mut settings = installation.settings("w1");
    settings.slots = 2;
    let worker = installation.start_with(settings, all(&adapter));
    adapter.hanging.notified().await;
    let asked = Instant::now();
    cancel(&installation, id).await;
    adapter.killed.notified().await;
    let task = installation.ended(id).await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(task.status, TaskStatus::Cancelled);
    let runs = installation.runs(id).await;
    assert!(
        runs.iter().all(|run| run.status == RunStatus::Cancelled),
        "{runs:?}"
    );
    let kinds = installation.kinds(id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "completed").count(), 1);
    assert_eq!(kinds.last().unwrap(), "completed");
    worker.stop().await;
    let left = std::fs::read_dir(installation.work_dir().join("runs")).unwrap();
    assert_eq!(left.count(), 0);
}

/// Leaves a task in the state after a cancellation and a retry of one of its two runs. Returns that
/// run and the other one.
async fn half_made_again(script: Script) -> (Installation, TaskId, [agent_run::Model; 2]) {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 2).await;
    let database = &installation.platform.database;
    let off = installation.runs(id).await[0].id;
    job::Entity::delete_many()
        .filter(job::Column::RunId.eq(off))
        .exec(database)
        .await
        .unwrap();
    agent_run::Entity::update_many()
        .set(agent_run::ActiveModel {
            status: Set(RunStatus::Cancelled),
            failure_cause: Set(Some(FailureCause::Cancelled)),
            error_message: Set(Some("Task cancelled".to_owned())),
            ..Default::default()
        })
        .filter(agent_run::Column::Id.eq(off))
        .exec(database)
        .await
        .unwrap();
    let adapter = ScriptedAdapter::new(script);
    let worker = installation.start("w1", all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    let runs = installation.runs(id).await;
    let [again, off] = [false, true].map(|is_off| {
        let mut runs = runs.iter().filter(|run| (run.id == off) == is_off);
        runs.next().unwrap().clone()
    });
    (installation, id, [again, off])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_when_its_retried_runs_end_after_a_cancellation() {
    let (installation, id, [again, off]) = half_made_again(Script::default()).await;
    assert_eq!(again.status, RunStatus::Done);
    assert_eq!(off.status, RunStatus::Cancelled);
    assert_eq!(installation.task(id).await.status, TaskStatus::Done);
    let result = installation.artifact(id, None, "result.json").await;
    assert!(result.contains(&again.id.to_string()), "{result}");
    assert!(installation.result(id).await.leaderboard[0].trials == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_a_cancellation_explains_the_failed_task() {
    let (installation, id, [again, _]) = half_made_again(Script {
        fail: Some((100, Cause::AgentCrashed)),
        ..Script::default()
    })
    .await;
    assert_eq!(again.status, RunStatus::Error);
    let task = installation.task(id).await;
    assert_eq!(task.status, TaskStatus::Error);
    assert_eq!(task.failure_cause, Some(FailureCause::Agent));
    let why = task.error_message.unwrap();
    assert!(why.contains("told to fail"), "{why}");
}

/// Returns the measurements of a run without its ids.
async fn measure(
    installation: &Installation,
    id: TaskId,
) -> BTreeMap<(Arm, String), (String, Option<f64>)> {
    let labels: BTreeMap<ProbeId, String> = entity::probe::Entity::find()
        .filter(entity::probe::Column::TaskId.eq(id))
        .all(&installation.platform.database)
        .await
        .unwrap()
        .into_iter()
        .map(|probe| (probe.id, probe.label))
        .collect();
    let run = installation.runs(id).await[0].id;
    let answers = installation.answers(run).await;
    let measured: BTreeMap<_, _> = answers
        .iter()
        .map(|answer| {
            let key = (answer.arm, labels[&answer.probe_id].clone());
            (key, (answer.text.clone(), answer.grade))
        })
        .collect();
    assert_eq!(measured.len(), answers.len(), "no answer twice");
    measured
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_finishes_the_run_of_a_lost_one_with_the_same_answers() {
    let (undisturbed, its_task, _) = measured(Script {
        forgets: true,
        ..Script::default()
    })
    .await;
    // In the study, after the teaching, and between the probes.
    let losses = [
        ("Read these files", None),
        ("(turn 2)", Some("taught")),
        ("CONSTANT_5_", Some("broken")),
    ];
    for (lost_at, from) in losses {
        let installation = Installation::new().await;
        let id = prepared_task(&installation, 1).await;
        let first = ScriptedAdapter::new(Script {
            forgets: true,
            hang_at: Some(lost_at),
            ..Script::default()
        });
        let worker = installation.start("w1", all(&first));
        first.hanging.notified().await;
        // Lost like a killed process.
        worker.ended.abort();
        let _ = worker.ended.await;
        let second = ScriptedAdapter::new(Script {
            forgets: true,
            ..Script::default()
        });
        let other = installation.start("w2", all(&second));
        installation.ended(id).await;
        other.stop().await;
        assert_eq!(
            measure(&installation, id).await,
            measure(&undisturbed, its_task).await,
            "lost at {lost_at}"
        );
        let events = installation.events(id).await;
        let resumed = events.iter().find(|event| event.kind == "run_resumed");
        let resumed_from = resumed.and_then(|event| event.payload["from"].as_str());
        assert_eq!(resumed_from, from, "lost at {lost_at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_worker_releases_unfinished_jobs() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let first = ScriptedAdapter::new(Script {
        hang_at: Some("CONSTANT_5_"),
        ..Script::default()
    });
    let worker = installation.start("w1", all(&first));
    first.hanging.notified().await;
    worker.stop().await;
    let job = entity::job::Entity::find()
        .filter(entity::job::Column::TaskId.eq(id))
        .one(&installation.platform.database)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (job.state, job.attempt),
        (domain::vocabulary::JobState::Queued, 0)
    );
    let second = ScriptedAdapter::new(Script::default());
    let other = installation.start("w2", all(&second));
    installation.ended(id).await;
    other.stop().await;
    let run = &installation.runs(id).await[0];
    assert_eq!((run.status, run.retry_count), (RunStatus::Done, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_ends_as_over_budget() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let adapter = ScriptedAdapter::new(Script {
        hang_at: Some("Read these files"),
        ..Script::default()
    });
    let mut settings = installation.settings("w1");
    settings.run_timeout = Duration::from_secs(1);
    let worker = installation.start_with(settings, all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    let run = &installation.runs(id).await[0];
    assert_eq!(run.failure_cause, Some(FailureCause::Budget));
    assert!(
        run.error_message
            .as_deref()
            .unwrap()
            .contains("TASK_TIMEOUT_SECONDS")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_answers_are_asked_once_per_agent_and_probe_set() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 2).await;
    let adapter = ScriptedAdapter::new(Script::default());
    let mut settings = installation.settings("w1");
    settings.slots = 1;
    let worker = installation.start_with(settings, all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    let mut copied = Vec::new();
    for run in installation.runs(id).await {
        let answers = installation.answers(run.id).await;
        let cold: Vec<_> = answers
            .iter()
            .filter(|answer| answer.arm == Arm::Cold)
            .collect();
        assert_eq!(cold.len(), 8);
        copied.push(
            cold.iter()
                .filter(|answer| answer.copied_from.is_some())
                .count(),
        );
        assert_eq!(run.overall_score, Some(1.0));
    }
    copied.sort_unstable();
    assert_eq!(copied, [0, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_control_is_given_an_answer_key() {
    for (control, expected) in [(false, 0), (true, 1)] {
        let (_, _, adapter) = measured(Script {
            control,
            ..Script::default()
        })
        .await;
        let homes = adapter.homes.lock().unwrap().clone();
        assert!(homes.len() > 8, "a HOME per session");
        assert!(homes.iter().all(|home| home.len() == expected), "{homes:?}");
    }
}

/// Returns the keys that an agent finds when it searches for them, and a description of its
/// sandbox. Returns `None` if this machine does not support the sandbox.
async fn keys_found_in(mode: Mode) -> Option<Vec<String>> {
    let installation = Installation::new().await;
    let mut settings = installation.settings("w1");
    settings.agents.sandbox = mode;
    settings.agents.sandbox().ok()?;
    let id = prepared_task(&installation, 1).await;
    // A control that runs beside it has its key in a HOME of its own.
    let beside = installation.work_dir().join("runs/other/homes/0");
    std::fs::create_dir_all(&beside).unwrap();
    std::fs::write(
        beside.join(KEY_FILE),
        r#"{"entries": [{"distractors": []}]}"#,
    )
    .unwrap();
    let adapter = ScriptedAdapter::new(Script {
        pries: Some(installation.folder.path().to_owned()),
        ..Script::default()
    });
    let worker = installation.start_with(settings, all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    let run = &installation.runs(id).await[0];
    assert_eq!(run.status, RunStatus::Done, "{run:?}");
    let found = adapter.found.lock().unwrap().clone();
    Some(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_real_agent_can_read_an_answer_key() {
    // The unconfined search finds the keys, which proves that the search works.
    let open = keys_found_in(Mode::None).await.unwrap();
    let of_a_control = |path: &String| path.ends_with(KEY_FILE);
    assert!(open.iter().any(of_a_control), "{open:?}");
    assert!(open.iter().any(|path| path.contains("storage")), "{open:?}");
    for mode in [Mode::Landlock, Mode::Bwrap] {
        // A machine without it refuses to start; `agents` tests that.
        if let Some(found) = keys_found_in(mode).await {
            assert_eq!(found, Vec::<String>::new(), "{mode:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_found_without_notifications() {
    let mut installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    installation.platform.notifier = Arc::new(Deaf);
    let adapter = ScriptedAdapter::new(Script::default());
    let worker = installation.start("w1", all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    assert_eq!(installation.runs(id).await[0].status, RunStatus::Done);
    assert!(adapter.prompts.load(Ordering::SeqCst) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_be_prepared_ends_in_error_with_all_its_runs() {
    let installation = Installation::new().await;
    let database = &installation.platform.database;
    let mut row = builders::task();
    row.source = serde_json::json!({
        "kind": "local",
        "path": installation.folder.path().join("nowhere"),
        "base": "a",
        "head": "b",
    });
    let id = builders::store(database, row).await.unwrap().id;
    for trial in 1..=2 {
        builders::stored_run(database, id, "scripted", trial)
            .await
            .unwrap();
    }
    let ring = enqueue(database, &Work::PrepareTask { task: id })
        .await
        .unwrap();
    installation
        .platform
        .notifier
        .notify(&[ring])
        .await
        .unwrap();
    let adapter = ScriptedAdapter::new(Script::default());
    let worker = installation.start("w1", all(&adapter));
    let task = installation.ended(id).await;
    worker.stop().await;
    assert_eq!(task.status, TaskStatus::Error);
    assert_eq!(task.failure_cause, Some(FailureCause::Harness));
    assert!(
        task.error_message
            .is_some_and(|message| !message.is_empty())
    );
    for run in installation.runs(id).await {
        assert_eq!(run.status, RunStatus::Error);
        assert_eq!(run.failure_cause, Some(FailureCause::Harness));
    }
    assert_eq!(installation.kinds(id).await.last().unwrap(), "completed");
    assert_eq!(adapter.prompts.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_broke_in_a_lost_attempt_is_noticed_again_in_the_next() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    agent_run::Entity::update_many()
        .set(agent_run::ActiveModel {
            seal_broken: Set(true),
            ..Default::default()
        })
        .filter(agent_run::Column::TaskId.eq(id))
        .exec(&installation.platform.database)
        .await
        .unwrap();
    let adapter = ScriptedAdapter::new(Script {
        cheats: true,
        ..Script::default()
    });
    let worker = installation.start("w1", all(&adapter));
    installation.ended(id).await;
    worker.stop().await;
    let result = installation.result(id).await;
    assert!(result.runs[0].seal_broken);
    assert!(result.leaderboard.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_processes_are_measured_by_what_they_hold() {
    for (agent, post) in [("control-perfect", 1.0), ("control-amnesiac", 0.0)] {
        let installation = Installation::new().await;
        let id = prepared_task_of(&installation, agent, 1).await;
        let program = ControlProgram {
            path: env!("CARGO_BIN_EXE_worker").into(),
            args: vec![SUBCOMMAND.into()],
            in_process: false,
        };
        let worker = installation.start("w1", adapters::all(&Setup::with_control(program)));
        let task = installation.ended(id).await;
        worker.stop().await;
        let run = installation.result(id).await.runs.remove(0);
        assert_eq!(task.status, TaskStatus::Done, "{run:?}");
        let ar = &run.dimensions["AR"];
        assert_eq!((ar.cold, ar.baseline), (Some(0.0), Some(1.0)), "{agent}");
        assert_eq!((ar.post, ar.retention), (Some(post), Some(post)), "{agent}");
        let recalled = installation.artifact(id, Some(run.id), "free_recall").await;
        assert_eq!(recalled.contains("value3"), post > 0.5, "{recalled}");
    }
}

/// A notifier whose subscribers never receive anything.
struct Deaf;

#[async_trait::async_trait]
impl platform::notify::Notifier for Deaf {
    async fn notify(
        &self,
        _: &[platform::queue::Notification],
    ) -> Result<(), platform::notify::NotifyError> {
        Err(platform::notify::NotifyError {
            operation: "notifying",
            source: "nothing there".into(),
        })
    }

    async fn subscribe(
        &self,
        _: &str,
        _: &[String],
        _: Arc<tokio::sync::Semaphore>,
        _: Arc<dyn platform::notify::Subscriber>,
        stop: tokio_util::sync::CancellationToken,
    ) -> Result<(), platform::notify::NotifyError> {
        stop.cancelled().await;
        Ok(())
    }

    async fn trim(&self) -> Result<(), platform::notify::NotifyError> {
        Ok(())
    }

    async fn healthy(&self) -> Result<(), platform::notify::NotifyError> {
        Ok(())
    }
}
