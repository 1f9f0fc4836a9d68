//! Forgetting curves, question banks, reports and plans.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use testkit::pull_requests;

fn membreak(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_membreak"))
        .args(args)
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .env_remove("STORAGE_DIR")
        .output()
        .expect("membreak starts")
}

fn document(output: &Output) -> Value {
    let document = serde_json::from_slice(&output.stdout);
    assert!(
        document.is_ok(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    document.unwrap_or_default()
}

/// A repository with one of the generated pull requests.
fn repository(folder: &Path) {
    let fixture = pull_requests::all().into_iter().next().expect("fixtures");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime
        .block_on(fixture.commit(folder))
        .expect("a repository");
}

#[test]
fn a_forgetting_curve_has_files_and_a_reusable_question_bank() {
    let folder = tempfile::tempdir().expect("a folder");
    let repo = folder.path().join("repo");
    repository(&repo);
    let (repo, out) = (repo.to_string_lossy(), folder.path().join("out"));
    let eval = |more: &[&str]| {
        let mut args = vec![
            "eval", "--repo", &*repo, "--base", "HEAD~1", "--json", "--quiet",
        ];
        args.extend(more);
        membreak(&args)
    };
    let out_name = out.to_string_lossy();
    let measured = eval(&[
        "--agents",
        "control-perfect,control-lossy:0.5",
        "--trials",
        "2",
        "--breaks",
        "3",
        "--out",
        &out_name,
    ]);
    assert!(measured.status.success());
    let measured = document(&measured);
    for run in measured["runs"].as_array().expect("runs") {
        let kept: Vec<f64> = run["by_break"]
            .as_array()
            .expect("breaks")
            .iter()
            .map(|part| part["kept_of_first"].as_f64().expect("defined"))
            .collect();
        assert_eq!(kept.len(), 3);
        if run["agent"] == "control-perfect" {
            assert_eq!(kept, [1.0, 1.0, 1.0]);
        } else {
            assert!(kept[2] < kept[0], "{kept:?}");
        }
    }
    for file in [
        "report.html",
        "report.md",
        "report.csv",
        "plot-forgetting.svg",
        "plot-context.svg",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }

    // The same questions again, from the file.
    let bank = out.join("question_bank.jsonl");
    let again = eval(&[
        "--agents",
        "control-perfect",
        "--trials",
        "1",
        "--seed",
        "9",
        "--question-bank",
        &bank.to_string_lossy(),
    ]);
    let again = document(&again);
    assert_eq!(
        again["task"]["probe_set_hash"],
        measured["task"]["probe_set_hash"]
    );
    assert_eq!(again["leaderboard"][0]["overall_score"], 1.0);

    // Changed questions are refused. With a new hash they are still verified, and those that are
    // not true of the commit are dropped.
    let text = std::fs::read_to_string(&bank).expect("a bank");
    let changed = text.replacen(
        "\"probe\":{\"label\":\"AR-0",
        "\"probe\":{\"label\":\"AR-9",
        1,
    );
    assert_ne!(text, changed);
    std::fs::write(&bank, changed).expect("a file");
    let refused = eval(&[
        "--agents",
        "control-perfect",
        "--question-bank",
        &bank.to_string_lossy(),
    ]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("hash"), "{said}");
}

#[test]
fn a_plan_shows_detectable_differences_and_the_source_of_spreads() {
    let plan = membreak(&["plan", "--difference", "0.1", "--json"]);
    let plan = document(&plan);
    assert!(plan["spreads"].as_str().expect("told").contains("assumed"));
    let cheapest = plan["cheapest"].as_array().expect("one is enough");
    assert!(cheapest[0].as_u64() > Some(1));
    // No sufficient design has fewer runs.
    let runs = |pull_requests: &Value, trials: &Value| {
        pull_requests.as_u64().expect("a count") * trials.as_u64().expect("a count")
    };
    let least = runs(&cheapest[0], &cheapest[1]);
    for list in ["needed", "designs"] {
        for one in plan[list].as_array().expect("a list") {
            if one["enough"] != false && one["pull_requests"] != 1 {
                assert!(
                    runs(&one["pull_requests"], &one["trials"]) >= least,
                    "{one}"
                );
            }
        }
    }
    assert_eq!((&cheapest[0], &cheapest[1]), (&json!(36), &json!(1)));
    // A larger difference needs fewer runs.
    let larger = document(&membreak(&["plan", "--difference", "0.3", "--json"]));
    assert!(larger["cheapest"][0].as_u64() < cheapest[0].as_u64());
    let given = membreak(&[
        "plan",
        "--difference",
        "0.1",
        "--sd-between",
        "0.05",
        "--sd-within",
        "0.02",
        "--json",
    ]);
    assert_eq!(document(&given)["spreads"], "as given");
    for wrong in ["0", "-1", "1.5", "NaN"] {
        let output = membreak(&["plan", &format!("--difference={wrong}")]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--difference"));
    }
}

/// A result of one pull request: the scores of agents by trial.
fn scores(pull_request: u32, agents: &[(&str, [f64; 3])]) -> Value {
    let runs: Vec<Value> = agents
        .iter()
        .flat_map(|(agent, scores)| {
            (1..).zip(scores).map(move |(trial, score)| {
                json!({"id": "0190b3b8-0000-7000-8000-000000000000", "agent": agent,
                       "agent_version": null, "trial": trial, "status": "done",
                       "failure_cause": null, "error": null, "retry_count": 0,
                       "compression_detected": true, "seal_broken": false, "baseline": null,
                       "breaks": [], "dimensions": {}, "overall_score": score, "passed": null,
                       "duration_ms": null})
            })
        })
        .collect();
    json!({
        "schema": 1,
        "task": {"id": format!("0190b3b8-0000-7000-8000-{pull_request:012}"), "status": "done", "repo": "a/b",
                 "pr_url": format!("https://forge.example/a/b/pull/{pull_request}"), "base": null,
                 "head": null, "seed": 1, "trials": 3, "pass_mark": 0.5, "instrument_version": "1",
                 "probe_set_hash": null, "prompt_hash": null, "probes": {}, "changed_files": [],
                 "dropped_files": [], "error": null},
        "runs": runs,
        "leaderboard": [],
    })
}

#[test]
fn a_plan_from_results_separates_both_spreads() {
    let folder = tempfile::tempdir().expect("a folder");
    // Differences of the first two agents as in the test of `plan.rs`; the third is another agent.
    let differences = [
        [0.10, 0.25, 0.05],
        [0.40, 0.30, 0.50],
        [-0.05, 0.10, 0.00],
        [0.20, 0.35, 0.15],
    ];
    let mut files = Vec::new();
    for (number, differences) in (1..).zip(differences) {
        let two = [0.25; 3];
        let one = differences.map(|difference| 0.25 + difference);
        let document = scores(number, &[("two", two), ("three", [0.5; 3]), ("one", one)]);
        let file = folder.path().join(format!("{number}.json"));
        std::fs::write(&file, document.to_string()).expect("a file");
        files.push(file.to_string_lossy().into_owned());
    }
    let plan = |more: &[&str]| {
        let mut args = vec!["plan", "--difference", "0.2", "--json"];
        for file in &files {
            args.extend(["--from", file]);
        }
        args.extend(more);
        membreak(&args)
    };
    let refused = plan(&[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("one, three, two: name two"), "{said}");
    let plan = document(&plan(&["--agents", "one,two"]));
    let near = |name: &str, expected: f64| {
        let found = plan[name].as_f64().expect("a figure");
        assert!((found - expected).abs() < 1e-4, "{name} {found}");
    };
    near("sd_between", 0.152_449);
    near("sd_within", 0.096_825);
    near("icc", 0.712_575);
    let design = plan["designs"].as_array().expect("designs").iter();
    let mut of_three = design.filter(|one| one["pull_requests"] == 3 && one["trials"] == 3);
    let effect = of_three.next().expect("there is one")["design_effect"].as_f64();
    assert!((effect.expect("a figure") - (1.0 + 2.0 * 0.712_575)).abs() < 1e-3);
    assert!(plan["needed"][2]["pull_requests"].as_u64() > Some(3));
}

/// The content of the results decides the number of pull requests.
#[test]
fn a_plan_lists_its_results_and_their_differences() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, document: &Value| {
        let file = folder.path().join(name);
        std::fs::write(&file, document.to_string()).expect("a file");
        file.to_string_lossy().into_owned()
    };
    let plan = |files: &[&String]| {
        let mut args = vec![
            "plan",
            "--difference",
            "0.2",
            "--json",
            "--agents",
            "one,two",
        ];
        for file in files {
            args.extend(["--from", file]);
        }
        membreak(&args)
    };
    let both = |number, ones| scores(number, &[("two", [0.25; 3]), ("one", ones)]);
    // Two changes of one local repository, and one of them again from a copy elsewhere.
    let local = |number, ones, folder: &str, head: &str| {
        let mut document = both(number, ones);
        document["task"]["pr_url"] = json!(format!("file://{folder}"));
        document["task"]["base"] = json!("aaaa");
        document["task"]["head"] = json!(head);
        document
    };
    let first = write("1.json", &local(1, [0.3, 0.5, 0.4], "/here", "bbbb"));
    let mut other_model = local(2, [0.6, 0.7, 0.8], "/here", "cccc");
    for (run, model) in other_model["runs"]
        .as_array_mut()
        .expect("runs")
        .iter_mut()
        .zip(0..)
    {
        run["manifest"] = json!({"model": (model % 2).to_string(), "trigger": "auto"});
    }
    let second = write("2.json", &other_model);
    let copy = write("3.json", &local(3, [0.3, 0.5, 0.4], "/there", "bbbb"));
    let alone = write("4.json", &scores(4, &[("one", [0.5; 3])]));
    let output = plan(&[&first, &second, &copy, &alone, &first]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = document(&output);
    assert_eq!(
        document["spreads"],
        "measured: one − two in 3 results of 2 pull requests"
    );
    let task = |number: u32| format!("task 0190b3b8-0000-7000-8000-{number:012}");
    for note in [
        format!("{first} repeats {} and is ignored", task(1)),
        "not the same in all runs of one: model".to_owned(),
        "not the same in all runs of two: model".to_owned(),
        format!("{} has no trial with scores of one and two", task(4)),
    ] {
        assert!(told.contains(&note), "{note}: {told}");
        let notes = document["notes"].as_array().expect("notes");
        assert!(notes.contains(&json!(note)), "{notes:?}");
    }
    // Figures that are not comparable are not mixed.
    let mut newer = both(5, [0.5; 3]);
    newer["task"]["instrument_version"] = json!("2");
    let mut stub = both(6, [0.5; 3]);
    stub["model_stub"] = json!(true);
    let (newer, stub) = (write("5.json", &newer), write("6.json", &stub));
    for (file, named) in [(&newer, "(1, 2)"), (&stub, "a model stub")] {
        let output = plan(&[&first, &second, file]);
        assert_eq!(output.status.code(), Some(2), "{named}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(named), "{told}");
    }
}

#[test]
fn a_report_of_nothing_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_membreak"))
        .args(["report", "0190b3b8-0000-7000-8000-000000000000"])
        .env(
            "DATABASE_URL",
            format!("sqlite://{}/empty.db?mode=rwc", folder.path().display()),
        )
        .env("STORAGE_DIR", folder.path())
        .env_remove("REDIS_URL")
        .output()
        .expect("membreak starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no task 0190b3b8"), "{said}");
}
