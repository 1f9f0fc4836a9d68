//! The facts for grading open questions.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use domain::pull_request::{ChangedFile, Content, FileStatus, PullRequest, parse_patch};
use domain::vocabulary::OpenTopic;
use evaluation::claims::{OpenFact, open_facts};
use evaluation::facts::fact_sheet;

fn file(
    path: &str,
    old: Option<&str>,
    status: FileStatus,
    head: Option<&str>,
    patch: &str,
) -> ChangedFile {
    ChangedFile {
        path: path.to_owned(),
        old_path: old.map(str::to_owned),
        status,
        content: Content::Text,
        patch: patch.to_owned(),
        hunks: parse_patch(patch).unwrap(),
        head_text: head.map(str::to_owned),
    }
}

const LIMITS: &str = "diff --git a/src/limits.rs b/src/limits.rs\n--- a/src/limits.rs\n+++ b/src/limits.rs\n\
@@ -1,5 +1,6 @@\n-pub const WIDTH: u32 = 64;\n-pub const SIGN_TEXT: &str = \"old shop\";\n-pub const SPAN: u64 = 5;\n\
+pub const WIDTH: u32 = 32;\n+pub const SIGN_TEXT: &str = \"new shop\";\n+pub const SPAN: u32 = 6;\n\
+pub const FRESH: u32 = 77;\n pub const KEPT: u32 = 8;\n \n";

fn pull_request() -> PullRequest {
    let added = "diff --git a/src/gate.rs b/src/gate.rs\nnew file mode 100644\n--- /dev/null\n+++ b/src/gate.rs\n\
@@ -0,0 +1,3 @@\n+pub fn open_gate(count: u32) -> u32 {\n+    count\n+}\n";
    let user = "diff --git a/src/yard.rs b/src/yard.rs\n--- a/src/yard.rs\n+++ b/src/yard.rs\n\
@@ -1,3 +1,3 @@\n-pub fn enter_yard(all: u32) -> u32 {\n-    all\n+pub fn enter_yard(count: u32) -> u32 {\n+    open_gate(count)\n }\n";
    let deleted = "diff --git a/src/fence.rs b/src/fence.rs\ndeleted file mode 100644\n--- a/src/fence.rs\n+++ /dev/null\n\
@@ -1,1 +0,0 @@\n-pub fn old_fence() {}\n";
    let renamed = "diff --git a/src/hut.rs b/src/shed.rs\nsimilarity index 100%\nrename from src/hut.rs\nrename to src/shed.rs\n";
    PullRequest {
        title: Some("Open the gate for visitors".to_owned()),
        base: "b".repeat(40),
        head: "a".repeat(40),
        files: vec![
            file("src/fence.rs", None, FileStatus::Deleted, None, deleted),
            file(
                "src/gate.rs",
                None,
                FileStatus::Added,
                Some("pub fn open_gate(count: u32) -> u32 {\n    count\n}\n"),
                added,
            ),
            file(
                "src/limits.rs",
                None,
                FileStatus::Modified,
                Some(
                    "pub const WIDTH: u32 = 32;\npub const SIGN_TEXT: &str = \"new shop\";\npub const SPAN: u32 = 6;\npub const FRESH: u32 = 77;\npub const KEPT: u32 = 8;\n\n",
                ),
                LIMITS,
            ),
            file(
                "src/shed.rs",
                Some("src/hut.rs"),
                FileStatus::Renamed,
                Some("fn hut() {}\n"),
                renamed,
            ),
            file(
                "src/yard.rs",
                None,
                FileStatus::Modified,
                Some("pub fn enter_yard(count: u32) -> u32 {\n    open_gate(count)\n}\n"),
                user,
            ),
        ],
        dropped: Vec::new(),
        other_paths: Vec::new(),
    }
}

fn facts(pull_request: &PullRequest, seed: u64) -> Vec<OpenFact> {
    open_facts(pull_request, &fact_sheet(pull_request), seed)
}

