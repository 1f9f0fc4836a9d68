//! The fact sheets of small pull requests: facts, their evidence, and facts that are left out.

use domain::pull_request::{ChangedFile, Content, Dropped, FileStatus, PullRequest, parse_patch};
use evaluation::facts::{Evidence, FactSheet, SymbolKind, fact_sheet};
use proptest::prelude::*;

fn change(files: Vec<ChangedFile>) -> PullRequest {
    PullRequest {
        title: None,
        base: "b".repeat(40),
        head: "a".repeat(40),
        files,
        dropped: vec![Dropped {
            path: "logo.png".to_owned(),
            reason: "binary".to_owned(),
        }],
        other_paths: vec![
            "docs/z.md".to_owned(),
            "logo.png".to_owned(),
            "docs/a.md".to_owned(),
        ],
    }
}

fn file(path: &str, status: FileStatus, patch: String, head_text: Option<String>) -> ChangedFile {
    ChangedFile {
        path: path.to_owned(),
        old_path: None,
        status,
        content: Content::Text,
        hunks: parse_patch(&patch).expect("a section of a diff"),
        patch,
        head_text,
    }
}

/// Returns a new file with this text.
fn added(path: &str, text: &str) -> ChangedFile {
    let mut patch = format!(
        "diff --git a/{path} b/{path}\nnew file mode 100644\nindex 0000000..1111111\n--- /dev/null\n+++ b/{path}\n"
    );
    if !text.is_empty() {
        let lines: Vec<&str> = text
            .strip_suffix('\n')
            .unwrap_or(text)
            .split('\n')
            .collect();
        patch.push_str(&format!("@@ -0,0 +1,{} @@\n", lines.len()));
        for line in lines {
            patch.push_str(&format!("+{line}\n"));
        }
    }
    file(path, FileStatus::Added, patch, Some(text.to_owned()))
}

/// Returns a file of which the diff shows only these lines, all as context, from 1 and without
/// gaps.
fn shown(path: &str, text: &str, first: usize, last: usize) -> ChangedFile {
    let count = last - first + 1;
    let mut patch = format!(
        "diff --git a/{path} b/{path}\nindex 1111111..2222222 100644\n--- a/{path}\n+++ b/{path}\n@@ -{first},{count} +{first},{count} @@ where it is\n"
    );
    for line in text.lines().skip(first - 1).take(count) {
        patch.push_str(&format!(" {line}\n"));
    }
    file(path, FileStatus::Modified, patch, Some(text.to_owned()))
}

fn gone(path: &str, text: &str) -> ChangedFile {
    let count = text.lines().count();
    let mut patch = format!(
        "diff --git a/{path} b/{path}\ndeleted file mode 100644\nindex 1111111..0000000\n--- a/{path}\n+++ /dev/null\n@@ -1,{count} +0,0 @@\n"
    );
    for line in text.lines() {
        patch.push_str(&format!("-{line}\n"));
    }
    file(path, FileStatus::Deleted, patch, None)
}

fn all_evidence(sheet: &FactSheet) -> Vec<&Evidence> {
    let files = sheet.files.iter().map(|fact| &fact.evidence);
    files
        .chain(sheet.symbols.iter().map(|fact| &fact.evidence))
        .chain(sheet.constants.iter().map(|fact| &fact.evidence))
        .chain(sheet.tests.iter().map(|fact| &fact.evidence))
        .chain(
            sheet
                .uses
                .iter()
                .flat_map(|fact| fact.used_in.iter().map(|(_, line)| line)),
        )
        .chain(sheet.flows.iter().map(|fact| &fact.evidence))
        .chain(sheet.hunks.iter().map(|fact| &fact.evidence))
        .collect()
}

/// Returns whether every line of evidence is in the section of its file.
fn is_proved(change: &PullRequest, sheet: &FactSheet) -> bool {
    all_evidence(sheet).into_iter().all(|evidence| {
        let mut files = change.files.iter();
        let file = files.find(|file| file.path == evidence.file);
        !evidence.text.is_empty()
            && evidence.lines.0 <= evidence.lines.1
            && file.is_some_and(|file| {
                evidence.text.iter().all(|line| {
                    !line.is_empty() && line.trim() == line && file.patch.contains(line)
                })
            })
    })
}

fn symbols(sheet: &FactSheet) -> Vec<&str> {
    sheet
        .symbols
        .iter()
        .map(|fact| fact.name.as_str())
        .collect()
}

const LEDGER: &str = "\
pub const MAX_ROWS: usize = 512;

pub struct Ledger;

