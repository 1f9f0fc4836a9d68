//! End-to-end tests of the program: standard output and exit status.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn membreak(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_membreak"))
        .args(args)
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .env_remove("STORAGE_DIR")
        .output()
        .expect("membreak starts")
}

/// Standard output as exactly one JSON document.
fn document(output: &Output) -> Value {
    let document = serde_json::from_slice(&output.stdout);
    assert!(
        document.is_ok(),
        "{document:?}\nstdout: {}\nstderr: {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    document.unwrap_or_default()
}

fn runs<'a>(document: &'a Value, agent: &str) -> Vec<&'a Value> {
    let runs = document["runs"].as_array().expect("runs");
    runs.iter().filter(|run| run["agent"] == agent).collect()
}

fn ranked<'a>(document: &'a Value, agent: &str) -> Option<&'a Value> {
    let rows = document["leaderboard"].as_array().expect("a leaderboard");
    rows.iter().find(|row| row["agent"] == agent)
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@b.invalid",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_demo_measures_every_control_as_the_protocol_says() {
    let output = membreak(&["demo", "--json", "--trials", "2"]);
    let document = document(&output);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.ends_with("membreak: all controls measured as expected\n"),
        "{told}"
    );
    assert_eq!(document["schema"], 1);
    for dimension in ["AR", "TTL", "LRU", "SF"] {
        let probes = document["task"]["probes"][dimension]
            .as_u64()
            .expect("a number of probes");
        assert!(probes >= 6, "{dimension} has {probes} probes");
        for run in runs(&document, "control-perfect") {
            assert_eq!(run["dimensions"][dimension]["baseline"], 1.0, "{run}");
            assert_eq!(run["dimensions"][dimension]["post"], 1.0, "{run}");
        }
        for run in runs(&document, "control-amnesiac") {
            assert_eq!(run["dimensions"][dimension]["retention"], 0.0, "{run}");
        }
        for run in runs(&document, "control-guesser") {
            assert_eq!(
                run["dimensions"][dimension]["retention"],
                Value::Null,
                "{run}"
            );
        }
        for agent in ["control-vague", "control-silent"] {
            for run in runs(&document, agent) {
                let figures = &run["dimensions"][dimension];
                assert_eq!(figures["post"], 0.0, "{run}");
                assert_eq!(figures["retention"], Value::Null, "{run}");
            }
        }
    }
    assert_eq!(runs(&document, "control-silent").len(), 2);
    for run in runs(&document, "control-stale") {
        assert!(
            run["dimensions"]["SF"]["post"].as_f64().expect("a score") < 0.1,
            "{run}"
        );
        assert!(
            run["dimensions"]["SF"]["stale_rate"]
                .as_f64()
                .expect("a rate")
                > 0.9,
            "{run}"
        );
        assert_eq!(run["dimensions"]["AR"]["post"], 1.0, "{run}");
    }
    for run in runs(&document, "control-cheater") {
        assert_eq!(run["seal_broken"], true, "{run}");
        assert_eq!(run["overall_score"], Value::Null, "{run}");
    }
    assert!(ranked(&document, "control-cheater").is_none());
    assert_eq!(
        ranked(&document, "control-perfect").expect("a row")["rank"],
        1
    );
    for run in document["runs"].as_array().expect("runs") {
        assert_eq!(run["compression_detected"], true, "{run}");
        let seen = &run["breaks"][0];
        let (before, after) = (&seen["tokens_before"], &seen["tokens_after"]);
        assert!(before.as_u64() > after.as_u64(), "{run}");
    }
}

