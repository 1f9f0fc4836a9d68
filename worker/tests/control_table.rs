//! The protocol's table of controls, over twenty pull requests in six languages and ten trials of
//! each agent.
//!
//! It is checked twice. The first test covers all of it with the conversations alone: adapter,
//! prompts, probes, grading and scoring are real, but there is no queue, database or process per
//! turn, so that 2,400 runs take a minute. The second test sends one pull request of each language
//! through the whole pipeline.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agents::adapter::{Access, AgentAdapter, AgentSession, Limits, RawSink, SessionSpec, Stream};
use agents::adapters::{self, Setup};
use agents::control::{ControlProgram, KEY_FILE};
use agents::event::CompactionTrigger;
use agents::sandbox::Sandbox;
use domain::PullRequestSource;
use domain::pull_request::PullRequest;
use domain::vocabulary::{Arm, Dimension, RunStatus, TaskStatus, Trigger};
use evaluation::facts::fact_sheet;
use evaluation::grading::grade;
use evaluation::leaderboard::{
    Estimate, Outcome, RunResult, SEAL_BROKEN, estimate_of, leaderboard,
};
use evaluation::probe::ProbeSet;
use evaluation::probes::{ProbePlan, generate, prove};
use evaluation::scoring::{DimensionScore, Graded, RunScore, score_run};
use futures::{StreamExt, stream};
use prompts::{DeepDive, Prompt, Study};
use sha2::Digest as _;
use source::{DiffLimits, resolve};
use support::Installation;
use support::repository::Repository;
use testkit::pull_requests::{self, Fixture, Language};
use tokio_util::sync::CancellationToken;

const TRIALS: u32 = 10;
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

fn agents() -> Vec<String> {
    let plain = [
        "perfect", "amnesiac", "stale", "guesser", "cheater", "vague", "silent",
    ];
    let plain = plain.iter().map(|name| format!("control-{name}"));
    let lossy = SHARES.iter().map(|share| format!("control-lossy:{share}"));
    plain.chain(lossy).collect()
}

fn here() -> Vec<Arc<dyn AgentAdapter>> {
    adapters::all(&Setup::with_control(ControlProgram::in_this_process()))
}

fn is(figure: Option<f64>, expected: f64) -> bool {
    figure.is_some_and(|figure| (figure - expected).abs() < 1e-9)
}

/// Returns whether the figures of a dimension match the row of a control.
fn holds(control: &str, dimension: Dimension, part: &DimensionScore) -> bool {
    let knew_all = is(part.baseline, 1.0);
    part.n >= 3
        && match control {
            "perfect" | "lossy:1" => {
                knew_all
                    && is(part.post, 1.0)
                    && is(part.retention, 1.0)
                    && is(part.item_retention, 1.0)
            }
            "amnesiac" | "lossy:0" => knew_all && part.post == part.cold && is(part.retention, 0.0),
            "stale" if dimension == Dimension::Sf => {
                knew_all
                    && part.post.is_some_and(|post| post < 0.1)
                    && part.stale_rate.is_some_and(|rate| rate > 0.9)
            }
            "stale" => knew_all && is(part.post, 1.0),
            "guesser" => part.retention.is_none(),
            "vague" | "silent" => is(part.post, 0.0) && part.retention.is_none(),
            // A share: one run is subject to chance, all runs together are not.
            _ => knew_all && part.item_retention.is_some(),
        }
}

/// A sink that drops everything.
struct Nowhere;

impl RawSink for Nowhere {
    fn line(&self, _: Stream, _: &[u8]) {}
}

/// Material that all runs of a fixture share.
struct Material {
    probes: ProbeSet,
    workspace: PathBuf,
}

async fn material(installation: &Installation, fixture: &Fixture) -> Material {
    let folder = installation.folder.path();
    let path = folder.join(fixture.name);
    let (base, head) = fixture.commit(&path).await.unwrap();
    let source = PullRequestSource::Local {
        path: path.to_string_lossy().into_owned(),
        base,
        head,
    };
    let limits = DiffLimits {
        max_files: 50,
        patch_bytes: 1 << 20,
        file_bytes: 1 << 18,
    };
    let settings = installation.settings("reader");
    let cancel = CancellationToken::new();
    let resolved = resolve(&settings.source(), &source, limits, &cancel, &|_, _| {})
        .await
        .unwrap();
    let pull_request = PullRequest {
        title: Some(fixture.title.clone()),
        ..resolved.pull_request
    };
    let sheet = fact_sheet(&pull_request);
    let probes = prove(
        generate(&sheet, &ProbePlan::standard(7, &Dimension::ALL)),
        &pull_request,
    );
    let workspace = folder.join(format!("{}-workspace", fixture.name));
    std::fs::create_dir_all(workspace.join("repo")).unwrap();
    let diff: String = pull_request
        .files
        .iter()
        .map(|file| file.patch.as_str())
        .collect();
    std::fs::write(workspace.join("pull_request.diff"), diff).unwrap();
    Material { probes, workspace }
}

