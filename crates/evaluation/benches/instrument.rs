//! Duration of the instrument for its largest inputs: probes for a change of 200 files of realistic
//! length, and intervals over 1,000 runs. The goals are two seconds and one.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use domain::pull_request::{Change, ChangedFile, Content, FileStatus, Hunk, Line, PullRequest};
use domain::vocabulary::Dimension;
use evaluation::facts::fact_sheet;
use evaluation::leaderboard::{Outcome, RunResult, leaderboard};
use evaluation::probes::{ProbePlan, generate, prove};
use evaluation::scoring::RunScore;
use evaluation::statistics::cluster_bootstrap;

/// Returns a change of many files in four languages, with realistic lengths: 150 to 250 lines with
/// comments, constants, twelve functions and calls into the previous file. One in three is new, the
/// others are changed in three places.
fn change(files: usize) -> PullRequest {
    let files: Vec<ChangedFile> = (0..files).map(file).collect();
    PullRequest {
        title: Some("Move the stores to the new limits".to_owned()),
        base: "a".repeat(40),
        head: "b".repeat(40),
        files,
        dropped: Vec::new(),
        other_paths: (0..2_000)
            .map(|at| format!("lib/part_{}/file_{at}.py", at % 40))
            .collect(),
    }
}

/// Subjects of the functions of a file.
const WORDS: [&str; 12] = [
    "open", "close", "merge", "split", "parse", "render", "fetch", "store", "retry", "expire",
    "count", "report",
];

/// Syntax of a language.
struct Language {
    ending: &'static str,
    comment: &'static str,
    head: &'static str,
    constant: fn(&str, usize) -> String,
    function: fn(&str, &str, &str) -> String,
}

const LANGUAGES: [Language; 4] = [
    Language {
        ending: "py",
        comment: "#",
        head: "import logging\n",
        constant: |name, value| format!("{name} = {value}\n"),
        function: |name, before, limit| {
            format!(
                "def {name}(item, amount):\n    \"\"\"Goes on while there is something left.\"\"\"\n    total = 0\n    for step in range(amount):\n        if step > {limit}:\n            logging.warning(\"too many steps\")\n            break\n        total += step\n    if item is None:\n        return total\n    return {before}(item, total)\n"
            )
        },
    },
    Language {
        ending: "rs",
        comment: "//",
        head: "use std::collections::HashMap;\n",
        constant: |name, value| format!("pub const {name}: u64 = {value};\n"),
        function: |name, before, limit| {
            format!(
                "/// Goes on while there is something left.\npub fn {name}(item: Option<u64>, amount: u64) -> u64 {{\n    let mut total = 0;\n    for step in 0..amount {{\n        if step > {limit} {{\n            break;\n        }}\n        total += step;\n    }}\n    match item {{\n        Some(_) => {before}(item, total),\n        None => total,\n    }}\n}}\n"
            )
        },
    },
    Language {
        ending: "ts",
        comment: "//",
        head: "import { log } from \"./log\";\n",
        constant: |name, value| format!("export const {name} = {value};\n"),
        function: |name, before, limit| {
            format!(
                "export function {name}(item: string | null, amount: number): number {{\n    let total = 0;\n    for (let step = 0; step < amount; step++) {{\n        if (step > {limit}) {{\n            break;\n        }}\n        total += step;\n    }}\n    if (item === null) {{\n        return total;\n    }}\n    return {before}(item, total);\n}}\n"
            )
        },
    },
    Language {
        ending: "go",
        comment: "//",
        head: "package part\n",
        constant: |name, value| format!("const {name} = {value}\n"),
        function: |name, before, limit| {
            format!(
                "func {name}(item *int, amount int) int {{\n\ttotal := 0\n\tfor step := 0; step < amount; step++ {{\n\t\tif step > {limit} {{\n\t\t\tbreak\n\t\t}}\n\t\ttotal += step\n\t}}\n\tif item == nil {{\n\t\treturn total\n\t}}\n\treturn {before}(item, total)\n}}\n"
            )
        },
    },
];

