//! Open questions, which only models judge; and several closed probes in one prompt.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agents::adapter::AgentAdapter;
use domain::vocabulary::{JudgingStatus, TaskStatus, Trigger};
use entity::{JudgingId, RunId, TaskId, judging, task};
use platform::queue::{Work, enqueue};
use platform::settings::SecretString;
use results::document::{OpenPart, ResultDocument};
use sea_orm::{ActiveModelTrait, ActiveValue::Set};
use testkit::judge_stub::{Answer, JudgeStub, Question};
use worker::settings::judges::{Api, JudgeModel};
use worker::settings::{JudgeSettings, WorkerSettings};

use support::Installation;
use support::controls::{controls, task as control_task};
use support::repository::build;
use support::scripted::{Script, ScriptedAdapter, prepared_task};

/// Accepts a fact that the text contains verbatim.
fn literal(asked: &Question) -> Answer {
    let findings = asked.facts.iter().map(|(_, statement)| {
        let said = asked.text.contains(statement.as_str());
        (said, said, false)
    });
    Answer::Findings(findings.collect())
}

fn judges(stub: Option<&JudgeStub>) -> JudgeSettings {
    JudgeSettings {
        models: stub
            .iter()
            .map(|stub| JudgeModel {
                api: Api::OpenAi,
                model: "m-literal".to_owned(),
                base_url: stub.url().parse().unwrap(),
                key: SecretString::from("sk-judge-of-a-test"),
                name: None,
                family: Some("family of a test".to_owned()),
            })
            .collect(),
        wait: Duration::from_millis(1),
        retries: 0,
        ..JudgeSettings::default()
    }
}

/// Measures controls after changing the task.
async fn measured(
    agents: &[&str],
    trials: i32,
    stub: Option<&JudgeStub>,
    change: impl FnOnce(&mut task::ActiveModel),
) -> (Installation, TaskId) {
    let installation = Installation::new().await;
    let repository = build(installation.folder.path());
    let id = control_task(&installation, &repository, agents, trials, Trigger::Manual).await;
    let mut row = task::ActiveModel {
        id: Set(id),
        updated_at: Set(chrono::Utc::now()),
        ..Default::default()
    };
    change(&mut row);
    row.update(&installation.platform.database).await.unwrap();
    let settings = WorkerSettings {
        judges: judges(stub),
        ..installation.settings("w1")
    };
    let worker = installation.start_with(settings, controls());
    let task = installation.ended(id).await;
    worker.stop().await;
    assert_eq!(task.status, TaskStatus::Done, "{task:?}");
    (installation, id)
}