impl Material {
    fn spec(&self, home: &Path, access: Access, seed: u64) -> SessionSpec {
        std::fs::create_dir_all(home).unwrap();
        let key = serde_json::to_vec(&worker::key_of(&self.probes, &[])).unwrap();
        std::fs::write(home.join(KEY_FILE), key).unwrap();
        let (events, mut heard) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move { while heard.recv().await.is_some() {} });
        SessionSpec {
            home: home.to_owned(),
            workspace: (access == Access::Workspace).then(|| self.workspace.clone()),
            access,
            context_tokens: Some(200_000),
            may_compact: false,
            seed,
            environment: BTreeMap::new(),
            limits: Limits::default(),
            sandbox: Sandbox::none(),
            raw: Arc::new(Nowhere),
            events,
            cancel: CancellationToken::new(),
        }
    }

    /// Asks all probes in one fork, and returns whether the seal was kept. One fork is enough,
    /// because a sealed fork of a control keeps nothing of its prompts.
    async fn ask(&self, session: &dyn AgentSession, arm: Arm, graded: &mut Vec<Graded>) -> bool {
        let mut sealed = true;
        let mut copy = session.fork(Access::Sealed).await.unwrap();
        for probe in &self.probes.probes {
            let question = prompts::Probe {
                question: &probe.question,
            };
            let turn = copy.prompt(&question.render().unwrap()).await.unwrap();
            sealed &= turn.tool_calls.is_empty();
            let grade = grade(&probe.grader, &turn.text);
            graded.push(Graded {
                probe: probe.label.clone(),
                dimension: probe.dimension,
                arm,
                grade: grade.value,
                verdict: grade.verdict,
            });
        }
        copy.close().await;
        sealed
    }

    /// Performs one run: study, teaching, baseline, break, post. `cold` is answered once per agent.
    async fn run(
        &self,
        adapter: &dyn AgentAdapter,
        home: &Path,
        seed: u64,
        cold: &[Graded],
    ) -> (RunScore, bool) {
        let spec = self.spec(home, Access::Workspace, seed);
        let mut main = adapter.open(spec).await.unwrap();
        let files = ["pull_request.diff".to_owned()];
        let study = Study {
            repo: "fixtures",
            files: &files,
        };
        main.prompt(&study.render().unwrap()).await.unwrap();
        let mut turns: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for lesson in &self.probes.teaching {
            let turn = turns.entry(lesson.turn).or_default();
            turn.push(lesson.text.clone());
        }
        for (number, teaching) in (1..).zip(turns.values()) {
            let dive = DeepDive {
                turn: number,
                teaching,
                files: &[],
            };
            main.prompt(&dive.render().unwrap()).await.unwrap();
        }
        let mut graded = cold.to_vec();
        let snapshot = main.fork(Access::Sealed).await.unwrap();
        let mut sealed = self
            .ask(snapshot.as_ref(), Arm::Baseline, &mut graded)
            .await;
        snapshot.close().await;
        let turn = main.compact(CompactionTrigger::Manual).await.unwrap();
        assert_eq!(turn.compactions.len(), 1);
        sealed &= self.ask(main.as_ref(), Arm::Post, &mut graded).await;
        main.close().await;
        std::fs::remove_dir_all(home).unwrap();
        (score_run(&Dimension::ALL, &graded, 0.5, true), sealed)
    }
}

