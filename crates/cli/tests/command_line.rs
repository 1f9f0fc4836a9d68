//! Refusals, messages and side effects of `membreak`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program without settings of the environment.
fn membreak(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_membreak"));
    command.args(args).env_clear();
    for name in ["PATH", "HOME", "TMPDIR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

fn run(args: &[&str]) -> Output {
    membreak(args).output().expect("membreak starts")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_usage_error_exits_with_two_and_names_the_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "no JSON\n").expect("a file");
    let file = file.to_string_lossy();
    let below = format!("{file}/out");
    let url = "https://github.com/a/b/pull/1";
    let control = "--agents=control-perfect";
    for (args, named, right) in [
        (
            &["eval", url, "--agents", "control-perfct"] as &[&str],
            "control-perfct",
            "Did you mean \"control-perfect\"?",
        ),
        (
            &["eval", url, "--agents", "control-lossy:2"],
            "control-lossy:2",
            "a share from 0 to 1",
        ),
        (
            &["eval", url, "--agents", "control-perfect:x"],
            "control-perfect:x",
            "other controls take nothing",
        ),
        (
            &["eval", "https://gitlab.com/a/b/pull/1", control],
            "https://gitlab.com/a/b/pull/1",
            "",
        ),
        (
            &["eval", "--repo", "/nonexistent", "--base", "x", control],
            "--repo /nonexistent",
            "",
        ),
        (
            &["eval", url, control, "--question-bank", "nope.jsonl"],
            "--question-bank nope.jsonl",
            "",
        ),
        (&["eval", url, control, "--out", &below], &below, "--out"),
        (&["demo", control, "--out", &below], &below, "--out"),
        (
            &[
                "eval",
                url,
                control,
                "--model-stub",
                "--stub-record",
                &below,
            ],
            &below,
            "--stub-record",
        ),
        (
            &["plan", "--difference", "10"],
            "--difference",
            "at most 1, not 10",
        ),
        (
            &["plan", "--difference", "0.1", "--from", "nope.json"],
            "--from nope.json",
            "",
        ),
        (
            &["plan", "--difference", "0.1", "--from", &file],
            &file,
            "is not a result document",
        ),
        (&["conformance", "nope"], "\"nope\"", "control-perfect"),
    ] {
        let output = run(args);
        let told = said(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(
            told.contains(named) && told.contains(right),
            "{args:?}: {told}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_result_goes_into_a_folder_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("results/first");
    fs::create_dir_all(&out).expect("a folder");
    fs::write(out.join(".keep"), "").expect("a file");
    let name = out.to_string_lossy();
    let demo = [
        "demo",
        "--agents=control-perfect",
        "--trials=1",
        "-q",
        "--out",
        &name,
    ];
    assert_eq!(run(&demo).status.code(), Some(0));
    let files = || {
        let mut files: Vec<_> = fs::read_dir(&out)
            .expect("a folder")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let at = entry.metadata().and_then(|found| found.modified());
                (entry.file_name(), at.expect("a time"))
            })
            .collect();
        files.sort();
        files
    };
    let first = files();
    assert!(first.iter().any(|(name, _)| name == "result.json"));
    let again = run(&demo);
    assert_eq!(again.status.code(), Some(2));
    let told = said(&again.stderr);
    assert!(
        told.contains("is not empty") && told.contains(&*name),
        "{told}"
    );
    assert_eq!(files(), first);
}

/// The folder exists when the evaluation begins, and is gone when the result is written.
#[test]
fn a_result_that_cannot_be_written_is_still_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let name = out.to_string_lossy();
    let mut child = membreak(&["demo", "--json", "--agents=control-perfect", "--trials=1"])
        .args(["--out", &name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("membreak starts");
    let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
    // Progress is also shown with --json.
    let begun = lines.any(|line| line.expect("a line").contains("probes: "));
    assert!(begun);
    fs::remove_dir_all(&out).expect("the folder was made before");
    fs::write(&out, "in the way").expect("a file");
    let mut rest = String::new();
    for line in lines {
        rest.push_str(&line.expect("a line"));
    }
    let mut stdout = Vec::new();
    child
        .stdout
        .take()
        .expect("standard output")
        .read_to_end(&mut stdout)
        .expect("the document");
    assert_eq!(child.wait().expect("an end").code(), Some(1), "{rest}");
    let document: Value = serde_json::from_slice(&stdout).expect("one document");
    assert_eq!(document["leaderboard"][0]["overall_score"], 1.0);
    assert!(rest.contains(&*name), "{rest}");
}

#[test]
fn an_evaluation_without_a_measurement_fails_with_a_message() {
    let output = membreak(&["demo", "--agents=claude", "--trials=1", "--json", "-q"])
        .env("CLAUDE_BIN", "/nonexistent/claude")
        .output()
        .expect("membreak starts");
    let told = said(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("claude"), "{told}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["runs"][0]["status"], "error");

    let output = run(&[
        "demo",
        "--agents=control-silent",
        "--trials=1",
        "--json",
        "-q",
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(said(&output.stderr), "");
}

#[test]
fn the_table_explains_agents_without_a_rank() {
    let output = run(&[
        "demo",
        "--agents=control-cheater,control-perfect",
        "--trials=1",
        "-q",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let told = said(&output.stdout);
    let rows: Vec<&str> = told
        .lines()
        .skip_while(|line| !line.contains(" rank "))
        .take(3)
        .collect();
    assert!(rows[2].contains("control-cheater"), "{told}");
    assert!(rows[2].trim_end().ends_with("0 of 0"), "{told}");
    assert!(told.contains("\ncontrol-cheater is not ranked: "), "{told}");
    assert!(
        told.ends_with("\nall controls measured as expected\n"),
        "{told}"
    );
}

/// A control that keeps another share than its name says imitates a broken instrument.
#[test]
fn the_demo_fails_if_the_lossy_control_keeps_another_share() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("control");
    fs::write(
        &program,
        format!(
            "#!/bin/bash\nexec '{}' '{}' \"${{@/control-lossy:0.9/control-lossy:0.1}}\"\n",
            env!("CARGO_BIN_EXE_membreak"),
            agents::control::SUBCOMMAND
        ),
    )
    .expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    let demo = |share: &str| {
        membreak(&["demo", "--trials=1", "--json", "-q"])
            .args([format!("--agents=control-lossy:{share}")])
            .env("CONTROL_BIN", &program)
            .env("SANDBOX", "none")
            .output()
            .expect("membreak starts")
    };
    let broken = demo("0.9");
    let told = said(&broken.stderr);
    assert_eq!(broken.status.code(), Some(1), "{told}");
    assert!(
        told.contains("the instrument is broken: control-lossy:0.9"),
        "{told}"
    );
    assert!(told.contains("implausible for a share of 0.9"), "{told}");
    let whole = demo("0.8");
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole.stderr));
}

#[test]
fn the_doctor_creates_nothing_and_names_missing_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let doctor = |args: &[&str]| {
        let output = membreak(args).current_dir(folder.path()).output();
        said(&output.expect("membreak starts").stdout)
    };
    let told = doctor(&["doctor"]);
    let work = folder.path().join("storage/work");
    for path in ["data/membreak.db", "storage", &work.to_string_lossy()] {
        let line = format!("{path} does not exist and would be created");
        assert!(told.contains(&line), "{line}: {told}");
    }
    assert!(
        told.ends_with("no setting is set; --settings shows the defaults\n"),
        "{told}"
    );
    let told = doctor(&["doctor", "--settings"]);
    assert!(
        told.contains("WORK_DIR = storage/work  [default]"),
        "{told}"
    );
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_occupied_port_is_reported_with_a_fix() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let output = membreak(&["serve", "--port", &port.to_string()])
        .current_dir(folder.path())
        .output()
        .expect("membreak starts");
    assert_eq!(output.status.code(), Some(1));
    let told = said(&output.stderr);
    assert!(told.contains(&format!("127.0.0.1:{port}")), "{told}");
    assert!(told.contains("another PORT or --port"), "{told}");
}

#[test]
fn a_context_above_the_limit_is_reported_before_the_start() {
    let eval = |tokens: &str| {
        let output = membreak(&["eval", "no-address", "--agents=control-perfect"])
            .args(["--context-tokens", tokens])
            .env("MAX_CONTEXT_TOKENS", "50000")
            .output();
        said(&output.expect("membreak starts").stderr)
    };
    let told = eval("60000");
    assert!(
        told.contains("60000 is more than MAX_CONTEXT_TOKENS=50000"),
        "{told}"
    );
    assert!(!eval("50000").contains("MAX_CONTEXT_TOKENS"));
}

#[test]
fn an_unknown_task_is_reported_with_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    for command in ["report", "judge"] {
        let output = membreak(&[command, "0190b3b8-0000-7000-8000-000000000000"])
            .current_dir(folder.path())
            .output()
            .expect("membreak starts");
        assert_eq!(output.status.code(), Some(1));
        let told = said(&output.stderr);
        assert!(told.contains("no task 0190b3b8"), "{told}");
        assert!(
            told.contains("`demo` and `eval` keep only what --out wrote"),
            "{told}"
        );
    }
}
