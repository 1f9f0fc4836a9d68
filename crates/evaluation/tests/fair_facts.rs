//! Facts that would cause a wrong grade: a statement that two places contradict must not be a fact.
//!
//! Every test also names a fact that must be on the sheet, so that an empty sheet passes no test.

use std::collections::BTreeSet;

use domain::pull_request::{ChangedFile, Content, FileStatus, PullRequest, parse_patch};
use evaluation::facts::{Evidence, FactSheet, fact_sheet};

/// Number of unchanged lines around a change.
const CONTEXT: usize = 3;

fn changed(path: &str, status: FileStatus, patch: String, head_text: Option<&str>) -> ChangedFile {
    ChangedFile {
        path: path.to_owned(),
        old_path: None,
        status,
        content: Content::Text,
        hunks: parse_patch(&patch).expect("the patch was written by this test"),
        patch,
        head_text: head_text.map(str::to_owned),
    }
}

fn added(path: &str, text: &str) -> ChangedFile {
    let body: String = text
        .split_inclusive('\n')
        .map(|line| format!("+{line}"))
        .collect();
    let patch = format!(
        "diff --git a/{path} b/{path}\nnew file mode 100644\nindex 0000000..1111111\n\
         --- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{} @@\n{body}",
        text.lines().count()
    );
    changed(path, FileStatus::Added, patch, Some(text))
}

fn deleted(path: &str, text: &str) -> ChangedFile {
    let body: String = text.lines().map(|line| format!("-{line}\n")).collect();
    let patch = format!(
        "diff --git a/{path} b/{path}\ndeleted file mode 100644\nindex 1111111..0000000\n\
         --- a/{path}\n+++ /dev/null\n@@ -1,{} +0,0 @@\n{body}",
        text.lines().count()
    );
    changed(path, FileStatus::Deleted, patch, None)
}

