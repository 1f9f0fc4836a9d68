//! The whole pipeline from a repository to the result, with control agents as real processes:
//! agents with a known memory must get known figures.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use agents::adapters::{self, Setup};
use agents::control::{ControlProgram, SUBCOMMAND};
use agents::sandbox::Mode;
use domain::vocabulary::{FailureCause, Level, RunStatus, TaskStatus, Trigger};
use evaluation::scoring::DimensionScore;
use results::document::{ResultDocument, RunPart};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use support::Installation;
use support::controls::{controls, task};
use support::repository::build;

const DIMENSIONS: [&str; 4] = ["AR", "TTL", "LRU", "SF"];

async fn measured(
    agents: &[&str],
    trials: i32,
    trigger: Trigger,
) -> (Installation, ResultDocument) {
    let installation = Installation::new().await;
    let repository = build(installation.folder.path());
    let id = task(&installation, &repository, agents, trials, trigger).await;
    let worker = installation.start("w1", controls());
    let task = installation.ended(id).await;
    worker.stop().await;
    assert_eq!(task.status, TaskStatus::Done, "{task:?}");
    let result = installation.result(id).await;
    (installation, result)
}

fn run<'a>(result: &'a ResultDocument, agent: &str) -> &'a RunPart {
    result.runs.iter().find(|run| run.agent == agent).unwrap()
}

fn close(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-9)
}

