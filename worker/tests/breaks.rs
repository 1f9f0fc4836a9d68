//! Several breaks, the split baseline, the canary and the cost limit.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use agents::adapter::AgentAdapter;
use domain::vocabulary::{Arm, FailureCause, RunStatus, TaskStatus, Trigger};
use entity::{TaskId, task};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use support::Installation;
use support::scripted::{Read, Script, ScriptedAdapter, prepared_task};

/// Measures a task of one trial, changed before it runs.
async fn measured(
    script: Script,
    change: impl FnOnce(&mut task::ActiveModel),
) -> (Installation, TaskId) {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let mut row = task::ActiveModel {
        id: Set(id),
        ..Default::default()
    };
    change(&mut row);
    row.updated_at = Set(chrono::Utc::now());
    row.update(&installation.platform.database).await.unwrap();
    let adapter: Arc<dyn AgentAdapter> = ScriptedAdapter::new(script);
    let worker = installation.start("w1", vec![adapter]);
    installation.ended(id).await;
    worker.stop().await;
    (installation, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_break_is_measured_with_a_baseline_of_its_own() {
    let script = Script {
        forgets: true,
        ..Script::default()
    };
    let (installation, id) = measured(script, |task| task.breaks = Set(3)).await;
    let result = installation.result(id).await;
    let run = &result.runs[0];
    assert_eq!(run.status, RunStatus::Done, "{run:?}");
    assert_eq!(run.breaks.len(), 3);
    assert_eq!(run.by_break.len(), 3);
    // The agent forgets everything at a break, and learns it again from the next prompts.
    for (number, figures) in (1..).zip(&run.by_break) {
        assert_eq!(figures.index, number);
        let ar = &figures.dimensions["AR"];
        assert_eq!((ar.baseline, ar.post), (Some(1.0), Some(0.0)), "{number}");
        assert_eq!(figures.kept_of_first, Some(0.0));
    }
    assert_eq!(run.overall_score, Some(0.0));
    let answers = installation.answers(run.id).await;
    // Eight probes: cold once, before and after each of three breaks.
    assert_eq!(answers.len(), 8 + 3 * 16);
    let marked: Vec<Option<u32>> = run
        .context
        .iter()
        .map(|point| point.break_index)
        .filter(Option::is_some)
        .collect();
    assert_eq!(marked, [Some(1), Some(2), Some(3)]);
    for name in [
        "free_recall",
        "free_recall-2",
        "free_recall_baseline-3",
        "compaction_summary-2",
    ] {
        installation.artifact(id, Some(run.id), name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_fork_is_measured_by_halves() {
    let script = Script {
        no_fork: true,
        ..Script::default()
    };
    let (installation, id) = measured(script, |task| task.breaks = Set(2)).await;
    let result = installation.result(id).await;
    let run = &result.runs[0];
    assert_eq!(run.status, RunStatus::Done, "{run:?}");
    assert_eq!(run.baseline.as_deref(), Some("split"));
    assert_eq!(run.breaks.len(), 1, "the halves are used up by one break");
    assert_eq!(run.breaks_planned, Some(1));
    assert_eq!(run.seal.as_deref(), Some("workspace"));
    assert_eq!((run.halves["AR"].before, run.halves["AR"].after), (4, 4));
    let manifest = installation
        .artifact(id, Some(run.id), "manifest.json")
        .await;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(
        (&manifest["breaks"], &manifest["breaks_asked"]),
        (&1.into(), &2.into())
    );
    assert!(
        installation
            .remarks(id)
            .await
            .iter()
            .any(|remark| remark.contains("2 breaks were requested and 1 is measured")),
    );
    let answers = installation.answers(run.id).await;
    let asked = |arm: Arm| {
        let mut probes: Vec<_> = answers
            .iter()
            .filter(|answer| answer.arm == arm)
            .map(|answer| answer.probe_id)
            .collect();
        probes.sort_unstable();
        probes
    };
    let (before, after) = (asked(Arm::Baseline), asked(Arm::Post));
    assert_eq!(
        (before.len(), after.len(), asked(Arm::Cold).len()),
        (4, 4, 8)
    );
    assert!(before.iter().all(|probe| !after.contains(probe)));
    let ar = &run.dimensions["AR"];
    assert_eq!((ar.baseline, ar.post), (Some(1.0), Some(1.0)));
    assert_eq!(ar.retention, Some(1.0));
    assert_eq!(ar.item_retention, None, "no probe was asked both times");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreported_read_is_detected_by_the_canary() {
    let script = Script {
        leaks: true,
        ..Script::default()
    };
    let (installation, id) = measured(script, |_| {}).await;
    let result = installation.result(id).await;
    let run = &result.runs[0];
    assert_eq!(run.canary.as_deref(), Some("seen"));
    assert!(run.seal_broken);
    assert_eq!(run.overall_score, None);
    assert!(result.leaderboard.is_empty());

    let (installation, id) = measured(Script::default(), |_| {}).await;
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.canary.as_deref(), Some("unseen"));
    assert!(!run.seal_broken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_stops_at_its_cost_limit() {
    let script = Script {
        costs: Some(0.25),
        ..Script::default()
    };
    let (installation, id) = measured(script, |task| task.max_cost_usd = Set(Some(1.0))).await;
    assert_eq!(installation.task(id).await.status, TaskStatus::Error);
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.failure_cause, Some(FailureCause::Budget));
    let why = run.error.as_deref().unwrap();
    assert!(why.contains("max_cost_usd"), "{why}");

    // A limit that cannot be enforced is reported and not ignored.
    let (installation, id) =
        measured(Script::default(), |task| task.max_cost_usd = Set(Some(1.0))).await;
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.failure_cause, Some(FailureCause::Budget));
    assert!(run.error.as_deref().unwrap().contains("is unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_compacted_while_it_is_asked_makes_the_run_void() {
    // A sealed fork before the break, one after it, the main line of an agent that cannot fork, and
    // free recall.
    for (no_fork, at) in [
        (false, "CONSTANT_3_"),
        (true, "CONSTANT_3_"),
        (false, "from memory alone"),
        (true, "from memory alone"),
    ] {
        let script = Script {
            no_fork,
            compacts_at: Some(at),
            ..Script::default()
        };
        let (installation, id) = measured(script, |_| {}).await;
        let result = installation.result(id).await;
        let run = &result.runs[0];
        assert_eq!(run.status, RunStatus::Done, "{at}: {run:?}");
        assert!(run.seal_broken, "{at}, no_fork: {no_fork}");
        assert_eq!(run.void_reason.as_deref(), Some("compaction"));
        assert_eq!(run.canary.as_deref(), Some("unseen"));
        assert_eq!((run.overall_score, run.passed), (None, None));
        assert!(result.leaderboard.is_empty());
        let report = installation.artifact(id, None, "report.md").await;
        assert!(report.contains("compacted while it was asked"), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_break_is_checked_like_a_probe() {
    for (read, reason, canary) in [
        (Read::Told, "tool_call", "unseen"),
        (Read::Streamed, "canary", "seen"),
    ] {
        let script = Script {
            reads_at_compaction: Some(read),
            ..Script::default()
        };
        let (installation, id) = measured(script, |task| task.trigger = Set(Trigger::Manual)).await;
        let run = &installation.result(id).await.runs[0];
        assert!(run.breaks[0].sealed);
        assert!(run.seal_broken, "{reason}");
        assert_eq!(run.void_reason.as_deref(), Some(reason));
        assert_eq!(run.canary.as_deref(), Some(canary));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_before_a_completed_reading_turn_is_reported() {
    let script = Script {
        compacts_at: Some("chapter_1.md"),
        ..Script::default()
    };
    let (installation, id) = measured(script, |_| {}).await;
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.breaks[0].reading_turns, Some(0));
    let told = |remark: &String| remark.contains("before a reading turn was completed");
    assert!(installation.remarks(id).await.iter().any(told));

    let (installation, id) = measured(Script::default(), |_| {}).await;
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.breaks[0].reading_turns, Some(1));
    assert!(!installation.remarks(id).await.iter().any(told));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_distance_of_taught_items_counts_turns() {
    let script = Script {
        forgets: true,
        ..Script::default()
    };
    let (installation, id) = measured(script, |task| task.breaks = Set(2)).await;
    let lines = installation.artifact(id, None, "answers.jsonl").await;
    let distances: std::collections::BTreeSet<(String, i64, String)> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| {
            (
                line["arm"].as_str().unwrap().to_owned(),
                line["break"].as_i64().unwrap(),
                line["distance"].to_string(),
            )
        })
        .collect();
    // Taught in turn 2 at 1,000 tokens. The break comes in turn 4 at 8,000, the next one in turn 8.
    let expected = [
        ("baseline", 1, r#"{"turns":2,"tokens":7000}"#),
        ("baseline", 2, r#"{"turns":6,"tokens":null}"#),
        ("cold", 0, "null"),
        ("post", 1, r#"{"turns":2,"tokens":7000}"#),
        ("post", 2, r#"{"turns":6,"tokens":null}"#),
    ];
    let expected = expected.map(|(arm, index, distance)| {
        let distance: serde_json::Value = serde_json::from_str(distance).unwrap();
        (arm.to_owned(), index, distance.to_string())
    });
    assert_eq!(distances, expected.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_odd_probe_of_a_split_is_drawn() {
    use support::scripted::{prepared, probe_set};

    let installation = Installation::new().await;
    let mut set = probe_set();
    set.probes.truncate(1);
    let file = support::scripted::changed_file(&set);
    let id = prepared(&installation, &["scripted"], 8, &set, file).await;
    let script = Script {
        no_fork: true,
        ..Script::default()
    };
    let adapter: Arc<dyn AgentAdapter> = ScriptedAdapter::new(script);
    let worker = installation.start("w1", vec![adapter]);
    installation.ended(id).await;
    worker.stop().await;
    let result = installation.result(id).await;
    let mut halves = std::collections::BTreeSet::new();
    for run in &result.runs {
        let half = run.halves["AR"];
        assert_eq!(half.before + half.after, 1);
        let ar = &run.dimensions["AR"];
        assert_eq!(ar.baseline.is_some(), half.before == 1, "{run:?}");
        assert_eq!(ar.post.is_some(), half.after == 1, "{run:?}");
        halves.insert(half.before);
    }
    assert_eq!(halves, [0, 1].into(), "of eight trials");
    let remarks = installation.remarks(id).await;
    let told = remarks.iter().filter(|r| r.contains("too few probes"));
    assert_eq!(told.count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_do_not_change_the_size_of_the_main_line() {
    // The main line is full after three turns. The forks that are asked have sizes of their own.
    let script = Script {
        manual_only: true,
        grows: Some(10),
        ..Script::default()
    };
    let (installation, id) = measured(script, |task| {
        task.trigger = Set(Trigger::Manual);
        task.breaks = Set(2);
        task.target_context_tokens = Set(Some(50));
    })
    .await;
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.breaks.len(), 2, "{run:?}");
    let last = run.context.iter().rev().find_map(|point| point.tokens);
    let stored = &installation.runs(id).await[0];
    assert_eq!(stored.stats["total_tokens"].as_u64(), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_lost_between_two_breaks_resumes_and_reports_each_break_once() {
    for within_the_second in [true, false] {
        let installation = Installation::new().await;
        let id = prepared_task(&installation, 1).await;
        let mut row = task::ActiveModel {
            id: Set(id),
            ..Default::default()
        };
        row.breaks = Set(2);
        row.updated_at = Set(chrono::Utc::now());
        row.update(&installation.platform.database).await.unwrap();
        let first = ScriptedAdapter::new(Script {
            forgets: true,
            // Checkpoints: taught; snapshot and main line of the first break; then the second
            // break, which is recorded before its own checkpoint.
            hang_at_checkpoint: within_the_second.then_some(4),
            hang_at: (!within_the_second).then_some("(turn 4)"),
            ..Script::default()
        });
        let adapter: Arc<dyn AgentAdapter> = Arc::<ScriptedAdapter>::clone(&first);
        let worker = installation.start("w1", vec![adapter]);
        first.hanging.notified().await;
        worker.ended.abort();
        let _ = worker.ended.await;
        let second: Arc<dyn AgentAdapter> = ScriptedAdapter::new(Script {
            forgets: true,
            ..Script::default()
        });
        let other = installation.start("w2", vec![second]);
        installation.ended(id).await;
        other.stop().await;
        let events = installation.events(id).await;
        let resumed = events.iter().find(|event| event.kind == "run_resumed");
        assert_eq!(resumed.unwrap().payload["from"], "broken");
        let run = &installation.result(id).await.runs[0];
        assert_eq!(run.breaks.len(), 2, "{run:?}");
        let stored = &installation.runs(id).await[0];
        let numbers: Vec<_> = stored.breaks.as_array().unwrap().iter().collect();
        assert_eq!(
            (&numbers[0]["break"], &numbers[1]["break"]),
            (&1.into(), &2.into())
        );
        assert_eq!(installation.answers(run.id).await.len(), 8 + 2 * 16);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_changed_conditions_starts_over() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    // Lost after the break, with answers of the baseline arm.
    let first = ScriptedAdapter::new(Script {
        hang_at: Some("CONSTANT_5_"),
        ..Script::default()
    });
    let worker = installation.start("w1", vec![Arc::<ScriptedAdapter>::clone(&first) as _]);
    first.hanging.notified().await;
    worker.ended.abort();
    let _ = worker.ended.await;
    let begun = installation.runs(id).await[0].clone();
    assert!(begun.checkpoint.is_some());
    // The sealed session of this agent has its tools, which makes it another variant.
    let second: Arc<dyn AgentAdapter> = ScriptedAdapter::new(Script {
        keeps_tools: true,
        ..Script::default()
    });
    let other = installation.start("w2", vec![second]);
    installation.ended(id).await;
    other.stop().await;
    let kinds: Vec<String> = installation
        .events(id)
        .await
        .into_iter()
        .map(|event| event.kind)
        .filter(|kind| kind.starts_with("run_"))
        .collect();
    assert!(!kinds.iter().any(|kind| kind == "run_resumed"), "{kinds:?}");
    let run = &installation.runs(id).await[0];
    assert_eq!(run.status, RunStatus::Done, "{run:?}");
    assert_ne!(run.manifest, begun.manifest);
    let answers = installation.answers(run.id).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.created_at > begun.updated_at)
    );
    assert_eq!(answers.len(), 3 * 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_lost_attempts_counts_towards_the_limit() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let mut row = task::ActiveModel {
        id: Set(id),
        ..Default::default()
    };
    row.max_cost_usd = Set(Some(1.0));
    row.updated_at = Set(chrono::Utc::now());
    row.update(&installation.platform.database).await.unwrap();
    // The run is lost after the turns up to the break were billed.
    let first = ScriptedAdapter::new(Script {
        costs: Some(0.2),
        hang_at: Some("CONSTANT_"),
        ..Script::default()
    });
    let adapter: Arc<dyn AgentAdapter> = Arc::<ScriptedAdapter>::clone(&first);
    let worker = installation.start("w1", vec![adapter]);
    first.hanging.notified().await;
    worker.ended.abort();
    let _ = worker.ended.await;
    let before = &installation.runs(id).await[0];
    let spent = before.stats["bill"]["known_usd"].as_f64().unwrap();
    assert!(spent > 0.7, "{before:?}");
    // The next attempt cannot resume, and sends few prompts.
    entity::agent_run::Entity::update_many()
        .set(entity::agent_run::ActiveModel {
            checkpoint: Set(None),
            ..Default::default()
        })
        .filter(entity::agent_run::Column::TaskId.eq(id))
        .exec(&installation.platform.database)
        .await
        .unwrap();
    let second: Arc<dyn AgentAdapter> = ScriptedAdapter::new(Script {
        costs: Some(0.01),
        ..Script::default()
    });
    let other = installation.start("w2", vec![second]);
    installation.ended(id).await;
    other.stop().await;
    let run = &installation.runs(id).await[0];
    let known = run.stats["bill"]["known_usd"].as_f64().unwrap();
    assert!(known > spent, "{known}");
    assert_eq!(run.failure_cause, Some(FailureCause::Budget), "{run:?}");
    assert!(
        run.error_message
            .as_deref()
            .unwrap()
            .contains("max_cost_usd")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_other_runs_is_checked_within_a_phase() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let database = &installation.platform.database;
    let mut row = task::ActiveModel {
        id: Set(id),
        ..Default::default()
    };
    row.max_cost_usd = Set(Some(1.0));
    row.updated_at = Set(chrono::Utc::now());
    row.update(database).await.unwrap();
    let adapter = ScriptedAdapter::new(Script {
        costs: Some(0.001),
        waits_at: Some("CONSTANT_"),
        ..Script::default()
    });
    let other = testkit::builders::stored_run(database, id, "scripted", 2)
        .await
        .unwrap();
    let worker = installation.start("w1", vec![Arc::<ScriptedAdapter>::clone(&adapter) as _]);
    // The first probes of the baseline arm are being asked when another run becomes expensive.
    adapter.waiting.notified().await;
    entity::agent_run::Entity::update_many()
        .set(entity::agent_run::ActiveModel {
            stats: Set(serde_json::json!({"bill": {"known_usd": 2.0}})),
            status: Set(RunStatus::Done),
            ..Default::default()
        })
        .filter(entity::agent_run::Column::Id.eq(other))
        .exec(database)
        .await
        .unwrap();
    adapter.gate.add_permits(1_000);
    installation.ended(id).await;
    worker.stop().await;
    let runs = installation.runs(id).await;
    let run = runs.iter().find(|run| run.id != other).unwrap();
    assert_eq!(run.failure_cause, Some(FailureCause::Budget), "{run:?}");
    let answers = installation.answers(run.id).await.len();
    assert!(answers < 8, "{answers} answers: it stops within the arm");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_before_a_retry_is_included() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let run = installation.runs(id).await[0].clone();
    // A retry leaves only the bill and resets the start.
    let mut row: entity::agent_run::ActiveModel = run.into();
    row.stats = Set(
        serde_json::json!({"bill": {"known_usd": 4.0, "turns": 9, "cost_usd": 4.0,
        "turns_without_tokens": 0, "turns_without_cost": 0, "lost": 0, "tokens": null,
        "cost_source": "program"}}),
    );
    row.update(&installation.platform.database).await.unwrap();
    let adapter: Arc<dyn AgentAdapter> = ScriptedAdapter::new(Script {
        costs: Some(0.25),
        ..Script::default()
    });
    let worker = installation.start("w1", vec![adapter]);
    installation.ended(id).await;
    worker.stop().await;
    let stored = &installation.runs(id).await[0];
    assert!(
        stored.stats["bill"]["known_usd"].as_f64() > Some(4.0),
        "{stored:?}"
    );
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.status, RunStatus::Done);
    assert_eq!(
        run.cost_usd, None,
        "of the last try alone it would be too little"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_answers_are_reused_only_under_equal_conditions() {
    let installation = Installation::new().await;
    let mut copied = Vec::new();
    // The second agent equals the first; the third has its tools in the sealed session. Before the
    // fourth, all earlier answers turn out to belong to other prompts.
    for (keeps_tools, other_prompts) in
        [(false, false), (false, false), (true, false), (false, true)]
    {
        if other_prompts {
            let every = entity::agent_run::Entity::find();
            for run in every.all(&installation.platform.database).await.unwrap() {
                let mut manifest = run.manifest.clone().unwrap();
                manifest["prompt_hash"] = "others".into();
                let mut row: entity::agent_run::ActiveModel = run.into();
                row.manifest = Set(Some(manifest));
                row.update(&installation.platform.database).await.unwrap();
            }
        }
        let id = prepared_task(&installation, 1).await;
        let adapter: Arc<dyn AgentAdapter> = ScriptedAdapter::new(Script {
            keeps_tools,
            ..Script::default()
        });
        let worker = installation.start("w1", vec![adapter]);
        installation.ended(id).await;
        worker.stop().await;
        let run = &installation.runs(id).await[0];
        assert_eq!(run.status, RunStatus::Done);
        assert!(run.manifest.as_ref().unwrap()["configuration_hash"].is_string());
        let answers = installation.answers(run.id).await;
        let cold = answers.iter().filter(|answer| answer.arm == Arm::Cold);
        copied.push(cold.filter(|answer| answer.copied_from.is_some()).count());
    }
    assert_eq!(copied, [0, 8, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seen_canary_stays_seen_after_a_resume() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    let first = ScriptedAdapter::new(Script {
        leaks: true,
        hang_at: Some("CONSTANT_5_"),
        ..Script::default()
    });
    let worker = installation.start("w1", vec![Arc::<ScriptedAdapter>::clone(&first) as _]);
    first.hanging.notified().await;
    installation
        .wait(id, "the broken seal", |_, kinds| {
            kinds.iter().any(|kind| kind == "seal_broken")
        })
        .await;
    worker.ended.abort();
    let _ = worker.ended.await;
    let second: Arc<dyn AgentAdapter> = ScriptedAdapter::new(Script::default());
    let other = installation.start("w2", vec![second]);
    installation.ended(id).await;
    other.stop().await;
    let run = &installation.result(id).await.runs[0];
    assert!(run.seal_broken);
    assert_eq!(run.canary.as_deref(), Some("seen"));
    assert_eq!(run.void_reason.as_deref(), Some("canary"));
}