fn text(at: usize, language: &Language) -> String {
    let mut text = format!(
        "{0} Part {at} of the stores: what is kept, for how long, and who may read it.\n{0}\n{0} The limits are those of the protocol.\n{1}\n",
        language.comment, language.head
    );
    for (number, word) in WORDS.iter().enumerate().take(4) {
        let name = format!("{}_LIMIT_{at}", word.to_uppercase());
        text.push_str(&(language.constant)(&name, 100 * (number + 1) + at));
    }
    for (number, word) in WORDS.iter().enumerate() {
        let before = match number {
            0 => format!("report_{}", at.saturating_sub(1)),
            _ => format!("{}_{at}", WORDS[number - 1]),
        };
        let limit = format!("{}_LIMIT_{at}", WORDS[number % 4].to_uppercase());
        let name = format!("{word}_{at}");
        text.push_str(&format!(
            "\n{} The step that can {word}.\n",
            language.comment
        ));
        text.push_str(&(language.function)(&name, &before, &limit));
    }
    text
}

/// Returns lines `first` to `last` of a file (from 1), new except for three of context at each end.
fn hunk(lines: &[&str], first: usize, last: usize, context: usize) -> Hunk {
    let shown: Vec<Line> = (first..=last)
        .map(|number| {
            let is_context = number < first + context || number + context > last;
            let new_number = u32::try_from(number).unwrap_or(u32::MAX);
            Line {
                change: if is_context {
                    Change::Context
                } else {
                    Change::Added
                },
                text: lines[number - 1].to_owned(),
                new_number: Some(new_number),
                old_number: is_context.then_some(new_number),
            }
        })
        .collect();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Hunk {
        old_start: count(if context == 0 { 0 } else { first }),
        old_lines: count(2 * context),
        new_start: count(first),
        new_lines: count(last - first + 1),
        lines: shown,
    }
}

fn file(at: usize) -> ChangedFile {
    let language = &LANGUAGES[at % 4];
    let path = format!("src/module_{}/part_{at}.{}", at % 20, language.ending);
    let text = text(at, language);
    let lines: Vec<&str> = text.lines().collect();
    let is_new = at.is_multiple_of(3);
    let hunks = if is_new {
        vec![hunk(&lines, 1, lines.len(), 0)]
    } else {
        [(1, 40), (70, 95), (120, 140)]
            .map(|(first, last)| hunk(&lines, first, last, 3))
            .into()
    };
    let mut patch = format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n");
    for hunk in &hunks {
        patch.push_str(&format!(
            "@@ -{},{} +{},{} @@\n",
            hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines
        ));
        for line in &hunk.lines {
            let sign = if line.change == Change::Added {
                '+'
            } else {
                ' '
            };
            patch.push_str(&format!("{sign}{}\n", line.text));
        }
    }
    ChangedFile {
        patch,
        hunks,
        path,
        old_path: None,
        status: if is_new {
            FileStatus::Added
        } else {
            FileStatus::Modified
        },
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

/// The computation for a board of one agent with 1,000 runs of 500 pull requests: four intervals.
fn board(criterion: &mut Criterion) {
    let runs: Vec<RunResult> = (0..1_000_u32)
        .map(|run| RunResult {
            agent: "agent".to_owned(),
            trial: run % 2,
            pull_request: (run / 2).to_string(),
            session: run.to_string(),
            outcome: Outcome::Measured,
            score: RunScore {
                dimensions: BTreeMap::new(),
                overall_score: Some(f64::from(run * 7 % 11) / 10.0),
                passed: None,
            },
            recall: Some(f64::from(run * 3 % 11) / 10.0),
            manifest: BTreeMap::new(),
            duration_ms: None,
        })
        .collect();
    criterion.bench_function("leaderboard of 1,000 runs on 500 pull requests", |bench| {
        bench.iter(|| leaderboard(black_box(&runs), 0.5, 7));
    });
}

criterion_group! {
    name = instrument;
    config = Criterion::default().sample_size(10);
    targets = generation, bootstrap, board
}
criterion_main!(instrument);
