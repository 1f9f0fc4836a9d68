//! The control agents, through their adapter and their program.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agents::adapter::{Access, AgentSession, Limits, Presence, RawSink, SessionSpec, Stream, Turn};
use agents::adapters::{self, Setup};
use agents::control::key::{AnswerKey, Combine, Entry, Part, Version};
use agents::control::{ControlProgram, KEY_FILE};
use agents::event::{AgentEvent, CompactionTrigger};
use agents::failure::Cause;
use agents::sandbox::Sandbox;
use domain::shipped_agents;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const STUDY: &str = "Read these files:\n- `change.diff`\n- `../secret`\n";
const READ_ON: &str = "Read on:\n- `other.txt`\n";

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl RawSink for Lines {
    fn line(&self, _: Stream, line: &[u8]) {
        self.0
            .lock()
            .expect("test setup")
            .push(String::from_utf8_lossy(line).into_owned());
    }
}

struct Bench {
    folder: tempfile::TempDir,
    spec: SessionSpec,
    events: mpsc::Receiver<AgentEvent>,
    raw: Arc<Lines>,
}

fn version(evidence: &str, value: &str) -> Version {
    Version {
        parts: vec![Part {
            evidence: vec![evidence.to_owned()],
            value: value.to_owned(),
        }],
    }
}

fn entry(id: &str, versions: Vec<Version>) -> Entry {
    Entry {
        id: id.to_owned(),
        question: format!("What is {id}?"),
        combine: Combine::Single,
        versions,
        distractors: vec!["wrong one".to_owned(), "wrong two".to_owned()],
    }
}

fn key() -> AnswerKey {
    AnswerKey {
        entries: vec![
            entry("limit", vec![version("const LIMIT: u32 = 77;", "77")]),
            entry(
                "owner",
                vec![
                    version("The owner of the change is Ada.", "Ada"),
                    version("Correction: the owner of the change is Bob.", "Bob"),
                ],
            ),
        ],
        statements: Vec::new(),
    }
}

/// Creates a workspace with the evidence, a HOME with the key, and a window of `window` tokens.
fn bench(window: u64) -> Bench {
    let folder = tempfile::tempdir().expect("test setup");
    let (home, workspace) = (folder.path().join("home"), folder.path().join("workspace"));
    std::fs::create_dir_all(&home).expect("test setup");
    std::fs::create_dir_all(&workspace).expect("test setup");
    std::fs::write(
        home.join(KEY_FILE),
        serde_json::to_vec(&key()).expect("test setup"),
    )
    .expect("test setup");
    std::fs::write(workspace.join("change.diff"), "+const LIMIT: u32 = 77;\n").expect("test setup");
    std::fs::write(
        workspace.join("other.txt"),
        "nothing of interest\n".repeat(20),
    )
    .expect("test setup");
    std::fs::write(folder.path().join("secret"), "const HIDDEN: u32 = 1;\n").expect("test setup");
    let (sender, events) = mpsc::channel(1_024);
    let raw = Arc::new(Lines::default());
    let spec = SessionSpec {
        home,
        workspace: Some(workspace),
        access: Access::Workspace,
        context_tokens: Some(window),
        may_compact: true,
        seed: 1,
        environment: BTreeMap::new(),
        limits: Limits::default(),
        sandbox: Sandbox::none(),
        raw: Arc::clone(&raw) as Arc<dyn RawSink>,
        events: sender,
        cancel: CancellationToken::new(),
    };
    Bench {
        folder,
        spec,
        events,
        raw,
    }
}

fn program() -> ControlProgram {
    ControlProgram::at_path(env!("CARGO_BIN_EXE_membreak-control"))
}

async fn open(agent: &str, spec: &SessionSpec) -> Box<dyn AgentSession> {
    let all = adapters::all(&Setup::with_control(program()));
    let adapter = adapters::adapter_for(&all, agent).expect("a control agent");
    adapter.open(spec.clone()).await.expect("a session")
}

async fn ask(session: &dyn AgentSession, question: &str) -> Turn {
    let mut fork = session.fork(Access::Sealed).await.expect("a fork");
    let turn = fork
        .prompt(&format!("Here is one question.\n\n{question}\n"))
        .await
        .expect("a turn");
    fork.close().await;
    turn
}

