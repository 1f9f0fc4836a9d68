//! Several breaks, the split baseline, the canary and the limit of cost: what a run does and what is
//! told of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use agents::adapter::AgentAdapter;
use entity::status::{Arm, FailureCause, RunStatus, TaskStatus};
use entity::{TaskId, task};
use sea_orm::{ActiveModelTrait, ActiveValue::Set};
use support::Installation;
use support::scripted::{Script, ScriptedAdapter, prepared_task};

/// A task of one trial, changed before it runs.
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
    // It forgets all at a break, and learns it again from whatever it is told next.
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
async fn an_agent_that_cannot_be_copied_is_measured_by_halves() {
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
async fn a_read_that_nobody_tells_of_is_seen_by_its_canary() {
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
async fn a_task_stops_at_the_cost_that_it_may_reach() {
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

    // A limit that cannot be kept is told, and not ignored.
    let (installation, id) =
        measured(Script::default(), |task| task.max_cost_usd = Set(Some(1.0))).await;
    let run = &installation.result(id).await.runs[0];
    assert_eq!(run.failure_cause, Some(FailureCause::Budget));
    assert!(run.error.as_deref().unwrap().contains("not known"));
}