/// Performs all trials of one agent on one pull request.
async fn trials(material: &Material, folder: &Path, agent: &str) -> Vec<(RunScore, bool)> {
    let adapters = here();
    let adapter = adapters::adapter_for(&adapters, agent).unwrap();
    let home = |what: &str| folder.join(format!("{}-{what}", agent.replace(':', "-")));
    let spec = material.spec(&home("cold"), Access::Sealed, 0);
    let fresh = adapter.open(spec).await.unwrap();
    let mut cold = Vec::new();
    material.ask(fresh.as_ref(), Arm::Cold, &mut cold).await;
    let mut runs = Vec::new();
    for trial in 1..=TRIALS {
        // Every run has its own seed, as in the worker. Otherwise the draws of lossy controls would
        // be the same everywhere.
        let seed = sha2::Sha256::digest(format!("{}/{agent}/{trial}", material.probes.hash()));
        let seed = seed
            .iter()
            .take(8)
            .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        let home = home(&trial.to_string());
        runs.push(material.run(adapter.as_ref(), &home, seed, &cold).await);
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_holds_over_twenty_pull_requests_and_ten_trials() {
    let fixtures = pull_requests::all();
    assert_eq!(fixtures.len(), 20);
    let installation = Installation::new().await;
    let mut materials = Vec::new();
    for fixture in &fixtures {
        materials.push((fixture, material(&installation, fixture).await));
    }
    let agents = agents();
    let work = materials
        .iter()
        .flat_map(|(fixture, material)| agents.iter().map(move |agent| (fixture, material, agent)));
    let root = installation.folder.path().join("homes");
    let measured: Vec<_> = stream::iter(work)
        .map(|(fixture, material, agent)| {
            let folder = root.join(fixture.name);
            async move { (fixture, agent, trials(material, &folder, agent).await) }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let mut kept: HashMap<&str, Vec<Vec<f64>>> = HashMap::new();
    let mut results: BTreeMap<&str, Vec<RunResult>> = BTreeMap::new();
    for (fixture, agent, runs) in &measured {
        let control = agent.strip_prefix("control-").unwrap();
        for (trial, (score, sealed)) in (1..).zip(runs) {
            assert_eq!(*sealed, control != "cheater", "{agent} on {}", fixture.name);
            for (dimension, part) in &score.dimensions {
                assert!(
                    control == "cheater" || holds(control, *dimension, part),
                    "{agent} on {} trial {trial}: {dimension:?} {part:?}",
                    fixture.name
                );
            }
            let items = score.dimensions.values().flat_map(|part| {
                let (known, kept) = (part.known.unwrap(), part.kept.unwrap());
                (0..known).map(move |at| if at < kept { 1.0 } else { 0.0 })
            });
            kept.entry(agent).or_default().push(items.collect());
            results.entry(fixture.name).or_default().push(RunResult {
                agent: (*agent).clone(),
                trial,
                pull_request: fixture.name.to_owned(),
                session: trial.to_string(),
                outcome: if *sealed {
                    Outcome::Measured
                } else {
                    Outcome::Void {
                        why: SEAL_BROKEN.to_owned(),
                    }
                },
                recall: None,
                score: score.clone(),
                manifest: BTreeMap::new(),
                duration_ms: None,
            });
        }
    }
    assert_eq!(measured.len() * TRIALS as usize, 2_400);
    for runs in results.values() {
        let rows = leaderboard(runs, 0.5, 1).ranked;
        assert!(rows[0].agent == "control-lossy:1" || rows[0].agent == "control-perfect");
        assert!(rows.iter().all(|row| row.agent != "control-cheater"));
        // Retention is undefined, and not 0, for a control that says nothing or guesses.
        for row in &rows {
            let null = ["control-vague", "control-guesser", "control-silent"];
            if null.contains(&row.agent.as_str()) {
                assert_eq!(row.retention.mean, None, "{row:?}");
            }
        }
    }
    let figures: Vec<(f64, Estimate)> = SHARES
        .iter()
        .map(|share| {
            let agent = format!("control-lossy:{share}");
            (*share, estimate_of(&kept[agent.as_str()], 1))
        })
        .collect();
    for (share, found) in &figures {
        assert!(
            found.low.unwrap() <= *share && *share <= found.high.unwrap(),
            "of {share} are kept {found:?}"
        );
    }
    check_plot(&figures);
}

/// Compares the plot in `docs/` with the measurements of this test. `UPDATE_PLOTS=1` draws it
/// again.
fn check_plot(figures: &[(f64, Estimate)]) {
    let at = |x: f64, y: f64| (60.0 + 400.0 * x, 440.0 - 400.0 * y);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 520 500\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>Item retention of the lossy control against the share that it keeps</title>\n\
         <desc>Twenty pull requests, ten trials each; points with 95 % intervals lie on the diagonal.</desc>\n\
         <rect width=\"520\" height=\"500\" fill=\"#ffffff\"/>\n",
    );
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let (x, y) = at(share, share);
        svg.push_str(&format!(
            "<path d=\"M{x:.1} 440V446M54 {y:.1}H60\" stroke=\"#444444\"/>\n\
             <text x=\"{x:.1}\" y=\"462\" text-anchor=\"middle\">{share}</text>\n\
             <text x=\"48\" y=\"{:.1}\" text-anchor=\"end\">{share}</text>\n",
            y + 4.5
        ));
    }
    svg.push_str(
        "<path d=\"M60 40V440H460\" fill=\"none\" stroke=\"#444444\"/>\n\
         <path d=\"M60 440L460 40\" stroke=\"#999999\" stroke-dasharray=\"4 4\"/>\n\
         <text x=\"260\" y=\"486\" text-anchor=\"middle\">p: share that control-lossy:p keeps</text>\n\
         <text transform=\"translate(16 240) rotate(-90)\" text-anchor=\"middle\">item retention measured</text>\n",
    );
    for (share, found) in figures {
        let (x, middle) = at(*share, found.mean.unwrap());
        let (_, low) = at(*share, found.low.unwrap());
        let (_, high) = at(*share, found.high.unwrap());
        svg.push_str(&format!(
            "<path d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h10M{:.1} {high:.1}h10\" stroke=\"#0b5cad\"/>\n\
             <circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"4\" fill=\"#0b5cad\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.3} [{:.3}, {:.3}]</text>\n",
            x - 5.0,
            x - 5.0,
            if *share > 0.5 { x - 168.0 } else { x + 10.0 },
            middle + 5.0,
            found.mean.unwrap(),
            found.low.unwrap(),
            found.high.unwrap()
        ));
    }
    svg.push_str("</svg>\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lossy-control.svg");
    if std::env::var_os("UPDATE_PLOTS").is_some() {
        std::fs::write(&path, &svg).unwrap();
    }
    let drawn = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        drawn, svg,
        "docs/lossy-control.svg is old: run this test with UPDATE_PLOTS=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_holds_through_the_whole_pipeline_in_every_language() {
    let installation = Installation::new().await;
    let worker = installation.start("w1", here());
    let fixtures = pull_requests::all();
    let languages = [
        Language::Rust,
        Language::Python,
        Language::TypeScript,
        Language::Go,
        Language::Java,
        Language::C,
    ];
    for language in languages {
        let fixture = fixtures
            .iter()
            .find(|fixture| fixture.language == language)
            .unwrap();
        let path = installation.folder.path().join(fixture.name);
        let (base, head) = fixture.commit(&path).await.unwrap();
        let repository = Repository { path, base, head };
        let agents = agents();
        let agents: Vec<&str> = agents.iter().map(String::as_str).collect();
        let id =
            support::controls::task(&installation, &repository, &agents, 1, Trigger::Manual).await;
        let task = installation.ended(id).await;
        assert_eq!(task.status, TaskStatus::Done, "{}: {task:?}", fixture.name);
        for run in installation.result(id).await.runs {
            let control = run.agent.strip_prefix("control-").unwrap();
            assert_eq!(run.status, RunStatus::Done, "{:?}", run.error);
            assert_eq!(run.seal_broken, control == "cheater");
            if control == "cheater" {
                assert_eq!(run.overall_score, None);
                continue;
            }
            assert_eq!(run.canary.as_deref(), Some("unseen"));
            for dimension in Dimension::ALL {
                let part = &run.dimensions[dimension.as_str()];
                let part = DimensionScore {
                    n: part.n,
                    cold: part.cold,
                    baseline: part.baseline,
                    post: part.post,
                    retention: part.retention,
                    known: part.known,
                    kept: part.kept,
                    item_retention: part.item_retention,
                    stale_rate: part.stale_rate,
                    abstained_rate: part.abstained_rate,
                    wrong_rate: part.wrong_rate,
                    partial_rate: part.partial_rate,
                    unreadable_rate: part.unreadable_rate,
                };
                assert!(
                    holds(control, dimension, &part),
                    "{} on {}: {dimension:?} {part:?}",
                    run.agent,
                    fixture.name
                );
            }
        }
    }
    worker.stop().await;
}

#[test]
fn there_are_six_languages() {
    let mut seen: Vec<Language> = pull_requests::all()
        .iter()
        .map(|fixture| fixture.language)
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 6, "{seen:?}");
    if seen.contains(&Language::Cpp) && !seen.contains(&Language::C) {
        panic!("C is missing");
    }
}