async fn answer(session: &dyn AgentSession, question: &str) -> String {
    let text = ask(session, question).await.text;
    text.rsplit_once("ANSWER: ")
        .expect("an answer")
        .1
        .lines()
        .next()
        .expect("a line")
        .to_owned()
}

/// Sends the turns of study, lesson and correction.
async fn learn(session: &mut Box<dyn AgentSession>) {
    session.prompt(STUDY).await.expect("study");
    session
        .prompt("The owner of the change is Ada.")
        .await
        .expect("a lesson");
    session
        .prompt("Correction: the owner of the change is Bob.")
        .await
        .expect("a correction");
}

/// Continues reading until the context is compacted.
async fn until_break(session: &mut Box<dyn AgentSession>) -> Turn {
    let mut turns = 0;
    loop {
        let turn = session.prompt(READ_ON).await.expect("a turn");
        if !turn.compactions.is_empty() {
            return turn;
        }
        turns += 1;
        assert!(turns < 40, "no break in 40 turns");
    }
}

#[tokio::test]
async fn a_perfect_memory_answers_the_same_before_and_after_a_break() {
    let bench = bench(2_000);
    let mut session = open("control-perfect", &bench.spec).await;
    assert_eq!(answer(&*session, "What is limit?").await, "I don't recall");
    learn(&mut session).await;
    assert_eq!(answer(&*session, "What is limit?").await, "77");
    assert_eq!(answer(&*session, "What is owner?").await, "Bob");
    let turn = until_break(&mut session).await;
    let compaction = &turn.compactions[0];
    assert_eq!(compaction.trigger, CompactionTrigger::Auto);
    assert!(
        compaction.tokens_after < compaction.tokens_before,
        "{compaction:?}"
    );
    assert_eq!(answer(&*session, "What is limit?").await, "77");
    assert_eq!(answer(&*session, "What is owner?").await, "Bob");
}

#[tokio::test]
async fn an_amnesiac_forgets_everything_at_a_break() {
    let bench = bench(2_000);
    let mut session = open("control-amnesiac", &bench.spec).await;
    learn(&mut session).await;
    assert_eq!(answer(&*session, "What is owner?").await, "Bob");
    until_break(&mut session).await;
    assert_eq!(answer(&*session, "What is owner?").await, "I don't recall");
    assert_eq!(answer(&*session, "What is limit?").await, "I don't recall");
}

#[tokio::test]
async fn a_stale_memory_answers_with_the_first_version() {
    let bench = bench(2_000);
    let mut session = open("control-stale", &bench.spec).await;
    learn(&mut session).await;
    assert_eq!(answer(&*session, "What is owner?").await, "Bob");
    until_break(&mut session).await;
    assert_eq!(answer(&*session, "What is owner?").await, "Ada");
    assert_eq!(answer(&*session, "What is limit?").await, "77");
}

#[tokio::test]
async fn a_lossy_memory_keeps_everything_at_one_and_nothing_at_zero() {
    for (agent, expected) in [
        ("control-lossy:1", "77"),
        ("control-lossy:0", "I don't recall"),
    ] {
        let bench = bench(2_000);
        let mut session = open(agent, &bench.spec).await;
        learn(&mut session).await;
        until_break(&mut session).await;
        assert_eq!(
            answer(&*session, "What is limit?").await,
            expected,
            "{agent}"
        );
    }
}

#[tokio::test]
async fn a_guesser_reads_nothing_and_always_answers_the_same() {
    let mut bench = bench(2_000);
    let mut session = open("control-guesser", &bench.spec).await;
    let cold = answer(&*session, "What is limit?").await;
    learn(&mut session).await;
    assert_eq!(answer(&*session, "What is limit?").await, cold);
    assert!(cold.starts_with("wrong"), "{cold}");
    drop(session);
    bench.events.close();
    while let Some(event) = bench.events.recv().await {
        assert!(!matches!(event, AgentEvent::ToolCall(_)), "{event:?}");
    }
}

#[tokio::test]
async fn a_cheater_uses_a_tool_while_it_is_sealed() {
    let bench = bench(2_000);
    let mut session = open("control-cheater", &bench.spec).await;
    learn(&mut session).await;
    assert_eq!(ask(&*session, "What is limit?").await.tool_calls.len(), 1);
    let honest = open("control-perfect", &bench.spec).await;
    assert!(ask(&*honest, "What is limit?").await.tool_calls.is_empty());
}