pub fn open_ledger(
    path: &str,
    size: usize,
) -> Option<Ledger> {
    let bytes = fetch_bytes(path);
    check_size(size);
    decode_rows(bytes)
}
";

const CALLER: &str = "\
use crate::ledger::open_ledger;

fn report_all() {
    open_ledger(\"open\", 3);
}

#[test]
fn a_report_opens_the_ledger() {
    assert!(open_ledger(\"x\", 1).is_some());
}
";

#[test]
fn a_new_file_has_facts_about_definitions_and_uses() {
    let change = change(vec![
        added("src/report.rs", CALLER),
        added("src/ledger.rs", LEDGER),
    ]);
    let sheet = fact_sheet(&change);
    assert!(is_proved(&change, &sheet));
    assert_eq!(
        symbols(&sheet),
        [
            "Ledger",
            "a_report_opens_the_ledger",
            "open_ledger",
            "report_all"
        ]
    );
    assert_eq!(sheet.other_symbols, Vec::<String>::new());
    assert_eq!(sheet.other_paths, ["docs/a.md", "docs/z.md"]);
    assert_eq!(sheet.symbols[0].kind, SymbolKind::Type);
    let open = &sheet.symbols[2];
    assert_eq!(
        open.parameters,
        Some(vec!["path".to_owned(), "size".to_owned()])
    );
    assert_eq!(open.returns.as_deref(), Some("Option<Ledger>"));
    assert_eq!(open.evidence.lines, (5, 8));
    assert_eq!(
        open.evidence.text,
        [
            "diff --git a/src/ledger.rs b/src/ledger.rs",
            "pub fn open_ledger(",
            "path: &str,",
            "size: usize,",
            ") -> Option<Ledger> {"
        ]
    );
    assert_eq!(sheet.constants[0].value, "512");
    assert_eq!(
        sheet.constants[0].evidence.text,
        [
            "diff --git a/src/ledger.rs b/src/ledger.rs",
            "pub const MAX_ROWS: usize = 512;"
        ]
    );
    assert_eq!(sheet.uses.len(), 1);
    let (path, line) = &sheet.uses[0].used_in[0];
    assert_eq!(
        (sheet.uses[0].symbol.as_str(), path.as_str()),
        ("open_ledger", "src/report.rs")
    );
    assert_eq!(
        line.text,
        [
            "diff --git a/src/report.rs b/src/report.rs",
            "use crate::ledger::open_ledger;"
        ]
    );
    assert_eq!(sheet.tests.len(), 1);
    assert_eq!(
        sheet.tests[0].evidence.text,
        [
            "diff --git a/src/report.rs b/src/report.rs",
            "fn a_report_opens_the_ledger() {",
            "assert!(open_ledger(\"x\", 1).is_some());"
        ]
    );
    assert_eq!(sheet.flows.len(), 1);
    assert_eq!(
        sheet.flows[0].steps,
        ["fetch_bytes", "check_size", "decode_rows"]
    );
    assert_eq!(
        sheet.flows[0].evidence.text,
        [
            "pub fn open_ledger(",
            "let bytes = fetch_bytes(path);",
            "check_size(size);",
            "decode_rows(bytes)"
        ]
    );
    let hunk = &sheet.hunks[0];
    assert_eq!(hunk.header, "@@ -0,0 +1,12 @@");
    assert_eq!(hunk.defines, ["Ledger", "open_ledger"]);
    assert_eq!((hunk.adds, hunk.removes), (12, 0));
    assert_eq!(
        hunk.evidence.text,
        [
            "diff --git a/src/ledger.rs b/src/ledger.rs",
            "@@ -0,0 +1,12 @@",
            "pub struct Ledger;",
            "pub fn open_ledger("
        ]
    );
}

#[test]
fn lines_outside_of_hunks_give_no_facts() {
    let change = change(vec![shown("src/ledger.rs", LEDGER, 6, 10)]);
    let sheet = fact_sheet(&change);
    assert!(is_proved(&change, &sheet));
    assert!(sheet.symbols.is_empty() && sheet.constants.is_empty() && sheet.flows.is_empty());
    assert_eq!(sheet.other_symbols, ["Ledger", "open_ledger"]);
    assert_eq!(sheet.hunks[0].header, "@@ -6,5 +6,5 @@");
    assert_eq!(
        sheet.hunks[0].evidence.text[1],
        "@@ -6,5 +6,5 @@ where it is"
    );
    assert_eq!(sheet.hunks[0].defines, Vec::<String>::new());
}

#[test]
fn a_signature_that_is_cut_off_is_left_out() {
    let sheet = fact_sheet(&change(vec![shown("src/ledger.rs", LEDGER, 3, 6)]));
    assert_eq!(symbols(&sheet), ["Ledger"]);
}

#[test]
fn a_name_with_two_meanings_is_left_out() {
    let sheet = fact_sheet(&change(vec![
        added(
            "a.py",
            "LIMIT = 3\n\ndef charge(card):\n    pass\n\ndef refund(card):\n    pass\n",
        ),
        added("b.py", "LIMIT = 4\n\nclass charge:\n    pass\n"),
        added("c.py", "from a import charge, refund\n"),
    ]));
    assert_eq!(symbols(&sheet), ["refund"]);
    assert_eq!(sheet.other_symbols, ["charge"]);
    assert!(sheet.constants.is_empty());
    assert_eq!(sheet.uses.len(), 1);
    assert_eq!(sheet.hunks[0].defines, ["refund"]);
    assert!(sheet.hunks[1].defines.is_empty());
}

#[test]
fn a_definition_outside_of_the_hunks_makes_a_name_ambiguous_too() {
    let sheet = fact_sheet(&change(vec![
        added("a.py", "def charge(card):\n    pass\n"),
        shown("b.py", "import os\n\ndef charge():\n    pass\n", 1, 1),
    ]));
    assert!(sheet.symbols.is_empty());
}

#[test]
fn common_and_short_names_are_left_out() {
    let sheet = fact_sheet(&change(vec![added(
        "a.go",
        "package a\n\nfunc New() {}\nfunc main() {}\nfunc run() {}\nfunc go1() {}\nfunc ab() {}\n",
    )]));
    assert_eq!(symbols(&sheet), ["go1"]);
}

#[test]
fn a_use_that_can_be_argued_about_is_left_out() {
    let definition = || added("a.py", "def charge(card):\n    pass\n");
    let uses = |other: ChangedFile| fact_sheet(&change(vec![definition(), other])).uses.len();
    assert_eq!(uses(added("b.py", "from a import charge\n")), 1);
    assert_eq!(
        uses(added("b.py", "# charge\nNOTE = 'charge'\n")),
        0,
        "only words"
    );
    assert_eq!(
        uses(shown("b.py", "import os\n\ncharge(1)\n", 1, 1)),
        0,
        "outside of the hunks"
    );
    assert_eq!(
        uses(added("b.py", "charge = 3\nprint(charge)\n")),
        0,
        "its own variable"
    );
    let with_use = added("c.py", "from a import charge\n");
    let removed = gone("b.py", "charge(1)\n");
    let sheet = fact_sheet(&change(vec![definition(), with_use, removed]));
    assert!(sheet.uses.is_empty(), "a removed line shows a use as well");
}

#[test]
fn a_deleted_file_is_only_a_file() {
    let change = change(vec![gone("src/ledger.rs", LEDGER)]);
    let sheet = fact_sheet(&change);
    assert_eq!(sheet.files.len(), 1);
    assert_eq!(sheet.files[0].evidence.commit, change.base);
    assert_eq!(
        sheet.files[0].evidence.text,
        [
            "diff --git a/src/ledger.rs b/src/ledger.rs",
            "deleted file mode 100644"
        ]
    );
    assert_eq!(all_evidence(&sheet).len(), 1);
    assert!(sheet.other_symbols.is_empty());
}

#[test]
fn a_mere_rename_and_a_binary_file_are_files_of_the_sheet() {
    let patch =
        "diff --git a/a.rs b/b.rs\nsimilarity index 100%\nrename from a.rs\nrename to b.rs\n";
    let mut renamed = file(
        "b.rs",
        FileStatus::Renamed,
        patch.to_owned(),
        Some("fn moved_here() {}\n".to_owned()),
    );
    renamed.old_path = Some("a.rs".to_owned());
    let patch =
        "diff --git a/x.png b/x.png\nindex 1..2 100644\nBinary files a/x.png and b/x.png differ\n";
    let mut picture = file("x.png", FileStatus::Modified, patch.to_owned(), None);
    picture.content = Content::Binary;
    let change = change(vec![picture, renamed]);
    let sheet = fact_sheet(&change);
    assert!(is_proved(&change, &sheet));
    assert_eq!(sheet.files.len(), 2);
    assert_eq!(
        sheet.files[0].evidence.text,
        [
            "diff --git a/a.rs b/b.rs",
            "rename from a.rs",
            "rename to b.rs"
        ]
    );
    assert_eq!(sheet.other_symbols, ["moved_here"]);
}

#[test]
fn a_test_that_the_diff_does_not_show_makes_the_question_open() {
    let hidden = "def test_one():\n    charge(1)\n\ndef test_two():\n    charge(2)\n";
    let definition = || added("a.py", "def charge(card):\n    pass\n");
    let tests = |file: ChangedFile| fact_sheet(&change(vec![definition(), file])).tests.len();
    assert_eq!(tests(added("test_a.py", hidden)), 2);
    assert_eq!(tests(shown("test_a.py", hidden, 1, 2)), 0);
}

#[test]
fn only_one_of_two_nested_calls_is_a_step() {
    let body = "def settle_all(rows):\n    outer_one(inner_one(rows))\n    second_one(rows)\n    later = lambda: third_one(rows)\n    fourth_one(later)\n    second_one(rows)\n";
    let sheet = fact_sheet(&change(vec![added("a.py", body)]));
    assert_eq!(
        sheet.flows[0].steps,
        ["outer_one", "second_one", "fourth_one"]
    );
}

#[test]
fn hunks_that_are_not_those_of_the_patch_prove_nothing() {
    let mut odd = added("src/ledger.rs", LEDGER);
    odd.patch = odd.patch.replace("open_ledger", "close_ledger");
    let sheet = fact_sheet(&change(vec![odd]));
    assert_eq!(sheet.files.len(), 1);
    assert!(sheet.symbols.is_empty() && sheet.hunks.is_empty());
    let mut old = added("src/ledger.rs", LEDGER);
    old.head_text = Some(LEDGER.replace("MAX_ROWS", "MIN_ROWS"));
    assert!(fact_sheet(&change(vec![old])).constants.is_empty());
}

#[test]
fn carriage_returns_do_not_hide_facts() {
    let text = LEDGER.replace('\n', "\r\n");
    let change = change(vec![added("src/ledger.rs", &text)]);
    let sheet = fact_sheet(&change);
    assert!(is_proved(&change, &sheet));
    assert_eq!(symbols(&sheet), ["Ledger", "open_ledger"]);
    assert_eq!(sheet.constants.len(), 1);
}

#[test]
fn the_order_of_the_files_does_not_change_the_sheet() {
    let files = || {
        vec![
            added("b.rs", CALLER),
            added("a.rs", LEDGER),
            gone("c.rs", CALLER),
        ]
    };
    let mut turned = files();
    turned.reverse();
    assert_eq!(fact_sheet(&change(files())), fact_sheet(&change(turned)));
}

fn any_text() -> impl Strategy<Value = String> {
    r#"((pub )?(fn|def|class|const|func|struct) [a-d]{3}(\([a-c]{0,1}\))?( = [0-9]|:| \{|;)?\n|    [a-d]{3}\([a-d]{3}\(\)\)\n|\}\n|[-+@\\ ß'"(){}a-c]{0,9}\r?\n){0,25}"#
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_fact_is_proved_by_the_diff(
        texts in prop::collection::vec((any_text(), 0..12usize, 1..20usize), 1..5),
        ending in prop::sample::select(vec!["rs", "py", "ts", "go", "java", "cpp", "rb", "md"]),
    ) {
        let files = texts.iter().enumerate().map(|(at, (text, from, count))| {
            let path = format!("f{at}.{ending}");
            let lines = text.lines().count();
            if lines > *from && at % 2 == 1 && !text.contains('\r') {
                shown(&path, text, from + 1, (from + count).min(lines))
            } else {
                added(&path, text)
            }
        });
        let change = change(files.collect());
        let sheet = fact_sheet(&change);
        prop_assert!(is_proved(&change, &sheet));
        prop_assert_eq!(&sheet, &fact_sheet(&change));
        let mut names = symbols(&sheet);
        names.extend(sheet.other_symbols.iter().map(String::as_str));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), all, "every name is listed once");
    }

    #[test]
    fn any_patch_and_any_text_give_a_sheet(patch in ".{0,200}", text in any_text(), hunks in any_text()) {
        let opening = format!("diff --git a/x b/x\n@@ -1,9 +1,9 @@\n{hunks}");
        for patch in [patch, opening] {
            let change = change(vec![ChangedFile {
                path: "x.rs".to_owned(),
                old_path: None,
                status: FileStatus::Modified,
                content: Content::Text,
                hunks: parse_patch(&patch).unwrap_or_default(),
                patch,
                head_text: Some(text.clone()),
            }]);
            prop_assert!(is_proved(&change, &fact_sheet(&change)));
        }
    }
}