/// A line of a file before and after. `Keep` is in both.
enum Edit<'a> {
    Keep(&'a str),
    Add(&'a str),
    Remove(&'a str),
}
use Edit::{Add, Keep, Remove};

/// Returns a modified file. Kept lines far from every change are in no hunk. The header of a hunk
/// has no heading unless `heading` gives one.
fn modified(path: &str, edits: &[Edit<'_>], heading: &str) -> ChangedFile {
    let near = |at: usize| {
        let window = &edits[at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(edits.len())];
        window.iter().any(|edit| !matches!(edit, Keep(_)))
    };
    let (mut old, mut new) = (1, 1);
    let mut patch = format!(
        "diff --git a/{path} b/{path}\nindex 1111111..2222222 100644\n--- a/{path}\n+++ b/{path}\n"
    );
    let mut head = String::new();
    let mut hunk: Option<(usize, usize, String)> = None;
    let mut close = |hunk: &mut Option<(usize, usize, String)>, old: usize, new: usize| {
        if let Some((first_old, first_new, body)) = hunk.take() {
            let header = format!(
                "@@ -{first_old},{} +{first_new},{} @@{heading}\n",
                old - first_old,
                new - first_new
            );
            patch.push_str(&header);
            patch.push_str(&body);
        }
    };
    for (at, edit) in edits.iter().enumerate() {
        if near(at) {
            let (_, _, body) = hunk.get_or_insert_with(|| (old, new, String::new()));
            let (sign, text) = match edit {
                Keep(text) => (' ', text),
                Add(text) => ('+', text),
                Remove(text) => ('-', text),
            };
            body.push(sign);
            body.push_str(text);
            body.push('\n');
        } else {
            close(&mut hunk, old, new);
        }
        if let Keep(text) | Add(text) = edit {
            head.push_str(text);
            head.push('\n');
            new += 1;
        }
        old += usize::from(!matches!(edit, Add(_)));
    }
    close(&mut hunk, old, new);
    changed(path, FileStatus::Modified, patch, Some(&head))
}

fn pull_request(mut files: Vec<ChangedFile>) -> PullRequest {
    files.sort_by(|one, other| one.path.cmp(&other.path));
    PullRequest {
        title: None,
        base: "b".repeat(40),
        head: "a".repeat(40),
        files,
        dropped: Vec::new(),
        other_paths: Vec::new(),
    }
}

/// Returns the sheet, after checks that apply to every sheet.
fn sheet(files: Vec<ChangedFile>) -> FactSheet {
    let pull_request = pull_request(files);
    let sheet = fact_sheet(&pull_request);
    assert_eq!(sheet, fact_sheet(&pull_request));
    for evidence in all_evidence(&sheet) {
        let file = pull_request
            .files
            .iter()
            .find(|file| file.path == evidence.file);
        let patch = &file.expect("evidence is about a changed file").patch;
        assert!(!evidence.text.is_empty());
        for line in &evidence.text {
            assert!(!line.is_empty() && line.trim() == line, "{line:?}");
            assert!(patch.contains(line), "{line:?} is not in\n{patch}");
        }
        assert!(evidence.lines.0 >= 1 && evidence.lines.0 <= evidence.lines.1);
        assert!([&sheet.base, &sheet.head].contains(&&evidence.commit));
    }
    for flow in &sheet.flows {
        assert_eq!(flow.evidence.text.len(), flow.steps.len() + 1, "{flow:?}");
        let names: BTreeSet<&String> = flow.steps.iter().collect();
        assert!(
            names.len() == flow.steps.len() && names.len() >= 3,
            "{flow:?}"
        );
    }
    sheet
}

fn all_evidence(sheet: &FactSheet) -> Vec<&Evidence> {
    let mut all: Vec<&Evidence> = sheet.files.iter().map(|fact| &fact.evidence).collect();
    all.extend(sheet.symbols.iter().map(|fact| &fact.evidence));
    all.extend(sheet.constants.iter().map(|fact| &fact.evidence));
    all.extend(sheet.tests.iter().map(|fact| &fact.evidence));
    all.extend(sheet.flows.iter().map(|fact| &fact.evidence));
    all.extend(sheet.hunks.iter().map(|fact| &fact.evidence));
    let users = sheet.uses.iter().flat_map(|fact| &fact.used_in);
    all.extend(users.map(|(_, evidence)| evidence));
    all
}

fn symbols(sheet: &FactSheet) -> Vec<&str> {
    sheet
        .symbols
        .iter()
        .map(|fact| fact.name.as_str())
        .collect()
}

fn constants(sheet: &FactSheet) -> Vec<(&str, &str)> {
    let pairs = sheet.constants.iter();
    pairs
        .map(|fact| (fact.name.as_str(), fact.value.as_str()))
        .collect()
}

/// Returns the files that use a symbol according to the sheet.
fn users<'a>(sheet: &'a FactSheet, symbol: &str) -> Vec<&'a str> {
    let facts = sheet.uses.iter().filter(|fact| fact.symbol == symbol);
    let files = facts.flat_map(|fact| &fact.used_in);
    files.map(|(path, _)| path.as_str()).collect()
}

fn steps<'a>(sheet: &'a FactSheet, function: &str) -> Vec<&'a str> {
    let facts = sheet.flows.iter().filter(|fact| fact.function == function);
    facts
        .flat_map(|fact| &fact.steps)
        .map(String::as_str)
        .collect()
}

#[test]
fn a_name_that_two_changed_files_define_is_no_symbol() {
    let sheet = sheet(vec![
        added("a.rs", "pub fn open_store() {}\npub fn close_store() {}\n"),
        added("b.py", "def open_store():\n    pass\n"),
    ]);
    assert_eq!(symbols(&sheet), ["close_store"]);
    assert!(
        sheet
            .hunks
            .iter()
            .all(|hunk| !hunk.defines.contains(&"open_store".to_owned()))
    );
}