#[test]
fn a_single_trial_has_no_interval() {
    let output = membreak(&[
        "demo",
        "--json",
        "--trials",
        "1",
        "--agents",
        "control-perfect",
    ]);
    let document = document(&output);
    let retention = &ranked(&document, "control-perfect").expect("a row")["retention"];
    assert_eq!(retention["mean"], 1.0);
    assert_eq!(
        (&retention["low"], &retention["high"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn eval_measures_any_local_repository_and_writes_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let (repo, out) = (folder.path().join("repo"), folder.path().join("out"));
    std::fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q", "-b", "main"]);
    std::fs::write(repo.join("notes.md"), "Some words.\n").unwrap();
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-q", "-m", "one"]);
    std::fs::write(
        repo.join("limits.py"),
        "RETRY_LIMIT = 17\n\n\ndef allowed_tries(kind, urgent):\n    return RETRY_LIMIT\n",
    )
    .unwrap();
    std::fs::write(
        repo.join("client.py"),
        "from limits import allowed_tries\n\nWAIT_SECONDS = 23\n\n\ndef send_letter(letter):\n    \
         tries = allowed_tries(letter, True)\n    return tries\n",
    )
    .unwrap();
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-q", "-m", "two"]);
    let output = membreak(&[
        "eval",
        "--repo",
        repo.to_str().unwrap(),
        "--base",
        "HEAD~1",
        "--head",
        "HEAD",
        "--agents",
        "control-perfect,control-amnesiac",
        "--trials",
        "1",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ]);
    let document = document(&output);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        document["task"]["head"],
        git(&repo, &["rev-parse", "HEAD"]).as_str()
    );
    assert_eq!(
        ranked(&document, "control-perfect").expect("a row")["overall_score"],
        1.0
    );
    assert_eq!(
        ranked(&document, "control-amnesiac").expect("a row")["overall_score"],
        0.0
    );
    let kept: Value =
        serde_json::from_slice(&std::fs::read(out.join("result.json")).unwrap()).unwrap();
    assert_eq!(kept, document);
    for file in ["report.md", "probes.json", "task.log", "answers.jsonl"] {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    assert!(out.join("runs/control-perfect-1/transcript").is_file());
}

#[test]
fn a_subfolder_and_a_linked_working_tree_stand_for_their_repository() {
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("repo");
    std::fs::create_dir_all(repo.join("inner")).unwrap();
    git(&repo, &["init", "-q", "-b", "main"]);
    for (number, value) in [("one", 31), ("two", 47)] {
        let text =
            format!("PAGE_LIMIT = {value}\n\n\ndef page_{number}(number):\n    return number\n");
        std::fs::write(repo.join("inner/pages.py"), text).unwrap();
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "-q", "-m", number]);
    }
    let linked = folder.path().join("linked");
    git(
        &repo,
        &[
            "worktree",
            "add",
            "-q",
            "--detach",
            linked.to_str().unwrap(),
        ],
    );
    for place in [repo.join("inner"), linked] {
        let output = membreak(&[
            "eval",
            "--repo",
            place.to_str().unwrap(),
            "--base",
            "HEAD~1",
            "--agents",
            "control-perfect",
            "--trials",
            "1",
            "--json",
            "-q",
        ]);
        let document = document(&output);
        assert!(output.status.success(), "{}", document["task"]["error"]);
        assert_eq!(
            ranked(&document, "control-perfect").expect("a row")["overall_score"],
            1.0
        );
    }
}

#[test]
fn an_impossible_evaluation_fails_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q", "-b", "main"]);
    std::fs::write(folder.path().join("a.txt"), "a\n").unwrap();
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "one"]);
    let repo = folder.path().to_str().unwrap();
    let eval = |base: &str, agents: &str| {
        // As one word, so that a revision that looks like an option reaches the program.
        let base = format!("--base={base}");
        membreak(&[
            "eval", "--repo", repo, &base, "--agents", agents, "--json", "-q",
        ])
    };

    let empty = eval("HEAD", "control-perfect");
    assert_eq!(empty.status.code(), Some(1));
    let told = document(&empty)["task"]["error"]
        .as_str()
        .expect("an error")
        .to_owned();
    assert!(told.contains("empty"), "{told}");

    // A failure is also reported with --quiet.
    assert!(String::from_utf8_lossy(&empty.stderr).contains("empty"));

    let hostile = eval("--upload-pack=touch x", "control-perfect");
    assert_eq!(hostile.status.code(), Some(2));

    let unknown = eval("HEAD", "copilot");
    assert_eq!(unknown.status.code(), Some(2));
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        told.contains("Agents") && told.contains("control-perfect"),
        "{told}"
    );
    assert!(unknown.stdout.is_empty());
}

#[test]
fn usage_errors_and_failures_have_different_exit_statuses() {
    assert_eq!(
        membreak(&["eval", "--agents", "control-perfect"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        membreak(&["eval", "x", "--agents", "a", "--trials", "0"])
            .status
            .code(),
        Some(2)
    );
    let refused = membreak(&[
        "eval",
        "https://github.com/a/b/issues/1",
        "--agents",
        "control-vague",
    ]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("Invalid GitHub PR URL format"), "{told}");
}

#[test]
fn the_doctor_finds_what_is_there_and_names_bad_settings() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = |name: &str, value: &str| {
        Command::new(env!("CARGO_BIN_EXE_membreak"))
            .args(["doctor", "--json"])
            .current_dir(folder.path())
            .env("STORAGE_DIR", folder.path())
            .env_remove("DATABASE_URL")
            .env_remove("REDIS_URL")
            .env(name, value)
            .output()
            .expect("membreak starts")
    };
    let well = doctor("LOG_LEVEL", "info");
    assert!(
        well.status.success(),
        "{}",
        String::from_utf8_lossy(&well.stdout)
    );
    let findings = document(&well)["findings"]
        .as_array()
        .expect("findings")
        .clone();
    let verdict = |what: &str| {
        let found = findings.iter().find(|finding| finding["what"] == what);
        found
            .map(|finding| finding["verdict"].clone())
            .unwrap_or_default()
    };
    assert_eq!(verdict("git"), "ok");
    assert_eq!(verdict("database"), "ok");
    assert_eq!(verdict("agent control-perfect"), "ok");
    assert_eq!(verdict("agent claude"), "warn");
    let settings = document(&well)["settings"].as_array().unwrap().clone();
    let level = settings
        .iter()
        .find(|setting| setting["name"] == "LOG_LEVEL")
        .unwrap();
    assert_eq!(level["value"], "info");
    assert_eq!(level["origin"], "environment");

    let ill = doctor("MAX_TURNS", "several");
    assert_eq!(ill.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ill.stdout).contains("MAX_TURNS"));
    let unreachable = doctor("REDIS_URL", "redis://:verysecret1@127.0.0.1:1/");
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&unreachable.stdout).contains("verysecret1"));
    // A service that would not start is not reported as ready.
    let open = doctor("HOST", "0.0.0.0");
    assert_eq!(open.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&open.stdout).contains("ALLOW_PUBLIC_BIND"));
    let file = folder.path().join(".env");
    std::fs::write(
        &file,
        "SSO_ENABLED=true\nSSO_SERVICE_URL=http://127.0.0.1:1\n",
    )
    .unwrap();
    let unreachable = doctor("LOG_LEVEL", "info");
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unreachable.stdout).contains("could not fetch its keys"));
    std::fs::write(
        &file,
        "SSO_ENABLED=true\nGATEWAY_SECRET=verysecret1 verysecret1\n",
    )
    .unwrap();
    let bad = doctor("LOG_LEVEL", "info");
    assert_eq!(bad.status.code(), Some(1));
    let told = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(told.contains(".env, line 2 (GATEWAY_SECRET)"), "{told}");
    assert!(!told.contains("verysecret1"), "{told}");
}
