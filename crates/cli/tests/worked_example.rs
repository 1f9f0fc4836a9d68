//! The example in docs/explanation/protocol.md matches the output of its command.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    assert!(text.is_ok(), "{}: {text:?}", path.display());
    text.unwrap_or_default()
}

/// Returns the section of the example.
fn section() -> String {
    let page =
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explanation/protocol.md"));
    let from = page
        .find("## Example: from the raw stream to the score")
        .expect("the section is there");
    let section = &page[from..];
    let to = section[2..].find("\n## ").expect("another one follows") + 2;
    section[..to].to_owned()
}

#[test]
fn the_worked_example_matches_its_command() {
    let section = section();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("example");
    let command = section
        .lines()
        .find_map(|line| line.strip_prefix("membreak "))
        .expect("a command");
    let args = command.replace(" example", &format!(" {}", out.display()));
    let output = Command::new(env!("CARGO_BIN_EXE_membreak"))
        .args(args.split(' '))
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .env_remove("STORAGE_DIR")
        .output()
        .expect("membreak starts");
    assert!(output.status.success(), "{output:?}");
    // Prose is wrapped, code is not.
    let unwrapped = section.replace('\n', " ");
    let says = |text: &str| {
        assert!(
            section.contains(text) || unwrapped.contains(text),
            "{text:?} is not in the example"
        );
    };

    let probes: Value = serde_json::from_str(&read(&out.join("probes.json"))).expect("probes");
    let named = |label: &str| {
        let all = probes["probes"].as_array().expect("a list");
        let found = all.iter().find(|probe| probe["label"] == label);
        found.unwrap_or_else(|| panic!("there is no {label}"))
    };
    for label in ["AR-04", "AR-10"] {
        let probe = named(label);
        let question = probe["question"].as_str().expect("a question");
        says(&format!(r#""label": "{label}", "question": "{question}""#));
        says(&format!(r#""accept": {}"#, probe["grader"]["accept"]));
    }
    let asked = named("AR-04");
    let list = |value: &Value| value.to_string().replace(',', ", ");
    says(&format!(
        r#""distractors": {}"#,
        list(&asked["distractors"])
    ));
    says(&format!(r#""lines": {}"#, list(&asked["source"]["lines"])));
    let commit = asked["source"]["commit"].as_str().expect("a commit");
    says(&format!(r#""commit": "{}…""#, &commit[..8]));

    let answers: Vec<Value> = read(&out.join("answers.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).expect("an answer"))
        .collect();
    let answer = |probe: &str, arm: &str| {
        let found = answers
            .iter()
            .find(|answer| answer["probe"] == probe && answer["arm"] == arm);
        found.unwrap_or_else(|| panic!("no answer to {probe} in {arm}"))
    };
    let before = answer("AR-04", "baseline");
    says(&format!(
        r#""probe":"AR-04","arm":"baseline","answer":{},"grade":{:?},"verdict":{},"confidence":{:?},"grader":{}"#,
        before["answer"],
        before["grade"].as_f64().expect("a grade"),
        before["verdict"],
        before["confidence"].as_f64().expect("a confidence"),
        before["grader"],
    ));
    let recorded_answer = |probe: &str, arm: &str, verdict: &str, answered: &str| {
        let answer = answer(probe, arm);
        assert_eq!(answer["verdict"], verdict, "{answer}");
        let text = answer["answer"].as_str().expect("an answer");
        assert_eq!(text.lines().next(), Some(answered));
    };
    recorded_answer("AR-04", "baseline", "right", "ANSWER: 36");
    recorded_answer("AR-10", "baseline", "right", "ANSWER: 7");
    recorded_answer("AR-04", "post", "right", "ANSWER: 36");
    recorded_answer("AR-10", "post", "abstained", "ANSWER: I don't recall");
    recorded_answer("AR-04", "cold", "abstained", "ANSWER: I don't recall");
    recorded_answer("AR-10", "cold", "abstained", "ANSWER: I don't recall");
    assert_eq!(answer("AR-04", "post")["attribution"], "summary");

    let result: Value = serde_json::from_str(&read(&out.join("result.json"))).expect("a result");
    let run = &result["runs"][0];
    let seen = &run["breaks"][0];
    says(&format!(
        r#""trigger":{},"tokens_before":{},"tokens_after":{}"#,
        seen["trigger"], seen["tokens_before"], seen["tokens_after"]
    ));
    says(&format!(
        "{} tokens became {}.",
        seen["tokens_before"], seen["tokens_after"]
    ));
    let number = |value: &Value| value.as_f64().expect("a number");
    let figures = |dimension: &str| &run["dimensions"][dimension];
    let retrieval = figures("AR");
    assert_eq!(
        (number(&retrieval["baseline"]), number(&retrieval["cold"])),
        (1.0, 0.0)
    );
    let (kept, n) = (&retrieval["kept"], &retrieval["n"]);
    let post = number(&retrieval["post"]);
    says(&format!("| post | {kept} / {n} | **{post:.2}**"));
    says(&format!(
        "| retention | ({post:.2} − 0.0) / (1.0 − 0.0) | **{:.2}** |",
        number(&retrieval["retention"])
    ));
    says(&format!(
        "| item retention | {kept} of the {} that were right before | **{:.2}** |",
        retrieval["known"],
        number(&retrieval["item_retention"])
    ));
    for (rate, word) in [("abstained_rate", "don't recall"), ("wrong_rate", "wrong")] {
        let rate = number(&retrieval[rate]);
        let many = (rate * number(n)).round();
        says(&format!("| {word} | {many} / {n} | {rate:.2} |"));
    }
    let others = ["LRU", "SF", "TTL"].map(|dimension| {
        let figures = figures(dimension);
        let post = number(&figures["post"]);
        says(&format!(
            "{} of {} ({post:.2})",
            figures["kept"], figures["n"]
        ));
        format!("{post:.3}")
    });
    says(&format!("({post:.3} + {}) / 4", others.join(" + ")));
    says(&format!(
        "= **{:.2}**",
        number(&result["leaderboard"][0]["overall_score"])
    ));
    assert_eq!(result["leaderboard"][0]["passed"], false);
    let all = ["AR", "LRU", "SF", "TTL"];
    let sum = |name: &str| -> f64 { all.iter().map(|one| number(&figures(one)[name])).sum() };
    let (kept, known) = (sum("kept"), sum("known"));
    assert!(
        section
            .replace('\n', " ")
            .contains(&format!("kept {kept} of {known} items"))
    );
}