fn open<'a>(result: &'a ResultDocument, agent: &str, arm: &str) -> Vec<&'a OpenPart> {
    let runs = result.runs.iter().filter(|run| run.agent == agent);
    runs.flat_map(|run| &run.open)
        // The jury of this one model has the same figures.
        .filter(|part| part.arm == arm && part.judge != "jury")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_perfect_memory_answers_open_questions_and_a_lost_one_does_not() {
    let stub = JudgeStub::start(literal).await.unwrap();
    let agents = ["control-perfect", "control-amnesiac"];
    let (installation, id) = measured(&agents, 1, Some(&stub), |_| {}).await;
    let result = installation.result(id).await;
    for (agent, arm, recall) in [
        ("control-perfect", "baseline", 1.0),
        ("control-perfect", "post", 1.0),
        ("control-perfect", "cold", 0.0),
        ("control-amnesiac", "baseline", 1.0),
        ("control-amnesiac", "post", 0.0),
    ] {
        let parts = open(&result, agent, arm);
        let topics: Vec<&str> = parts.iter().map(|part| part.topic.as_str()).collect();
        assert_eq!(topics, ["purpose", "risks", "rollback"], "{agent} {arm}");
        for part in parts {
            assert_eq!(part.claims.recall, Some(recall), "{agent} {arm} {part:?}");
            assert_eq!(part.judge, "openai:m-literal");
            assert_eq!(
                (part.claims.ungraded, part.index),
                (0, u32::from(arm != "cold"))
            );
            assert!(part.claims.facts > 1, "{part:?}");
        }
    }
    // The constant's old value is only in the diff.
    let run = result.runs.iter().find(|run| run.agent == agents[0]);
    let run = run.unwrap().id;
    let said = installation.artifact(id, Some(run), "open_rollback").await;
    assert!(
        said.contains("`STOCK_LIMIT` has to get its old value `10` back"),
        "{said}"
    );
    // Open questions affect neither free recall nor the ranking.
    assert!(
        result
            .runs
            .iter()
            .all(|run| run.recall.iter().all(|part| part.arm != "cold"))
    );
    let votes = installation.artifact(id, Some(run), "votes-1.jsonl").await;
    let judged = votes
        .lines()
        .filter(|line| line.contains("\"topic\":\"risks\""));
    assert_eq!(judged.count(), 3);
    let report = results::report::markdown(&results::report::task_report(&result)).unwrap();
    assert!(report.contains("## Open questions"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_questions_without_a_model_are_ungraded_and_scores_do_not_change() {
    let (installation, id) = measured(&["control-lossy:0.5"], 1, None, |_| {}).await;
    let asked = installation.result(id).await;
    let run = &asked.runs[0];
    assert_eq!(run.open.len(), 9);
    for part in &run.open {
        assert_eq!(
            (part.judge.as_str(), part.claims.ungraded),
            ("none", part.claims.facts)
        );
        assert_eq!(
            (part.claims.precision, part.claims.recall),
            (None, None),
            "{part:?}"
        );
    }
    let failing = JudgeStub::start(|_| Answer::Status(401, None))
        .await
        .unwrap();
    let (installation, id) = measured(&["control-lossy:0.5"], 1, Some(&failing), |_| {}).await;
    let failed = installation.result(id).await;
    for part in &failed.runs[0].open {
        assert_eq!(
            (part.claims.ungraded, part.claims.recall),
            (part.claims.facts, None),
            "{part:?}"
        );
    }
    let off = |task: &mut task::ActiveModel| task.open_questions = Set(false);
    let (installation, id) = measured(&["control-lossy:0.5"], 1, None, off).await;
    let not_asked = installation.result(id).await;
    assert_eq!(not_asked.runs[0].open, []);
    assert!(!not_asked.task.open_questions);
    for other in [&failed, &not_asked] {
        assert_eq!(other.runs[0].dimensions, run.dimensions);
        assert_eq!(other.runs[0].overall_score, run.overall_score);
    }
    // The leaderboard's recall is that of free recall alone.
    assert!(asked.leaderboard[0].recall.is_some());
    assert_eq!(not_asked.leaderboard[0].recall, asked.leaderboard[0].recall);
}

#[tokio::test(flavor = "multi_thread")]
async fn judging_again_judges_open_answers_too() {
    let (installation, id) = measured(&["control-perfect"], 2, None, |_| {}).await;
    let before = installation.result(id).await;
    assert!(before.runs.iter().all(|run| run.open.len() == 9));
    let database = &installation.platform.database;
    let asked = judging::ActiveModel {
        id: Set(JudgingId::new()),
        task_id: Set(id),
        number: Set(2),
        status: Set(JudgingStatus::Queued),
        judges: Set(serde_json::json!([])),
        agreement: Set(None),
        error_message: Set(None),
        created_by: Set(None),
        created_at: Set(chrono::Utc::now()),
        completed_at: Set(None),
    };
    asked.insert(database).await.unwrap();
    let work = Work::JudgeTask {
        task: id,
        judging: 2,
    };
    let ring = enqueue(database, &work).await.unwrap();
    installation
        .platform
        .notifier
        .notify(&[ring])
        .await
        .unwrap();
    let stub = JudgeStub::start(literal).await.unwrap();
    let settings = WorkerSettings {
        judges: judges(Some(&stub)),
        ..installation.settings("w2")
    };
    let worker = installation.start_with(settings, controls());
    let after = loop {
        let result = installation.result(id).await;
        if result.judging.number == 2 {
            break result;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    worker.stop().await;
    let judged = after.runs.iter().flat_map(|run| &run.open);
    for part in judged.filter(|part| part.judge != "jury") {
        let expected = if part.arm == "cold" { 0.0 } else { 1.0 };
        assert_eq!(part.claims.recall, Some(expected), "{part:?}");
    }
}

/// Adds facts for open questions to a task that was prepared by hand.
async fn with_open_facts(installation: &Installation, id: TaskId) {
    let name = ".material.json";
    let bytes = installation.artifact_bytes(id, None, name).await;
    let mut material: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    material["open"] = serde_json::json!([{
        "topic": "purpose",
        "fact": {"id": "F01", "statement": "The change adds the file `a.rs`.",
            "subjects": ["a.rs"], "values": ["added"], "distractors": []},
        "evidence": ["new file mode 100644"],
    }]);
    let bytes = serde_json::to_vec(&material).unwrap();
    let platform = &installation.platform;
    platform
        .artifacts
        .put_private(&platform.database, id, None, name, bytes.into())
        .await
        .unwrap();
}

/// Returns the headings of a run's transcript, in order.
async fn headings(installation: &Installation, id: TaskId, run: RunId) -> Vec<String> {
    let transcript = installation.artifact(id, Some(run), "transcript").await;
    let lines = transcript.lines().filter(|line| line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_answers_are_asked_once_and_reused() {
    let (installation, id) = measured(&["control-perfect"], 3, None, |_| {}).await;
    let mut fresh = 0;
    for run in installation.runs(id).await {
        installation
            .artifact(id, Some(run.id), "open_purpose_cold")
            .await;
        let asked = headings(&installation, id, run.id).await;
        let of_cold = |what: &str| {
            let mut lines = asked.iter();
            lines.any(|line| line.contains(what) && line.ends_with(" of cold"))
        };
        // The run that asked the probes also asked these questions, and no other run did.
        assert_eq!(of_cold("purpose"), of_cold("AR-"));
        fresh += usize::from(of_cold("purpose"));
    }
    assert!(fresh >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_an_open_question_compacts_makes_the_run_void() {
    for no_fork in [false, true] {
        let installation = Installation::new().await;
        let id = prepared_task(&installation, 1).await;
        with_open_facts(&installation, id).await;
        let script = Script {
            no_fork,
            compacts_at: Some("What is the pull request for"),
            ..Script::default()
        };
        let adapter: Arc<dyn AgentAdapter> = ScriptedAdapter::new(script);
        let worker = installation.start("w1", vec![adapter]);
        installation.ended(id).await;
        worker.stop().await;
        let run = &installation.result(id).await.runs[0];
        assert!(run.seal_broken, "no_fork: {no_fork}: {run:?}");
        assert_eq!(run.void_reason.as_deref(), Some("compaction"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_fork_gets_open_questions_after_the_closed_probes() {
    let installation = Installation::new().await;
    let id = prepared_task(&installation, 1).await;
    with_open_facts(&installation, id).await;
    let script = Script {
        no_fork: true,
        ..Script::default()
    };
    let adapter: Arc<dyn AgentAdapter> = ScriptedAdapter::new(script);
    let worker = installation.start("w1", vec![adapter]);
    installation.ended(id).await;
    worker.stop().await;
    let run = &installation.runs(id).await[0];
    let asked = headings(&installation, id, run.id).await;
    let place = |what: &str| asked.iter().rposition(|line| line.contains(what));
    let open = place("purpose of post");
    assert!(open > place("memory_only of post"), "{asked:?}");
    let closed: Vec<_> = (0..8)
        .filter_map(|number| place(&format!("AR-{number:02} of post")))
        .collect();
    assert_eq!(closed.len(), 4, "{asked:?}");
    assert!(closed.into_iter().all(|at| open > Some(at)), "{asked:?}");
    assert_eq!(place("purpose of baseline"), None, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_measure_the_same_with_four_probes_in_a_prompt() {
    let agents = [
        "control-perfect",
        "control-amnesiac",
        "control-stale",
        "control-guesser",
        "control-vague",
        "control-silent",
        "control-cheater",
        "control-lossy:0.5",
    ];
    let mut seen = Vec::new();
    for per_prompt in [1, 4] {
        let (installation, id) = measured(&agents, 1, None, |task| {
            task.probes_per_prompt = Set(per_prompt);
            task.open_questions = Set(false);
        })
        .await;
        let result = installation.result(id).await;
        assert_eq!(result.task.probes_per_prompt, per_prompt.unsigned_abs());
        let run = |agent: &str| result.runs.iter().find(|run| run.agent == agent).unwrap();
        for part in run("control-perfect").dimensions.values() {
            assert_eq!((part.baseline, part.post), (Some(1.0), Some(1.0)));
        }
        for part in run("control-amnesiac").dimensions.values() {
            assert_eq!((part.baseline, part.post), (Some(1.0), part.cold));
        }
        assert!(run("control-cheater").seal_broken);
        let manifest = &installation.runs(id).await[0].manifest;
        assert_eq!(manifest.as_ref().unwrap()["probes_per_prompt"], per_prompt);
        let prompts: BTreeSet<i64> = installation
            .runs(id)
            .await
            .iter()
            .filter(|run| run.agent == "control-perfect")
            .map(|run| run.stats["prompts"].as_i64().unwrap())
            .collect();
        let figures: Vec<_> = agents
            .iter()
            .map(|agent| {
                (
                    *agent,
                    run(agent).dimensions.clone(),
                    run(agent).overall_score,
                )
            })
            .collect();
        seen.push((figures, prompts));
    }
    assert_eq!(seen[0].0, seen[1].0);
    assert!(seen[1].1 < seen[0].1, "{:?} {:?}", seen[0].1, seen[1].1);
}