#[tokio::test]
async fn a_vague_answer_contains_no_fact() {
    let bench = bench(2_000);
    let mut session = open("control-vague", &bench.spec).await;
    learn(&mut session).await;
    assert!(!answer(&*session, "What is limit?").await.contains("77"));
}

#[tokio::test]
async fn a_question_to_a_fork_does_not_change_the_session() {
    let bench = bench(2_000);
    let mut session = open("control-perfect", &bench.spec).await;
    learn(&mut session).await;
    let before = session.checkpoint().await.expect("a checkpoint");
    answer(&*session, "What is limit?").await;
    assert_eq!(session.checkpoint().await.expect("a checkpoint"), before);
    let snapshot = session.fork(Access::Sealed).await.expect("a fork");
    until_break(&mut session).await;
    assert_eq!(snapshot.checkpoint().await.expect("a checkpoint"), before);
}

#[tokio::test]
async fn a_session_continues_from_its_checkpoint_in_another_home() {
    let (here, there) = (bench(2_000), bench(2_000));
    let mut session = open("control-perfect", &here.spec).await;
    learn(&mut session).await;
    let checkpoint = session.checkpoint().await.expect("a checkpoint");
    let all = adapters::all(&Setup::with_control(program()));
    let adapter = adapters::adapter_for(&all, "control-perfect").expect("a control agent");
    let resumed = adapter
        .resume(there.spec.clone(), &checkpoint)
        .await
        .expect("a session");
    assert_eq!(answer(&*resumed, "What is owner?").await, "Bob");
}

#[tokio::test]
async fn facts_removed_from_the_notes_are_forgotten() {
    let bench = bench(2_000);
    let mut session = open("control-perfect", &bench.spec).await;
    learn(&mut session).await;
    let compaction = session
        .compact(CompactionTrigger::Manual)
        .await
        .expect("a turn")
        .compactions
        .remove(0);
    assert_eq!(compaction.trigger, CompactionTrigger::Manual);
    assert_eq!(answer(&*session, "What is limit?").await, "77");
    let file = only_file(&bench.spec.home.join("sessions"));
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("test setup")).expect("test setup");
    state["notes"]
        .as_array_mut()
        .expect("test setup")
        .retain(|note| note["entry"] != "limit");
    std::fs::write(&file, state.to_string()).expect("test setup");
    assert_eq!(answer(&*session, "What is limit?").await, "I don't recall");
    assert_eq!(answer(&*session, "What is owner?").await, "Bob");
}

fn only_file(folder: &Path) -> std::path::PathBuf {
    std::fs::read_dir(folder)
        .expect("test setup")
        .next()
        .expect("test setup")
        .expect("test setup")
        .path()
}

#[tokio::test]
async fn files_outside_the_workspace_are_not_read() {
    let bench = bench(2_000);
    std::os::unix::fs::symlink(
        bench.folder.path().join("secret"),
        bench
            .spec
            .workspace
            .clone()
            .expect("test setup")
            .join("link"),
    )
    .expect("test setup");
    let mut session = open("control-perfect", &bench.spec).await;
    session
        .prompt("- `../secret`\n- `link`\n- `/etc/hostname`\n")
        .await
        .expect("a turn");
    let state = session.checkpoint().await.expect("a checkpoint").state;
    assert!(!String::from_utf8_lossy(&state).contains("HIDDEN"));
}

#[tokio::test]
async fn the_raw_stream_contains_every_line() {
    let bench = bench(2_000);
    let mut session = open("control-perfect", &bench.spec).await;
    session.prompt(STUDY).await.expect("a turn");
    let lines = bench.raw.0.lock().expect("test setup");
    assert!(lines.iter().any(|line| line.contains("\"type\":\"init\"")));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("\"type\":\"result\""))
    );
}

#[tokio::test]
async fn a_missing_program_is_a_harness_failure() {
    let bench = bench(2_000);
    let all = adapters::all(&Setup::with_control(ControlProgram::at_path(
        "/nowhere/membreak-control",
    )));
    let adapter = adapters::adapter_for(&all, "control-perfect").expect("a control agent");
    assert!(matches!(adapter.probe().await, Presence::Missing { .. }));
    let mut session = adapter.open(bench.spec.clone()).await.expect("a session");
    let failure = session.prompt("hello").await.expect_err("no program");
    assert_eq!(failure.cause, Cause::Harness);
    assert!(
        failure.message.contains("/nowhere/membreak-control"),
        "{failure}"
    );
}