fn statements(facts: &[OpenFact], topic: OpenTopic) -> Vec<&str> {
    let mut of: Vec<&str> = facts
        .iter()
        .filter(|one| one.topic == topic)
        .map(|one| one.fact.statement.as_str())
        .collect();
    of.sort_unstable();
    of
}

#[test]
fn every_topic_gets_the_facts_that_bear_on_it() {
    let facts = facts(&pull_request(), 1);
    assert_eq!(
        statements(&facts, OpenTopic::Purpose),
        [
            "The change adds `open_gate`, in `src/gate.rs`.",
            "The change adds the file `src/gate.rs`.",
            "The change deletes the file `src/fence.rs`.",
            "The change renames the file `src/hut.rs` to `src/shed.rs`.",
            "What the pull request is for is, in the words of its title: `Open the gate for visitors`.",
        ]
    );
    // `SPAN` changed its type too, so its earlier value is unknown.
    assert_eq!(
        statements(&facts, OpenTopic::Risks),
        [
            "The change sets `SIGN_TEXT` to `new shop`; it was another value before.",
            "The change sets `WIDTH` to `32`; it was another value before.",
            "`open_gate`, which the change touches, is used in `src/yard.rs`.",
        ]
    );
    assert_eq!(
        statements(&facts, OpenTopic::Rollback),
        [
            "To undo the change, `SIGN_TEXT` has to get its old value `old shop` back.",
            "To undo the change, `WIDTH` has to get its old value `64` back.",
            "To undo the change, the file `src/fence.rs` has to be restored.",
            "To undo the change, the file `src/gate.rs` has to be removed.",
            "To undo the change, the file `src/shed.rs` has to be renamed back to `src/hut.rs`.",
        ]
    );
}

#[test]
fn every_fact_is_proved_by_lines_that_agents_read() {
    let pull_request = pull_request();
    let diff: String = pull_request
        .files
        .iter()
        .map(|file| file.patch.as_str())
        .collect();
    let read = format!("{diff}{}", pull_request.title.as_deref().unwrap());
    for one in facts(&pull_request, 1) {
        assert!(!one.evidence.is_empty());
        for line in &one.evidence {
            assert!(read.contains(line.as_str()), "{one:?}");
        }
        let said = format!("{:?}", one.evidence);
        let value = &one.fact.values[0];
        let verb = ["added", "deleted", "removed", "restored"].contains(&value.as_str());
        assert!(
            verb || said.contains(value)
                || one.topic == OpenTopic::Risks
                || said.contains("open_gate"),
            "{one:?}"
        );
    }
}

#[test]
fn the_draw_is_fixed_by_its_seed_and_keeps_a_topic_within_one_request() {
    let mut large = pull_request();
    for number in 0..30 {
        let path = format!("docs/{number}.md");
        let patch = format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,1 @@\n+x\n"
        );
        large
            .files
            .push(file(&path, None, FileStatus::Added, Some("x\n"), &patch));
    }
    let drawn = facts(&large, 1);
    assert_eq!(drawn, facts(&large, 1));
    assert_ne!(drawn, facts(&large, 2));
    for topic in OpenTopic::ALL {
        let ids: Vec<&str> = drawn
            .iter()
            .filter(|one| one.topic == topic)
            .map(|one| one.fact.id.as_str())
            .collect();
        assert!(ids.len() <= 8 && ids[0] == "F01", "{ids:?}");
    }
    // Facts of every kind, however many files there are.
    let purpose = statements(&drawn, OpenTopic::Purpose);
    assert!(
        purpose.iter().any(|text| text.contains("its title")),
        "{purpose:?}"
    );
    assert!(
        purpose.iter().any(|text| text.contains("open_gate")),
        "{purpose:?}"
    );
}

#[test]
fn a_topic_on_which_nothing_bears_has_no_facts() {
    let mut plain = pull_request();
    plain.title = Some("Fix".to_owned());
    plain.files.retain(|file| file.path == "src/yard.rs");
    let facts = facts(&plain, 1);
    assert_eq!(statements(&facts, OpenTopic::Purpose), Vec::<&str>::new());
    assert_eq!(statements(&facts, OpenTopic::Rollback), Vec::<&str>::new());
}