#[test]
fn a_namesake_outside_of_the_hunks_of_a_changed_file_counts() {
    let far = [
        Keep("fn open_store() {}"),
        Keep(""),
        Keep(""),
        Keep(""),
        Keep(""),
        Keep(""),
    ];
    let mut edits: Vec<Edit<'_>> = far.into();
    edits.push(Add("fn drain_queue() {}"));
    let sheet = sheet(vec![
        added("a.rs", "pub fn open_store() {}\n"),
        modified("b.rs", &edits, ""),
    ]);
    assert_eq!(symbols(&sheet), ["drain_queue"]);
}

#[test]
fn a_definition_that_moved_within_its_file_belongs_to_no_hunk() {
    let mut edits = vec![Remove("fn open_store() {}"), Add("fn close_store() {}")];
    edits.extend((0..12).map(|_| Keep("")));
    edits.push(Add("fn open_store() {}"));
    let sheet = sheet(vec![modified("a.rs", &edits, "")]);
    let defines: Vec<&String> = sheet.hunks.iter().flat_map(|hunk| &hunk.defines).collect();
    assert_eq!(defines, ["close_store"]);
}

#[test]
fn a_definition_that_heads_another_hunk_belongs_to_no_hunk() {
    let mut edits = vec![Add("fn open_store() {"), Add("    work();")];
    edits.extend((0..12).map(|_| Keep("    work();")));
    edits.extend([Add("    more();"), Keep("}"), Add("fn close_store() {}")]);
    let sheet = sheet(vec![modified("a.rs", &edits, " fn open_store() {")]);
    let defines: Vec<&String> = sheet.hunks.iter().flat_map(|hunk| &hunk.defines).collect();
    assert_eq!(defines, ["close_store"]);
}

#[test]
fn a_signature_is_a_fact_only_if_the_diff_shows_all_of_it() {
    let mut edits = vec![
        Add("/// Says."),
        Keep("pub fn say_hello("),
        Keep("    name: &str,"),
    ];
    edits.extend([
        Keep("    times: u32,"),
        Keep("    loud: bool,"),
        Keep(") -> String {"),
    ]);
    edits.extend((0..9).map(|_| Keep("    todo();")));
    edits.extend([
        Keep("}"),
        Add("pub fn say_bye("),
        Add("    name: &str,"),
        Add(") -> u8 {"),
    ]);
    edits.extend([Add("    7"), Add("}")]);
    let sheet = sheet(vec![modified("a.rs", &edits, "")]);
    for symbol in &sheet.symbols {
        let reported = (symbol.parameters.clone(), symbol.returns.clone());
        if symbol.name == "say_hello" {
            assert_eq!(reported, (None, None));
        } else {
            assert_eq!(
                reported,
                (Some(vec!["name".to_owned()]), Some("u8".to_owned()))
            );
            for line in ["pub fn say_bye(", "name: &str,", ") -> u8 {"] {
                assert!(
                    symbol.evidence.text.contains(&line.to_owned()),
                    "{symbol:?}"
                );
            }
        }
    }
    assert!(symbols(&sheet).contains(&"say_bye"));
}

#[test]
fn a_constant_with_two_values_is_none() {
    let sheet = sheet(vec![
        added(
            "a.rs",
            "pub const RETRY_LIMIT: u32 = 17;\npub const QUEUE_LIMIT: u32 = 99;\n",
        ),
        added("b.rs", "pub const RETRY_LIMIT: u32 = 23;\n"),
        added(
            "c.py",
            "PAGE_SIZE = 11\nif fast:\n    PAGE_SIZE = 12\nUSER_AGENT = \"reader\"\n",
        ),
        modified(
            "d.ts",
            &[
                Remove("export const MAX_AGE = 30;"),
                Add("export const MAX_AGE = 45;"),
            ],
            "",
        ),
    ]);
    assert_eq!(
        constants(&sheet).into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            ("MAX_AGE", "45"),
            ("QUEUE_LIMIT", "99"),
            ("USER_AGENT", "reader")
        ])
    );
}