fn each(run: &RunPart) -> Vec<(&str, &DimensionScore)> {
    DIMENSIONS
        .iter()
        .map(|name| (*name, &run.dimensions[*name]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_control_measures_what_it_must() {
    let agents = [
        "control-perfect",
        "control-amnesiac",
        "control-stale",
        "control-guesser",
        "control-cheater",
        "control-vague",
    ];
    let (_installation, result) = measured(&agents, 1, Trigger::Auto).await;
    for run in &result.runs {
        assert_eq!(run.status, RunStatus::Done, "{run:?}");
        assert!(run.compression_detected, "{run:?}");
        assert_eq!(run.breaks[0].trigger, "auto");
        assert!(each(run).iter().all(|(_, part)| part.n > 0), "{run:?}");
    }

    let perfect = run(&result, "control-perfect");
    for (name, part) in each(perfect) {
        assert!(close(part.baseline, 1.0), "{name} {part:?}");
        assert!(close(part.post, 1.0), "{name} {part:?}");
        assert!(close(part.retention, 1.0), "{name} {part:?}");
        assert!(close(part.cold, 0.0), "{name} {part:?}");
    }
    assert!(close(perfect.overall_score, 1.0));
    assert_eq!(perfect.passed, Some(true));

    for (name, part) in each(run(&result, "control-amnesiac")) {
        assert!(close(part.baseline, 1.0), "{name} {part:?}");
        assert_eq!(part.post, part.cold, "{name}");
        assert!(close(part.retention, 0.0), "{name} {part:?}");
    }

    let stale = run(&result, "control-stale");
    let (ar, sf) = (&stale.dimensions["AR"], &stale.dimensions["SF"]);
    assert!(sf.post.unwrap() < 0.1, "{sf:?}");
    assert!(sf.stale_rate.unwrap() > 0.9, "{sf:?}");
    assert!(close(ar.post, 1.0), "{ar:?}");

    for (name, part) in each(run(&result, "control-guesser")) {
        assert_eq!(part.retention, None, "{name} {part:?}");
    }

    let cheater = run(&result, "control-cheater");
    assert!(cheater.seal_broken);
    assert_eq!((cheater.overall_score, cheater.passed), (None, None));

    for (name, part) in each(run(&result, "control-vague")) {
        assert!(close(part.post, 0.0), "{name} {part:?}");
    }

    let ranked: Vec<&str> = result
        .leaderboard
        .iter()
        .map(|row| row.agent.as_str())
        .collect();
    assert_eq!(ranked[0], "control-perfect");
    assert!(!ranked.contains(&"control-cheater"));
    assert_eq!(ranked.len(), agents.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_estimate_is_reported_before_the_runs_begin() {
    let installation = Installation::new().await;
    let repository = build(installation.folder.path());
    let id = task(&installation, &repository, &["codex"], 2, Trigger::Auto).await;
    let row = entity::task::ActiveModel {
        max_cost_usd: Set(Some(0.01)),
        ..Default::default()
    };
    entity::task::Entity::update_many()
        .set(row)
        .filter(entity::task::Column::Id.eq(id))
        .exec(&installation.platform.database)
        .await
        .unwrap();
    // The program is missing, so its runs fail with a message.
    let mut setup = Setup::with_control(ControlProgram {
        path: env!("CARGO_BIN_EXE_worker").into(),
        args: vec![SUBCOMMAND.into()],
        in_process: false,
    });
    setup.programs.paths = [("codex".to_owned(), "/nowhere/codex".into())].into();
    setup.models = [("codex".to_owned(), "gpt-5-codex".to_owned())].into();
    let worker = installation.start("w1", adapters::all(&setup));
    let ended = installation.ended(id).await;
    worker.stop().await;
    let estimate = ended.estimate.unwrap();
    let codex = &estimate["agents"]["codex"];
    assert_eq!(
        (&codex["runs"], &codex["model"]),
        (&2.into(), &"gpt-5-codex".into())
    );
    assert!(codex["prompts"].as_u64().unwrap() > 20, "{estimate}");
    assert!(estimate["cost_usd"].as_f64().unwrap() > 0.01, "{estimate}");
    let events = installation.events(id).await;
    let told = |event: &&entity::task_event::Model| event.payload["stage"] == "estimate";
    let lines: Vec<_> = events.iter().filter(told).collect();
    assert!(
        lines[0].payload["message"]
            .as_str()
            .unwrap()
            .contains("about")
    );
    let warning = lines.last().unwrap();
    assert_eq!(warning.level, Level::Warning);
    assert!(
        warning.payload["message"]
            .as_str()
            .unwrap()
            .contains("max_cost_usd")
    );
    let first_of_a_run = events.iter().find(|event| event.run_id.is_some()).unwrap();
    assert!(warning.seq < first_of_a_run.seq);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_that_keeps_half_measures_about_a_half() {
    let (_installation, result) = measured(&["control-lossy:0.5"], 6, Trigger::Auto).await;
    let row = &result.leaderboard[0];
    assert_eq!(row.trials, 6);
    let (low, high) = (row.retention.low.unwrap(), row.retention.high.unwrap());
    assert!(low <= 0.5 && 0.5 <= high, "{low} to {high}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_changes_nothing_that_is_measured() {
    let (_installation, open) = measured(&["control-lossy:0.5"], 1, Trigger::Auto).await;
    for mode in [Mode::Landlock, Mode::Bwrap] {
        let installation = Installation::new().await;
        let mut settings = installation.settings("w1");
        settings.agents.sandbox = mode;
        let sandbox = match settings.agents.sandbox() {
            Ok(sandbox) => sandbox,
            Err(why) => {
                // Unavailable confinement that was demanded prevents the start.
                let worker = installation.start_with(settings, controls());
                let error = worker.ended.await.unwrap().unwrap_err();
                assert!(error.source.to_string().contains(&why), "{error:?}");
                continue;
            }
        };
        let repository = build(installation.folder.path());
        let agents = ["control-lossy:0.5"];
        let id = task(&installation, &repository, &agents, 1, Trigger::Auto).await;
        let worker = installation.start_with(settings, controls());
        installation.ended(id).await;
        worker.stop().await;
        let confined = installation.result(id).await;
        let (open, confined) = (&open.runs[0], &confined.runs[0]);
        assert_eq!(confined.status, RunStatus::Done, "{confined:?}");
        assert_eq!(confined.dimensions, open.dimensions);
        let stats = &installation.runs(id).await[0].stats;
        assert_eq!(stats["sandbox"], sandbox.report().words);
        let manifest = installation
            .artifact(id, Some(confined.id), "manifest.json")
            .await;
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["sandbox"], serde_json::json!(sandbox.report()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_sandbox_prevents_the_start() {
    let installation = Installation::new().await;
    let mut settings = installation.settings("w1");
    settings.agents.connect_ports = Some(vec![443]);
    let worker = installation.start_with(settings, controls());
    let error = worker.ended.await.unwrap().unwrap_err();
    let why = error.source.to_string();
    assert!(why.contains("SANDBOX_CONNECT_PORTS"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_break_is_made_by_the_agents_own_command() {
    let (_installation, result) = measured(&["control-perfect"], 1, Trigger::Manual).await;
    let run = &result.runs[0];
    assert_eq!(run.breaks[0].trigger, "manual");
    assert!(close(run.overall_score, 1.0), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_measurements_of_one_task_are_the_same() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (_installation, result) = measured(&["control-lossy:0.5"], 1, Trigger::Auto).await;
        seen.push((
            result.task.probe_set_hash.clone(),
            result.runs[0].dimensions.clone(),
            result.runs[0].breaks.clone(),
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_change_ends_in_an_error() {
    let installation = Installation::new().await;
    let mut repository = build(installation.folder.path());
    repository.base = repository.head.clone();
    let id = task(
        &installation,
        &repository,
        &["control-perfect"],
        1,
        Trigger::Auto,
    )
    .await;
    let worker = installation.start("w1", controls());
    let task = installation.ended(id).await;
    worker.stop().await;
    assert_eq!(task.status, TaskStatus::Error);
    assert!(
        task.error_message.as_deref().unwrap().contains("empty"),
        "{task:?}"
    );
    let run = &installation.runs(id).await[0];
    assert_eq!(run.failure_cause, Some(FailureCause::Harness));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_agent_ends_its_run_with_the_cause_harness() {
    let installation = Installation::new().await;
    let repository = build(installation.folder.path());
    let agents = ["claude", "control-perfect"];
    let id = task(&installation, &repository, &agents, 1, Trigger::Auto).await;
    let worker = installation.start("w1", controls());
    let task = installation.ended(id).await;
    worker.stop().await;
    assert_eq!(task.status, TaskStatus::Done);
    let result = installation.result(id).await;
    let missing = run(&result, "claude");
    assert_eq!(missing.status, RunStatus::Error);
    assert_eq!(missing.failure_cause, Some(FailureCause::Harness));
    assert_eq!(missing.overall_score, None);
    assert_eq!(result.leaderboard.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_kills_every_process_of_an_agent() {
    let installation = Installation::new().await;
    let repository = build(installation.folder.path());
    let id = task(
        &installation,
        &repository,
        &["control-perfect"],
        3,
        Trigger::Auto,
    )
    .await;
    let worker = installation.start("w1", controls());
    installation.reached(id, "baseline").await;
    let asked = std::time::Instant::now();
    support::scripted::cancel(&installation, id).await;
    let task = installation.ended(id).await;
    assert!(asked.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(task.status, TaskStatus::Cancelled);
    assert_eq!(processes_in(&installation), Vec::<String>::new());
    worker.stop().await;
}

/// Returns the processes that run in the installation's folder.
fn processes_in(installation: &Installation) -> Vec<String> {
    let folder = installation.work_dir();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let home = std::fs::read_link(entry.path().join("cwd")).ok()?;
            home.starts_with(&folder)
                .then(|| home.display().to_string())
        })
        .collect()
}
