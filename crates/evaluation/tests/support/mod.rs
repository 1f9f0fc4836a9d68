//! A fact sheet built by hand: five files in three languages, with facts of every kind.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file is a crate of its own and uses a part of this"
)]

use domain::pull_request::FileStatus;
use evaluation::facts::{
    ConstantFact, Evidence, FactSheet, FileFact, FlowFact, HunkFact, SymbolFact, SymbolKind,
    TestFact, UseFact,
};

/// Returns lines of a file as evidence.
pub(crate) fn evidence(file: &str, line: u32, text: &[&str]) -> Evidence {
    Evidence {
        file: file.to_owned(),
        lines: (line, line),
        commit: "c0ffee".repeat(7)[..40].to_owned(),
        text: text.iter().map(|&line| line.to_owned()).collect(),
    }
}

pub(crate) fn file(path: &str, status: FileStatus) -> FileFact {
    let opening = format!("diff --git a/{path} b/{path}");
    let (old_path, second) = match status {
        FileStatus::Added => (None, "new file mode 100644".to_owned()),
        FileStatus::Modified => (None, format!("+++ b/{path}")),
        FileStatus::Deleted => (None, "deleted file mode 100644".to_owned()),
        FileStatus::Renamed => (Some(format!("old/{path}")), format!("rename to {path}")),
    };
    FileFact {
        path: path.to_owned(),
        old_path,
        status,
        evidence: evidence(path, 1, &[&opening, &second]),
    }
}

pub(crate) fn function(
    name: &str,
    path: &str,
    line: u32,
    parameters: &[&str],
    returns: &str,
) -> SymbolFact {
    let text = format!(
        "pub fn {name}({}) -> {returns} {{",
        parameters.join(": u8, ")
    );
    SymbolFact {
        name: name.to_owned(),
        kind: SymbolKind::Function,
        file: path.to_owned(),
        parameters: Some(parameters.iter().map(|&name| name.to_owned()).collect()),
        returns: Some(returns.to_owned()),
        evidence: evidence(path, line, &[&text]),
    }
}

pub(crate) fn constant(name: &str, value: &str, path: &str, line: u32) -> ConstantFact {
    ConstantFact {
        name: name.to_owned(),
        value: value.to_owned(),
        file: path.to_owned(),
        evidence: evidence(path, line, &[&format!("const {name} = {value};")]),
    }
}

fn test(test: &str, symbol: &str, path: &str, line: u32) -> TestFact {
    let lines = [
        format!("def {test}():"),
        format!("assert {symbol}(1)  # by {test}"),
    ];
    TestFact {
        test: test.to_owned(),
        symbol: symbol.to_owned(),
        file: path.to_owned(),
        evidence: evidence(path, line, &[&lines[0], &lines[1]]),
    }
}

fn uses(symbol: &str, defined_in: &str, used_in: &[&str]) -> UseFact {
    let used_in = used_in.iter().map(|&path| {
        let line = format!("let made = {symbol}(config); // {path}");
        (path.to_owned(), evidence(path, 9, &[&line]))
    });
    UseFact {
        symbol: symbol.to_owned(),
        defined_in: defined_in.to_owned(),
        used_in: used_in.collect(),
    }
}

pub(crate) fn flow(function: &str, path: &str, steps: &[&str]) -> FlowFact {
    let mut lines = vec![format!("pub fn {function}(input) {{")];
    lines.extend(steps.iter().map(|step| format!("let _ = {step}(input);")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    FlowFact {
        function: function.to_owned(),
        file: path.to_owned(),
        steps: steps.iter().map(|&step| step.to_owned()).collect(),
        evidence: evidence(path, 40, &lines),
    }
}

fn hunk(path: &str, header: &str, defines: &[&str], does: &[&str]) -> HunkFact {
    let mut lines = vec![header.to_owned()];
    lines.extend(defines.iter().map(|name| format!("pub fn {name}(")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    HunkFact {
        file: path.to_owned(),
        header: header.to_owned(),
        defines: defines.iter().map(|&name| name.to_owned()).collect(),
        does: does
            .iter()
            .map(|name| ((*name).to_owned(), format!("let _ = {name}(input);")))
            .collect(),
        adds: 4,
        removes: 1,
        evidence: evidence(path, 1, &lines),
    }
}

/// Returns a sheet with facts of every kind.
pub(crate) fn sheet() -> FactSheet {
    let [retry, queue, api, tests, gone] = [
        "src/retry.rs",
        "src/queue.rs",
        "web/api.ts",
        "tests/test_retry.py",
        "src/legacy.rs",
    ];
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FactSheet {
        base: "b".repeat(40),
        head: "h".repeat(40),
        files: vec![
            file(gone, FileStatus::Deleted),
            file(queue, FileStatus::Modified),
            file(retry, FileStatus::Added),
            file(tests, FileStatus::Added),
            file(api, FileStatus::Renamed),
        ],
        symbols: vec![
            function(
                "backoff_delay",
                retry,
                10,
                &["attempt", "ceiling"],
                "Duration",
            ),
            function("drain_queue", queue, 20, &["limit"], "Vec<Job>"),
            function(
                "push_job",
                queue,
                30,
                &["job", "priority"],
                "Result<(), QueueError>",
            ),
            function("fetchStatus", api, 5, &["taskId"], "Promise<Status>"),
        ],
        constants: vec![
            constant("MAX_ATTEMPTS", "7", retry, 3),
            constant("QUEUE_LIMIT", "5_000", queue, 4),
            constant("STATUS_PATH", "/v2/status", api, 1),
            constant("USER_HEADER", "x-caller", api, 2),
            constant("LEGACY_PATH", "/v1/old", api, 3),
        ],
        tests: vec![
            test("test_delay_doubles", "backoff_delay", tests, 6),
            test("test_delay_has_a_ceiling", "backoff_delay", tests, 12),
            test("test_drain_stops_at_limit", "drain_queue", tests, 18),
            test("test_push_keeps_order", "push_job", tests, 24),
        ],
        uses: vec![
            uses("backoff_delay", retry, &[queue, tests]),
            uses("drain_queue", queue, &[tests]),
            uses("fetchStatus", api, &[queue]),
        ],
        flows: vec![
            flow(
                "run_worker",
                queue,
                &["open_store", "drain_queue", "backoff_delay", "close_store"],
            ),
            flow("boot", api, &["readConfig", "fetchStatus", "render"]),
        ],
        hunks: vec![
            hunk(retry, "@@ -0,0 +1,40 @@", &["backoff_delay"], &["scale_by"]),
            hunk(
                queue,
                "@@ -12,6 +12,19 @@",
                &["drain_queue"],
                &["pop_front", "mark_done"],
            ),
            hunk(
                queue,
                "@@ -40,3 +53,9 @@",
                &["push_job"],
                &["sort_by_priority"],
            ),
            hunk(api, "@@ -1,9 +1,14 @@", &["fetchStatus"], &["fetchJson"]),
            hunk(api, "@@ -30,2 +35,2 @@", &[], &[]),
        ],
        other_paths: strings(&[
            "src/lib.rs",
            "src/store.rs",
            "src/error.rs",
            "web/page.ts",
            "web/main.ts",
            "tests/test_store.py",
            "README.md",
        ]),
        other_symbols: strings(&["open_store", "close_store", "render", "QueueError"]),
    }
}

/// Returns the smallest change: one file in no folder, and no known facts about its content.
pub(crate) fn smallest_sheet() -> FactSheet {
    FactSheet {
        base: "b".repeat(40),
        head: "h".repeat(40),
        files: vec![file("notes.txt", FileStatus::Modified)],
        ..FactSheet::default()
    }
}
