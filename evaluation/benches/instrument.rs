//! How long the instrument takes for the largest things that it is asked: probes for a change of 200
//! files, and the interval over 1,000 runs. The goals are two seconds and one.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use evaluation::facts::fact_sheet;
use evaluation::probe::Dimension;
use evaluation::probes::{ProbePlan, generate, prove};
use evaluation::pull_request::{Change, ChangedFile, Content, FileStatus, Hunk, Line, PullRequest};
use evaluation::statistics::cluster_bootstrap;

/// A change of so many files in four languages: each new, with a constant, three functions and calls
/// into the file before it.
fn change(files: usize) -> PullRequest {
    let files: Vec<ChangedFile> = (0..files).map(file).collect();
    PullRequest {
        title: Some("Add the modules".to_owned()),
        base: "a".repeat(40),
        head: "b".repeat(40),
        files,
        dropped: Vec::new(),
        other_paths: (0..2_000)
            .map(|at| format!("lib/part_{}/file_{at}.py", at % 40))
            .collect(),
    }
}

fn file(at: usize) -> ChangedFile {
    let before = at.saturating_sub(1);
    let (ending, text) = match at % 4 {
        0 => (
            "py",
            format!(
                "LIMIT_{at} = {at}17\n\ndef open_{at}(item, amount):\n    return close_{before}(item)\n\ndef close_{at}(item):\n    return item\n\ndef run_{at}(item):\n    a = open_{at}(item, 1)\n    b = close_{at}(a)\n    c = open_{before}(b, 2)\n    return c\n"
            ),
        ),
        1 => (
            "rs",
            format!(
                "pub const LIMIT_{at}: u64 = {at}17;\n\npub fn open_{at}(item: u64, amount: u64) -> u64 {{\n    close_{before}(item)\n}}\n\npub fn close_{at}(item: u64) -> u64 {{\n    item\n}}\n\npub fn run_{at}(item: u64) -> u64 {{\n    let a = open_{at}(item, 1);\n    let b = close_{at}(a);\n    open_{before}(b, 2)\n}}\n"
            ),
        ),
        2 => (
            "ts",
            format!(
                "export const LIMIT_{at} = {at}17;\n\nexport function open_{at}(item: number, amount: number): number {{\n    return close_{before}(item);\n}}\n\nexport function close_{at}(item: number): number {{\n    return item;\n}}\n\nexport function run_{at}(item: number): number {{\n    const a = open_{at}(item, 1);\n    const b = close_{at}(a);\n    return open_{before}(b, 2);\n}}\n"
            ),
        ),
        _ => (
            "go",
            format!(
                "package part\n\nconst LIMIT_{at} = {at}17\n\nfunc open_{at}(item int, amount int) int {{\n\treturn close_{before}(item)\n}}\n\nfunc close_{at}(item int) int {{\n\treturn item\n}}\n\nfunc run_{at}(item int) int {{\n\ta := open_{at}(item, 1)\n\tb := close_{at}(a)\n\treturn open_{before}(b, 2)\n}}\n"
            ),
        ),
    };
    let path = format!("src/module_{}/part_{at}.{ending}", at % 20);
    let lines: Vec<Line> = (1..)
        .zip(text.lines())
        .map(|(number, line)| Line {
            change: Change::Added,
            text: line.to_owned(),
            new_number: Some(number),
            old_number: None,
        })
        .collect();
    let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let added: String = text.lines().map(|line| format!("+{line}\n")).collect();
    ChangedFile {
        patch: format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{count} @@\n{added}"
        ),
        hunks: vec![Hunk {
            old_start: 0,
            old_lines: 0,
            new_start: 1,
            new_lines: count,
            lines,
        }],
        path,
        old_path: None,
        status: FileStatus::Added,
        content: Content::Text,
        head_text: Some(text),
    }
}

fn generation(criterion: &mut Criterion) {
    let change = change(200);
    let plan = ProbePlan::standard(7, &Dimension::ALL);
    criterion.bench_function("probes for a change of 200 files", |bench| {
        bench.iter(|| {
            let sheet = fact_sheet(black_box(&change));
            prove(generate(&sheet, &plan), &change)
        });
    });
}

fn bootstrap(criterion: &mut Criterion) {
    let runs: Vec<Vec<f64>> = (0..1_000_u32)
        .map(|run| {
            (0..32)
                .map(|at| f64::from((run * 7 + at * 13) % 11) / 10.0)
                .collect()
        })
        .collect();
    criterion.bench_function("interval over 1,000 runs of 32 answers", |bench| {
        bench.iter(|| cluster_bootstrap(black_box(&runs), 7));
    });
}

criterion_group! {
    name = instrument;
    config = Criterion::default().sample_size(10);
    targets = generation, bootstrap
}
criterion_main!(instrument);