#[test]
fn only_code_that_stays_uses_a_symbol() {
    let sheet = sheet(vec![
        added("lib.py", "def drain_queue(limit):\n    return limit\n"),
        added(
            "user.py",
            "from lib import drain_queue\n\nTOTAL = drain_queue(3)\n",
        ),
        added(
            "words.py",
            "# drain_queue is slow\nNOTE = 'drain_queue()'\n",
        ),
        modified("gone.py", &[Remove("drain_queue(3)"), Add("other(3)")], ""),
        added("README.md", "Call `drain_queue` last.\n"),
    ]);
    // With this many mentions the fact may be left out, but must not be wrong.
    let users = users(&sheet, "drain_queue");
    assert!(users.is_empty() || users == ["user.py"], "{users:?}");
    assert_eq!(symbols(&sheet), ["drain_queue"]);
}

#[test]
fn uses_are_found_in_every_file() {
    let sheet = sheet(vec![
        added("lib.rs", "pub fn drain_queue() {}\n"),
        added(
            "one.rs",
            "use crate::drain_queue;\nfn run_one() {\n    drain_queue();\n}\n",
        ),
        added("two.rs", "fn run_two() {\n    crate::drain_queue();\n}\n"),
    ]);
    assert_eq!(users(&sheet, "drain_queue"), ["one.rs", "two.rs"]);
}

#[test]
fn a_variable_or_field_of_the_same_name_is_no_use() {
    for text in [
        "fn run_one(task_owner: u32) -> u32 {\n    task_owner + 1\n}\n",
        "fn run_one() -> u32 {\n    let task_owner = 5;\n    task_owner\n}\n",
        "struct Row {\n    task_owner: u32,\n}\n",
        "fn run_one(row: Row) -> u32 {\n    row.task_owner\n}\n",
    ] {
        let sheet = sheet(vec![
            added("lib.rs", "pub fn task_owner() -> u32 {\n    7\n}\n"),
            added("one.rs", text),
        ]);
        assert_eq!(users(&sheet, "task_owner"), [""; 0], "{text}");
        assert!(symbols(&sheet).contains(&"task_owner"));
    }
}

#[test]
fn the_order_of_a_flow_is_the_order_in_which_it_runs() {
    let plain = "fn run_all() {\n    open_store();\n    drain_queue();\n    close_store();\n}\n";
    let clear = sheet(vec![added("a.rs", plain)]);
    assert_eq!(
        steps(&clear, "run_all"),
        ["open_store", "drain_queue", "close_store"]
    );
    for body in [
        // The inner call runs first.
        "    open_store(drain_queue());\n    close_store();\n",
        "    open_store(\n        drain_queue(),\n    );\n    close_store();\n",
        // A closure runs later, if at all.
        "    let late = || open_store();\n    drain_queue();\n    close_store();\n",
    ] {
        let sheet = sheet(vec![added("a.rs", &format!("fn run_all() {{\n{body}}}\n"))]);
        assert_eq!(steps(&sheet, "run_all"), [""; 0], "{body}");
    }
    let hidden = "fn run_all() {\n    assert!(close_store());\n    open_store();\n    \
                  drain_queue();\n    close_store();\n}\n";
    let found = sheet(vec![added("a.rs", hidden)]);
    let found = steps(&found, "run_all");
    assert!(found.is_empty() || found == ["close_store", "open_store", "drain_queue"]);
    let go =
        "package a\n\nfunc runAll() {\n\tdefer closeStore()\n\topenStore()\n\tdrainQueue()\n}\n";
    assert_eq!(steps(&sheet(vec![added("a.go", go)]), "runAll"), [""; 0]);
}