#[tokio::test]
async fn every_adapter_has_a_unique_name_and_a_presence() {
    let all = adapters::all(&Setup::with_control(program()));
    let names: std::collections::BTreeSet<_> = all
        .iter()
        .map(|adapter| adapter.profile().name.clone())
        .collect();
    assert_eq!(names.len(), all.len());
    for adapter in &all {
        let profile = adapter.profile();
        match adapter.probe().await {
            Presence::Installed { version, .. } => assert!(!version.is_empty()),
            Presence::Missing { why, fix } => {
                assert!(!profile.control, "{}: {why}", profile.name);
                assert!(!fix.is_empty());
                let refused = adapter.open(bench(100).spec.clone()).await.err();
                assert_eq!(refused.map(|failure| failure.cause), Some(Cause::Harness));
            }
        }
        assert!(
            adapter
                .with_parameter(&format!("{}:", profile.name))
                .is_err()
        );
    }
}

/// Returns a script that replaces the control program.
fn script(folder: &Path, text: &str) -> ControlProgram {
    let path = folder.join("agent.sh");
    std::fs::write(&path, text).expect("test setup");
    ControlProgram {
        path: "/bin/sh".into(),
        args: vec![path.into()],
        in_process: false,
    }
}

async fn run_script(
    bench: &Bench,
    text: &str,
    limits: Limits,
) -> Result<Turn, agents::failure::Failure> {
    let all = adapters::all(&Setup::with_control(script(bench.folder.path(), text)));
    let adapter = adapters::adapter_for(&all, "control-perfect").expect("a control agent");
    let (events, mut heard) = mpsc::channel(16);
    tokio::spawn(async move { while heard.recv().await.is_some() {} });
    let spec = SessionSpec {
        limits,
        events,
        ..bench.spec.clone()
    };
    adapter
        .open(spec)
        .await
        .expect("a session")
        .prompt("hello")
        .await
}

#[tokio::test]
async fn silence_slowness_and_crashes_are_different_failures() {
    let bench = bench(2_000);
    let limits = |turn, stall| Limits {
        turn: Duration::from_millis(turn),
        stall: Duration::from_millis(stall),
        ..Limits::default()
    };
    let silent = run_script(&bench, "sleep 60", limits(30_000, 200))
        .await
        .expect_err("a stall");
    assert_eq!(silent.cause, Cause::TimedOut);
    let chatty = "while true; do echo '{\"type\":\"text\",\"text\":\"x\"}'; sleep 0.05; done";
    let slow = run_script(&bench, chatty, limits(400, 10_000))
        .await
        .expect_err("a slow turn");
    assert_eq!(slow.cause, Cause::TimedOut);
    let crash = run_script(&bench, "echo broken >&2; exit 3", Limits::default()).await;
    let crash = crash.expect_err("a crash");
    assert_eq!(crash.cause, Cause::AgentCrashed);
    assert!(crash.message.contains("broken"), "{crash}");
    let garbage = run_script(&bench, "printf '\\377\\376 not json\\n'", Limits::default()).await;
    assert_eq!(garbage.expect_err("garbage").cause, Cause::Harness);
}

#[tokio::test]
async fn more_output_than_allowed_ends_the_turn() {
    let bench = bench(2_000);
    let limits = Limits {
        output_bytes: 1 << 20,
        line_bytes: 1 << 10,
        ..Limits::default()
    };
    let endless = "exec yes '{\"type\":\"text\",\"text\":\"x\"}'";
    let failure = run_script(&bench, endless, limits)
        .await
        .expect_err("too much");
    assert_eq!(failure.cause, Cause::AgentCrashed);
    let long_line = "head -c 500000 /dev/zero | tr '\\0' 'a'; echo";
    assert!(run_script(&bench, long_line, limits).await.is_err());
}

