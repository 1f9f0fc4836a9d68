//! The whole pipeline with the agents' programs and the model stub. The measured scores match the
//! content of the recorded requests.
//!
//! The programs come from `MEMBREAK_AGENTS_DIR`, or `data/agents` of this checkout, where
//! `scripts/install-agents.sh` installs them. A missing program is a failure, not a skip.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn installed() -> PathBuf {
    std::env::var_os("MEMBREAK_AGENTS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/agents"),
        PathBuf::from,
    )
}

fn git(folder: &Path, args: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=A", "-c", "user.email=a@b.invalid"])
        .args(["-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git");
    assert!(output.status.success(), "{output:?}");
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
}

/// A change of a few files, and enough around it to fill a context with.
fn repository(folder: &Path) {
    git(folder, &["init", "-q", "-b", "main"]);
    for chapter in 0..30 {
        let mut text = format!("# Chapter {chapter}\n\n");
        for line in 0..60 {
            writeln!(
                text,
                "Line {line} of chapter {chapter} speaks of topic {} and of {}.",
                chapter * line % 37,
                (chapter + line * 7) % 41
            )
            .expect("a string");
        }
        write(folder, &[(&format!("docs/chapter_{chapter}.md"), &text)]);
    }
    write(
        folder,
        &[(
            "src/store.py",
            "MAX_ITEMS = 10\n\ndef add(item, count):\n    return item\n",
        )],
    );
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "-m", "base"]);
    write(
        folder,
        &[
            (
                "src/store.py",
                "MAX_ITEMS = 42\nRETRY_LIMIT = 7\n\ndef add(item, count, note):\n    return \
                 remove(item, count)\n\ndef remove(item, count):\n    if count > MAX_ITEMS:\n        \
                 raise ValueError(item)\n    return item\n",
            ),
            (
                "src/pricing.py",
                "from store import add, remove\nTAX_RATE = 19\nDISCOUNT_STEP = 3\n\ndef \
                 price_of(item, amount):\n    add(item, amount, \"x\")\n    return amount * \
                 TAX_RATE\n\ndef refund(item, amount):\n    remove(item, amount)\n    return \
                 price_of(item, amount)\n",
            ),
            (
                "tests/test_pricing.py",
                "from pricing import price_of\ndef test_price_of():\n    assert price_of(\"a\", 1) \
                 == 19\n",
            ),
        ],
    );
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "-m", "change"]);
}

/// Output of an evaluation.
struct EvaluationOutcome {
    document: Value,
    probes: Vec<Value>,
    requests: Vec<Value>,
    _folder: tempfile::TempDir,
}

