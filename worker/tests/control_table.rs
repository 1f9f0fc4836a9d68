//! The protocol's table of controls, over twenty pull requests in six languages and ten trials of each
//! agent: through the whole pipeline, from repositories to leaderboards. The controls' own code runs in
//! this process here, because it is asked thousands of times; as processes they run in other tests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use agents::adapter::AgentAdapter;
use agents::adapters::{self, Setup};
use agents::control::ControlProgram;
use entity::status::{RunStatus, TaskStatus, Trigger};
use evaluation::leaderboard::estimate_of;
use support::Installation;
use support::repository::Repository;
use testkit::pull_requests::{self, Fixture, Language};
use testkit::repository::build_repository;
use worker::result::{ResultDocument, RunPart};
use worker::settings::WorkerSettings;

const TRIALS: i32 = 10;
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const DIMENSIONS: [&str; 4] = ["AR", "TTL", "LRU", "SF"];

fn agents() -> Vec<String> {
    let plain = [
        "perfect", "amnesiac", "stale", "guesser", "cheater", "vague", "silent",
    ];
    let plain = plain.iter().map(|name| format!("control-{name}"));
    let lossy = SHARES.iter().map(|share| format!("control-lossy:{share}"));
    plain.chain(lossy).collect()
}

fn here() -> Vec<Arc<dyn AgentAdapter>> {
    adapters::all(&Setup::of_controls(ControlProgram::in_this_process()))
}

/// One fixture measured.
async fn measured(installation: &Installation, fixture: &Fixture) -> ResultDocument {
    let path = installation.folder.path().join(&fixture.name);
    let [before, after] = fixture.states();
    let (base, head) = build_repository(&path, &before, &after).await.unwrap();
    let repository = Repository { path, base, head };
    let agents = agents();
    let agents: Vec<&str> = agents.iter().map(String::as_str).collect();
    let id = support::task(installation, &repository, &agents, TRIALS, Trigger::Manual).await;
    // A hundred and twenty runs take longer than other tests wait for.
    let task = loop {
        let task = installation.task(id).await;
        if task.status.is_final() {
            break task;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(task.status, TaskStatus::Done, "{}: {task:?}", fixture.name);
    installation.result(id).await
}

fn is(figure: Option<f64>, expected: f64) -> bool {
    figure.is_some_and(|figure| (figure - expected).abs() < 1e-9)
}

/// What of a run is not as its row of the table says.
fn miss(run: &RunPart) -> Option<String> {
    let control = run.agent.strip_prefix("control-").unwrap();
    if run.status != RunStatus::Done || !run.compression_detected {
        return Some(format!("{:?} {:?}", run.status, run.error));
    }
    if run.seal_broken != (control == "cheater") {
        return Some(format!("seal_broken is {}", run.seal_broken));
    }
    if control == "cheater" {
        return run
            .overall_score
            .map(|score| format!("void, and scores {score}"));
    }
    for name in DIMENSIONS {
        let part = &run.dimensions[name];
        if part.n < 3 {
            return Some(format!("{name} has {} probes", part.n));
        }
        let holds = match control {
            "perfect" | "lossy:1" => {
                is(part.baseline, 1.0) && is(part.post, 1.0) && is(part.retention, 1.0)
            }
            "amnesiac" | "lossy:0" => {
                is(part.baseline, 1.0) && part.post == part.cold && is(part.retention, 0.0)
            }
            "stale" if name == "SF" => {
                part.post.is_some_and(|post| post < 0.1) && part.stale_rate.unwrap() > 0.9
            }
            "stale" => is(part.baseline, 1.0) && is(part.post, 1.0),
            "guesser" => part.retention.is_none(),
            "vague" | "silent" => is(part.post, 0.0) && part.retention.is_none(),
            _ => is(part.baseline, 1.0) && part.item_retention.is_some(),
        };
        if !holds {
            return Some(format!("{name}: {part:?}"));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_holds_over_twenty_pull_requests_and_ten_trials() {
    let fixtures = pull_requests::all();
    assert_eq!(fixtures.len(), 20);
    for language in Language::ALL {
        assert!(
            fixtures
                .iter()
                .filter(|fixture| fixture.language == language)
                .count()
                >= 3
        );
    }
    let installation = Installation::new().await;
    let settings = WorkerSettings {
        slots: 8,
        ..installation.settings("w1")
    };
    let worker = installation.start_with(settings, here());
    let mut items: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    let mut runs = 0;
    for fixture in &fixtures {
        let began = std::time::Instant::now();
        let result = measured(&installation, fixture).await;
        eprintln!("{} {:?}", fixture.name, began.elapsed());
        for run in &result.runs {
            runs += 1;
            if let Some(what) = miss(run) {
                panic!(
                    "{} on {} trial {}: {what}",
                    run.agent, fixture.name, run.trial
                );
            }
            let own: Vec<f64> = run
                .dimensions
                .values()
                .flat_map(|part| {
                    let (known, kept) = (part.known.unwrap(), part.kept.unwrap());
                    (0..known).map(move |at| if at < kept { 1.0 } else { 0.0 })
                })
                .collect();
            items.entry(run.agent.clone()).or_default().push(own);
        }
        let ranked = |agent: &str| result.leaderboard.iter().any(|row| row.agent == agent);
        assert!(ranked("control-perfect") && !ranked("control-cheater"));
    }
    worker.stop().await;
    assert_eq!(runs, 20 * 12 * 10);
    for share in SHARES {
        let kept = estimate_of(&items[&format!("control-lossy:{share}")], 1);
        let (low, high) = (kept.low.unwrap(), kept.high.unwrap());
        assert!(
            low <= share && share <= high,
            "lossy:{share} measures {kept:?}"
        );
        println!("{share} {:.4} {low:.4} {high:.4}", kept.mean.unwrap());
    }
}
