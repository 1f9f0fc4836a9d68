//! Reading one file's section of a unified diff.

use domain::pull_request::{Change, PatchError, parse_patch};
use proptest::prelude::*;

const HEAD: &str = "diff --git a/a.rs b/a.rs\nindex 111..222 100644\n--- a/a.rs\n+++ b/a.rs\n";

#[test]
fn lines_have_their_numbers_on_both_sides() {
    let patch = format!("{HEAD}@@ -3,3 +3,4 @@ fn before() {{\n one\n-two\n+deux\n+trois\n four\n");
    let hunks = parse_patch(&patch).unwrap();
    assert_eq!(hunks.len(), 1);
    let seen: Vec<_> = hunks[0]
        .lines
        .iter()
        .map(|line| {
            (
                line.change,
                line.text.as_str(),
                line.old_number,
                line.new_number,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Change::Context, "one", Some(3), Some(3)),
            (Change::Removed, "two", Some(4), None),
            (Change::Added, "deux", None, Some(4)),
            (Change::Added, "trois", None, Some(5)),
            (Change::Context, "four", Some(5), Some(6)),
        ]
    );
}

#[test]
fn a_count_that_is_left_out_is_one() {
    let hunks = parse_patch(&format!("{HEAD}@@ -7 +7 @@\n-a\n+b\n")).unwrap();
    assert_eq!((hunks[0].old_lines, hunks[0].new_lines), (1, 1));
}

#[test]
fn a_missing_line_end_is_no_line() {
    let patch = format!(
        "{HEAD}@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
    );
    assert_eq!(parse_patch(&patch).unwrap()[0].lines.len(), 2);
}

#[test]
fn a_removed_line_that_looks_like_a_header_is_a_line() {
    let patch =
        format!("{HEAD}@@ -1,2 +1 @@\n--- a/x\n-@@ -1 +1 @@\n+++ b/x\n@@ -9 +8 @@\n-a\n+b\n");
    let hunks = parse_patch(&patch).unwrap();
    assert_eq!(hunks.len(), 2);
    assert_eq!(hunks[0].lines[0].text, "-- a/x");
    assert_eq!(hunks[0].lines[2].text, "++ b/x");
}

#[test]
fn a_carriage_return_belongs_to_the_line() {
    let hunks = parse_patch(&format!("{HEAD}@@ -1,2 +1 @@\n-a\r\n \r\n")).unwrap();
    assert_eq!(hunks[0].lines[0].text, "a\r");
    assert_eq!(hunks[0].lines[1].text, "\r");
}

#[test]
fn an_empty_context_line_may_lack_its_space() {
    let hunks = parse_patch(&format!("{HEAD}@@ -1,2 +1,3 @@\n a\n\n+b\n")).unwrap();
    assert_eq!(hunks[0].lines[1].text, "");
    assert_eq!(hunks[0].lines[1].change, Change::Context);
}

#[test]
fn a_section_may_have_no_hunks() {
    for rest in [
        "",
        "new file mode 100644\nindex 0000000..e69de29\n",
        "similarity index 100%\nrename from a\nrename to b\n",
        "Binary files a/x.png and b/x.png differ\n",
        "GIT binary patch\nliteral 3\nKcmZQzWMT#Y01f~L\n",
    ] {
        assert_eq!(
            parse_patch(&format!("diff --git a/a b/b\n{rest}")),
            Ok(Vec::new())
        );
    }
    assert_eq!(parse_patch(""), Ok(Vec::new()));
}

#[test]
fn what_is_no_section_is_refused_with_its_line() {
    for (rest, error) in [
        ("@@ -1,2 +1,2 @@\n a\n", PatchError::ShortHunk(5)),
        (
            "@@ -1 +1 @@\n a\ndiff --git a/b b/b\n",
            PatchError::UnexpectedLine(7),
        ),
        ("@@ -1,2 +1,1 @@\n a\n+b\n", PatchError::UnexpectedLine(7)),
        ("@@ -1 +1 @@\nodd\n", PatchError::UnexpectedLine(6)),
        ("@@@ -1 -1 +1 @@@\n", PatchError::HunkHeader(5)),
        ("@@ -1 +99999999999 @@\n", PatchError::HunkHeader(5)),
        (
            "@@ -1 +4294967295,4294967295 @@\n",
            PatchError::HunkHeader(5),
        ),
    ] {
        assert_eq!(parse_patch(&format!("{HEAD}{rest}")), Err(error), "{rest}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in r"(@@ -[0-9]{0,3},?[0-9]? \+[0-9]{1,3},[0-9] @@|[-+ \\@]{0,2}.{0,9}\r?\n){0,20}") {
        let _ = parse_patch(&text);
    }

    #[test]
    fn what_a_hunk_says_of_its_size_is_so(lines in prop::collection::vec((0..3usize, "[a-z@+ -]{0,8}"), 1..40), start in 1..500u32) {
        let count = |not: usize| lines.iter().filter(|(change, _)| *change != not).count();
        let mut patch = format!("{HEAD}@@ -{start},{} +{start},{} @@\n", count(1), count(2));
        for (change, text) in &lines {
            patch.push_str([" ", "+", "-"][*change]);
            patch.push_str(text);
            patch.push('\n');
        }
        let hunks = parse_patch(&patch).unwrap();
        prop_assert_eq!(hunks.len(), 1);
        let read: Vec<_> = hunks[0].lines.iter().map(|line| line.text.clone()).collect();
        let written: Vec<_> = lines.iter().map(|(_, text)| text.clone()).collect();
        prop_assert_eq!(read, written);
    }
}