fn evaluate(agents: &str, rubric: &str, more: &[&str]) -> EvaluationOutcome {
    let folder = tempfile::tempdir().expect("a folder");
    let repo = folder.path().join("repo");
    std::fs::create_dir(&repo).expect("a folder");
    repository(&repo);
    let (out, record) = (
        folder.path().join("out"),
        folder.path().join("requests.jsonl"),
    );
    let output = Command::new(env!("CARGO_BIN_EXE_membreak"))
        .args([
            "eval",
            "--base",
            "HEAD~1",
            "--model-stub",
            "--trials",
            "1",
            "--json",
        ])
        .args(["--agents", agents, "--rubric", rubric])
        .arg("--repo")
        .arg(&repo)
        .arg("--out")
        .arg(&out)
        .arg("--stub-record")
        .arg(&record)
        .args(more)
        .env("AGENTS_DIR", installed())
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .env_remove("STORAGE_DIR")
        .output()
        .expect("membreak starts");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(out.join("probes.json")).expect("the probes");
    let probes: Value = serde_json::from_str(&text).expect("the probes as JSON");
    let text = std::fs::read_to_string(&record).expect("the record");
    EvaluationOutcome {
        document: serde_json::from_slice(&output.stdout).expect("one JSON document"),
        probes: probes["probes"]
            .as_array()
            .or(probes.as_array())
            .expect("a list of probes")
            .clone(),
        requests: text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a request"))
            .collect(),
        _folder: folder,
    }
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns whether the request contains all evidence of a probe's last version, apart from the
/// question. Computed from the request alone, without code of the pipeline.
fn holds(request: &Value, probe: &Value) -> bool {
    let messages = request["messages"].as_array().expect("messages");
    let mut held = request["system"]
        .as_str()
        .expect("a system prompt")
        .to_owned();
    for message in &messages[..messages.len() - 1] {
        held.push('\n');
        held.push_str(message["text"].as_str().expect("a text"));
    }
    let versions = probe["key"]["versions"].as_array().expect("versions");
    let parts = versions.last().expect("one version")["parts"].as_array();
    parts.expect("parts").iter().all(|part| {
        let evidence = part["evidence"].as_array().expect("evidence");
        evidence
            .iter()
            .all(|line| held.contains(line.as_str().expect("a line")))
    })
}

/// By probe: whether the request contained the evidence, in the order of asking (baseline, post,
/// cold).
fn asked(evaluated: &EvaluationOutcome, protocol: &str) -> BTreeMap<String, Vec<bool>> {
    let mut asked: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for request in &evaluated.requests {
        if request["protocol"] != protocol || request["purpose"] != "turn" {
            continue;
        }
        let messages = request["messages"].as_array().expect("messages");
        let last = plain(
            messages.last().expect("one")["text"]
                .as_str()
                .expect("a text"),
        );
        let probe = evaluated
            .probes
            .iter()
            .filter(|probe| last.contains(&plain(probe["question"].as_str().expect("a question"))))
            .max_by_key(|probe| probe["question"].as_str().map(str::len));
        if let Some(probe) = probe {
            let label = probe["label"].as_str().expect("a label").to_owned();
            asked.entry(label).or_default().push(holds(request, probe));
        }
    }
    asked
}

fn share(of: &[&Vec<bool>], arm: usize) -> f64 {
    of.iter().filter(|held| held[arm]).count() as f64 / of.len() as f64
}

#[test]
fn retention_matches_the_recorded_requests_of_the_programs() {
    let evaluated = evaluate("claude,gemini,qwen", "AR,SF", &["--stub-keep", "0.5"]);
    assert_eq!(evaluated.document["model_stub"], true);
    let runs = evaluated.document["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 3);
    for (agent, protocol) in [
        ("claude", "anthropic"),
        ("gemini", "gemini"),
        ("qwen", "open_ai_chat"),
    ] {
        let run = runs
            .iter()
            .find(|run| run["agent"] == agent)
            .expect("its run");
        assert_eq!(run["status"], "done", "{run}");
        let broke = &run["breaks"][0];
        assert_eq!(broke["trigger"], "auto", "{run}");
        assert_eq!(broke["proof"], "reported", "{run}");
        assert_eq!(broke["summary_artifact"], "compaction_summary", "{run}");
        assert!(broke["tokens_before"].as_u64() > broke["tokens_after"].as_u64());
        assert!(run["tokens"]["input"].as_u64() > Some(0), "{run}");

        let asked = asked(&evaluated, protocol);
        for dimension in ["AR", "SF"] {
            let of: Vec<&Vec<bool>> = evaluated
                .probes
                .iter()
                .filter(|probe| probe["dimension"] == dimension)
                .map(|probe| &asked[probe["label"].as_str().expect("a label")])
                .collect();
            assert!(of.iter().all(|held| held.len() == 3), "{agent}: {of:?}");
            let (before, after, cold) = (share(&of, 0), share(&of, 1), share(&of, 2));
            let figures = &run["dimensions"][dimension];
            let close = |measured: &Value, held: f64| {
                measured
                    .as_f64()
                    .is_some_and(|measured| (measured - held).abs() < 1e-9)
            };
            assert!(
                close(&figures["baseline"], before),
                "{agent} {before} {figures}"
            );
            assert!(close(&figures["post"], after), "{agent} {after} {figures}");
            assert!(before > 0.9, "{agent} did not know it before: {figures}");
            let retention = (after - cold) / (before - cold);
            assert!(
                close(&figures["retention"], retention),
                "{agent} {retention} {figures}"
            );
        }
    }
}

#[test]
fn files_that_claude_code_reads_again_are_attributed() {
    let run = |seal: &str| {
        let more = [
            "--trigger",
            "manual",
            "--stub-keep",
            "nothing",
            "--seal-before-break",
            seal,
        ];
        let evaluated = evaluate("claude", "AR", &more);
        evaluated.document["runs"][0].clone()
    };
    let open = run("false");
    assert_eq!(open["breaks"][0]["trigger"], "manual", "{open}");
    let put_back = open["breaks"][0]["reinjected"].as_array().expect("a list");
    assert!(
        put_back
            .iter()
            .any(|put_back| put_back["kind"] == "file" && put_back["name"] == "pull_request.diff"),
        "{open}"
    );
    let right = open["attribution"]["reinjected"].as_u64();
    assert!(right > Some(0), "{open}");
    assert_eq!(open["summary_carries"], 0, "{open}");

    let sealed = run("true");
    assert_eq!(sealed["breaks"][0]["sealed"], true, "{sealed}");
    assert!(
        sealed["attribution"].get("reinjected").is_none(),
        "{sealed}"
    );
    assert_eq!(sealed["dimensions"]["AR"]["retention"], 0.0, "{sealed}");
}