#[test]
fn a_flow_does_not_skip_an_earlier_call_that_the_diff_does_not_show() {
    let mut edits = vec![Keep("fn run_all() {"), Add("    open_store();")];
    edits.extend((0..4).map(|_| Keep("    // so it is")));
    edits.extend([Keep("    close_store();")]);
    edits.extend((0..4).map(|_| Keep("    // so it is")));
    edits.extend([
        Add("    drain_queue();"),
        Add("    close_store();"),
        Add("    report_end();"),
    ]);
    edits.push(Keep("}"));
    let run_some = "fn run_some() {\n    open_store();\n    drain_queue();\n    report_end();\n}\n";
    let sheet = sheet(vec![modified("a.rs", &edits, ""), added("b.rs", run_some)]);
    let right = ["open_store", "drain_queue", "report_end"];
    let found = steps(&sheet, "run_all");
    assert!(found.is_empty() || found == right, "{found:?}");
    assert_eq!(steps(&sheet, "run_some"), right);
}

#[test]
fn a_deleted_file_has_facts_of_the_base_only() {
    let sheet = sheet(vec![
        deleted("old.rs", "pub fn drain_queue() {}\n"),
        added("new.rs", "pub fn open_store() {\n    drain_queue();\n}\n"),
    ]);
    for symbol in sheet
        .symbols
        .iter()
        .filter(|symbol| symbol.file == "old.rs")
    {
        assert_eq!(symbol.evidence.commit, sheet.base);
    }
    assert_eq!(users(&sheet, "drain_queue"), [""; 0]);
    assert!(symbols(&sheet).contains(&"open_store"));
}

#[test]
fn every_test_of_the_diff_that_uses_a_symbol_is_a_fact() {
    let tests = "from lib import drain_queue\n\ndef test_stops_at_limit():\n    assert \
                 drain_queue(3) == 3\n\ndef test_other():\n    assert True\n\ndef \
                 test_keeps_order():\n    assert drain_queue(1) == 1\n";
    let sheet = sheet(vec![
        added("lib.py", "def drain_queue(limit):\n    return limit\n"),
        added("test_lib.py", tests),
    ]);
    let found: BTreeSet<(&str, &str)> = sheet
        .tests
        .iter()
        .map(|fact| (fact.test.as_str(), fact.symbol.as_str()))
        .collect();
    assert_eq!(
        found,
        BTreeSet::from([
            ("test_keeps_order", "drain_queue"),
            ("test_stops_at_limit", "drain_queue")
        ])
    );
}

#[test]
fn odd_sources_neither_break_nor_stop_the_reader() {
    let deep = format!("x = {}{}\n", "(".repeat(12_000), ")".repeat(12_000));
    let windows = "pub fn open_store() {}\r\npub const PAGE_SIZE: u32 = 11;\r\n";
    let mut files = vec![added("windows.rs", windows)];
    for ending in [
        "rs", "py", "ts", "tsx", "js", "jsx", "go", "java", "c", "cpp", "rb", "zz",
    ] {
        files.push(added(&format!("deep.{ending}"), &deep));
        files.push(added(&format!("open.{ending}"), &"{[(<".repeat(3_000)));
    }
    // With this many brackets the parser needs more stack than a thread has.
    files.push(added("most.rs", &"{[(<".repeat(20_000)));
    files.push(added(
        "words.py",
        "def zähle_größe(größe):\n    return größe\n",
    ));
    // A text that does not match the hunks.
    let mut other = added("other.rs", "pub fn not_there() {}\n");
    other.head_text = Some("pub fn quite_else() {}\n".to_owned());
    files.push(other);
    let sheet = sheet(files);
    let symbols: BTreeSet<&str> = symbols(&sheet).into_iter().collect();
    assert!(symbols.is_superset(&BTreeSet::from(["open_store", "zähle_größe"])));
    assert!(!symbols.contains("quite_else"));
    assert_eq!(constants(&sheet), [("PAGE_SIZE", "11")]);
}