#[tokio::test]
async fn the_environment_of_the_worker_is_not_passed_to_the_agent() {
    let bench = bench(2_000);
    let script = "echo '{\"type\":\"text\",\"text\":\"'\"$(env | cut -d= -f1 | sort | tr '\\n' ' ')\"'\"}'; \
                echo '{\"type\":\"result\",\"is_error\":false,\"message\":null}'";
    let turn = run_script(&bench, script, Limits::default())
        .await
        .expect("a turn");
    let names: Vec<&str> = turn.text.split_whitespace().collect();
    let allowed = [
        "HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "TERM", "TMPDIR", "_",
    ];
    assert!(names.contains(&"HOME"), "{names:?}");
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
}

#[tokio::test]
async fn a_cancelled_turn_leaves_no_process_behind() {
    let bench = bench(2_000);
    let pid_file = bench.folder.path().join("grandchild");
    let text = format!("sleep 300 & echo $! > {}; wait", pid_file.display());
    let (cancel, file) = (bench.spec.cancel.clone(), pid_file.clone());
    let watcher = tokio::spawn(async move {
        loop {
            match std::fs::read_to_string(&file) {
                Ok(pid) if pid.ends_with('\n') => break,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        cancel.cancel();
    });
    let failure = run_script(&bench, &text, Limits::default())
        .await
        .expect_err("cancelled");
    assert_eq!(failure.cause, Cause::Cancelled);
    watcher.await.expect("test setup");
    let pid: i32 = std::fs::read_to_string(&pid_file)
        .expect("test setup")
        .trim()
        .parse()
        .expect("test setup");
    dies(pid).await;
}

#[tokio::test]
async fn orphaned_processes_are_killed_and_do_not_delay_the_turn() {
    let bench = bench(2_000);
    let pid_file = bench.folder.path().join("left");
    // The orphan keeps the pipes open and ignores SIGTERM.
    let text = format!(
        "(trap '' TERM; exec sleep 300) & echo $! > {}; \
         echo '{{\"type\":\"result\",\"is_error\":false,\"message\":null}}'",
        pid_file.display()
    );
    let begun = Instant::now();
    run_script(&bench, &text, Limits::default())
        .await
        .expect("a turn");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let pid = std::fs::read_to_string(&pid_file).expect("test setup");
    dies(pid.trim().parse().expect("test setup")).await;
}

#[tokio::test]
async fn a_blocked_reader_of_events_does_not_delay_a_cancellation() {
    let bench = bench(2_000);
    let text = "for i in 1 2 3 4 5; do echo '{\"type\":\"text\",\"text\":\"x\"}'; done; sleep 300";
    let all = adapters::all(&Setup::with_control(script(bench.folder.path(), text)));
    let adapter = adapters::adapter_for(&all, "control-perfect").expect("a control agent");
    let (events, mut unread) = mpsc::channel(1);
    let spec = SessionSpec {
        events,
        ..bench.spec.clone()
    };
    let mut session = adapter.open(spec).await.expect("a session");
    let cancel = bench.spec.cancel.clone();
    let turn = tokio::spawn(async move { session.prompt("hello").await });
    // The channel is full after one event, so the others wait.
    while unread.is_empty() {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), turn)
        .await
        .expect("the turn ends")
        .expect("test setup");
    assert_eq!(ended.expect_err("cancelled").cause, Cause::Cancelled);
    unread.close();
}

/// Waits until a process has exited.
async fn dies(pid: i32) {
    let until = Instant::now() + Duration::from_secs(5);
    while alive(pid) {
        assert!(Instant::now() < until, "process {pid} is still alive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns whether a process runs. A zombie process does not count.
fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim()
            .starts_with('Z')
    })
}

#[test]
fn the_adapters_are_those_that_the_api_names_before_a_worker_reports() {
    let all = adapters::all(&Setup::with_control(program()));
    let mut profiles = all.iter().map(|adapter| adapter.profile());
    let shipped = shipped_agents::PROGRAMS
        .map(|agent| (agent, false))
        .into_iter()
        .chain(shipped_agents::CONTROLS.map(|agent| (agent, true)));
    for ((name, display_name), control) in shipped {
        let profile = profiles.next().expect("an adapter for each shipped agent");
        let found = (profile.name.as_str(), profile.display_name.as_str());
        assert_eq!((found, profile.control), ((name, display_name), control));
        assert_eq!(profile.default_model.is_some(), !control, "{name}");
    }
    assert!(
        profiles.next().is_none(),
        "the list of shipped agents is short"
    );
}
