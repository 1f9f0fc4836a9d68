//! The real programs pass the conformance suite against the model stub.
//!
//! The programs come from `MEMBREAK_AGENTS_DIR`, or `data/agents` of this checkout, where
//! `scripts/install-agents.sh` installs them. A missing program is a failure, not a skip.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use agents::adapters::{self, Setup};
use agents::control::ControlProgram;
use agents::program::Programs;
use agents::sandbox::{Mode, Sandbox};
use simulator::conformance::{self, Outcome, Subject};

fn installed() -> PathBuf {
    std::env::var_os("MEMBREAK_AGENTS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/agents"),
        PathBuf::from,
    )
}

/// Runs the suite. `may_declare` lists the checks that the agent may declare as impossible.
async fn conforms(agent: &str, may_declare: &[&str]) {
    let setup = Setup {
        programs: Programs {
            installed: Some(installed()),
            ..Programs::default()
        },
        ..Setup::with_control(ControlProgram::at_path("none"))
    };
    conforms_with(agent, &setup, may_declare).await;
}

async fn conforms_with(agent: &str, setup: &Setup, may_declare: &[&str]) {
    let all = adapters::all(setup);
    let subject = Subject {
        adapter: adapters::adapter_for(&all, agent).unwrap(),
        sandbox: Sandbox::detect(Mode::Auto).unwrap(),
        folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance"),
        stall: Duration::from_secs(15),
    };
    let only = std::env::var("MEMBREAK_CHECK").ok();
    let mut failures = Vec::new();
    let checks = match only {
        Some(only) => vec![conformance::run_one(&subject, &only).await],
        None => conformance::run(&subject, |_| {}).await,
    };
    for check in checks {
        match &check.outcome {
            Outcome::Passed => {}
            Outcome::Declared { .. } if may_declare.contains(&check.name) => {}
            Outcome::Declared { what } => failures.push(format!("{}: {what}", check.name)),
            Outcome::Failed { why } => failures.push(format!("{}: {why}", check.name)),
        }
    }
    assert!(failures.is_empty(), "{agent}:\n{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_conforms() {
    conforms("claude", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_conforms() {
    conforms("gemini", &["manual_break"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_conforms() {
    conforms("codex", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qwen_conforms() {
    conforms("qwen", &[]).await;
}

/// The peer that repeats iFlow's recorded behaviour. It belongs to another crate, so cargo does not
/// name its path. It is beside this test after a test of the whole workspace, and is built here
/// otherwise.
fn peer() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.ancestors().nth(2).unwrap().join("iflow-peer");
    if path.is_file() {
        return path;
    }
    let built = std::process::Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "simulator",
            "--bin",
            "iflow-peer",
        ])
        .status();
    assert!(
        built.unwrap().success() && path.is_file(),
        "{}",
        path.display()
    );
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn iflow_conforms() {
    let program = std::env::var_os("IFLOW_BIN").map_or_else(peer, PathBuf::from);
    let setup = Setup {
        programs: Programs {
            installed: None,
            paths: [("iflow".to_owned(), program)].into(),
        },
        ..Setup::with_control(ControlProgram::at_path("none"))
    };
    conforms_with("iflow", &setup, &["usage", "forced_break"]).await;
}

/// The same peer as an agent that is described in `agents.toml`.
#[tokio::test(flavor = "multi_thread")]
async fn a_configured_agent_conforms() {
    let text = format!(
        r#"
        [[agent]]
        name = "configured"
        command = {:?}
        args = ["--acp"]
        sealed_args = ["--no-tools"]
        env = {{ IFLOW_API_KEY = "${{IFLOW_API_KEY}}" }}
        endpoint_env = {{ IFLOW_API_KEY = "{{key}}", IFLOW_BASE_URL = "{{url}}/v1" }}
        compact_command = "/compress"
        compaction_pattern = '"originalTokenCount":(?P<before>\d+),.*"newTokenCount":(?P<after>\d+)|"newTokenCount":(?P<now>\d+)'
        load_session = true
        "#,
        peer()
    );
    let setup = Setup {
        configured: adapters::acp::config::parse(&text, &[]).unwrap(),
        ..Setup::with_control(ControlProgram::at_path("none"))
    };
    let may_declare = ["usage", "auto_break", "forced_break"];
    conforms_with("configured", &setup, &may_declare).await;
}

/// iFlow's plain mode returns the answer without the program's own lines, and the billed tokens.
#[tokio::test(flavor = "multi_thread")]
async fn iflow_answers_one_question_and_reports_its_tokens() {
    use agents::adapter::{Access, Limits, RawSink, SessionSpec, Stream};
    use simulator::model_stub::{Keep, ModelStub, Rules};

    struct DiscardedLines;
    impl RawSink for DiscardedLines {
        fn line(&self, _: Stream, _: &[u8]) {}
    }

    let stub = ModelStub::start(Rules::keeping(Keep::Nothing))
        .await
        .unwrap();
    let programs = Programs {
        installed: None,
        paths: [("iflow".to_owned(), peer())].into(),
    };
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (events, _receiver) = tokio::sync::mpsc::channel(8);
    let spec = SessionSpec {
        home: home.path().to_owned(),
        workspace: None,
        access: Access::Sealed,
        context_tokens: None,
        may_compact: false,
        seed: 1,
        environment: [
            ("IFLOW_BASE_URL".to_owned(), format!("{}/v1", stub.url())),
            ("IFLOW_API_KEY".to_owned(), stub.key().to_owned()),
        ]
        .into(),
        limits: Limits::default(),
        sandbox: Sandbox::detect(Mode::Auto).unwrap(),
        raw: std::sync::Arc::new(DiscardedLines),
        events,
        cancel: tokio_util::sync::CancellationToken::new(),
    };
    let program = programs.find("iflow", "iflow").unwrap();
    let reply = adapters::iflow::plain::ask(&program, &spec, "REPEAT: one answer").await;
    let (answer, report) = reply.unwrap();
    assert_eq!(answer, "one answer");
    let tokens = report.unwrap().tokens.unwrap();
    assert!(tokens.input > 0 && tokens.output > 0, "{tokens:?}");
    assert!(
        stub.requests()
            .iter()
            .all(|request| request.tools.is_empty())
    );
}
