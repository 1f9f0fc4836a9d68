//! Sheets with unusual names: the generator may ask less about them, but never unfairly.

mod support;

use std::collections::BTreeSet;

use domain::pull_request::FileStatus;
use domain::vocabulary::{Dimension, Verdict};
use evaluation::facts::{
    ConstantFact, FactSheet, FlowFact, HunkFact, SymbolFact, SymbolKind, TestFact, UseFact,
};
use evaluation::grading::grade;
use evaluation::probe::{Grader, ProbeSet};
use evaluation::probes::{ProbePlan, generate};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::support::{evidence, file};

const PATHS: [&str; 22] = [
    "src/a.rs",
    "src/a, b.rs",
    "x and y.md",
    "dir with space/z.py",
    "we`ird.c",
    "ünï/cödé.js",
    "a/b/c/d/e.go",
    "Makefile",
    "makefile",
    "repo/x.rs",
    "x.rs",
    "./odd.rs",
    "\"quoted\".ts",
    "new\nline.rs",
    "-",
    "I don't know.md",
    "withdrawn",
    "1. first.txt",
    "B",
    "a->b.c",
    "ANSWER: x",
    "{value}/{subject}.rs",
];
const NAMES: [&str; 16] = [
    "run",
    "Run",
    "operator->",
    "a",
    "T",
    "withdrawn",
    "unknown",
    "don't",
    "x y",
    "",
    "modified",
    "naïve_name",
    "ANSWER:",
    "{value}",
    "fn",
    "order",
];
const VALUES: [&str; 14] = [
    "",
    "1",
    "-1",
    "0x1F",
    "1_000",
    "true",
    "\n",
    "I don't recall",
    "a, b",
    "unknown",
    "...",
    "`",
    "18446744073709551615",
    "**",
];
const STATUSES: [FileStatus; 4] = [
    FileStatus::Added,
    FileStatus::Modified,
    FileStatus::Deleted,
    FileStatus::Renamed,
];

fn symbol() -> impl Strategy<Value = SymbolFact> {
    let parameters = prop::option::of(prop::collection::vec(select(&NAMES[..]), 0..4));
    let returns = prop::option::of(select(&NAMES[..]));
    (
        select(&NAMES[..]),
        select(&PATHS[..]),
        parameters,
        returns,
        lines(),
    )
        .prop_map(|(name, path, parameters, returns, text)| SymbolFact {
            name: name.to_owned(),
            kind: SymbolKind::Function,
            file: path.to_owned(),
            parameters: parameters.map(|names| names.into_iter().map(str::to_owned).collect()),
            returns: returns.map(str::to_owned),
            evidence: evidence(path, 1, &text),
        })
}

fn lines() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(
        select(&["fn run() {", "x", "@@ -1 +1 @@", "run", "let b = a;"][..]),
        0..4,
    )
}

fn sheet() -> impl Strategy<Value = FactSheet> {
    let files = subsequence(&PATHS[..], 0..6).prop_flat_map(|paths| {
        let statuses = prop::collection::vec(select(&STATUSES[..]), paths.len());
        statuses.prop_map(move |statuses| {
            paths
                .iter()
                .zip(statuses)
                .map(|(path, status)| file(path, status))
                .collect()
        })
    });
    let name = || select(&NAMES[..]).prop_map(str::to_owned);
    let path = || select(&PATHS[..]).prop_map(str::to_owned);
    let constants =
        (name(), path(), select(&VALUES[..]), lines()).prop_map(|(name, file, value, text)| {
            ConstantFact {
                evidence: evidence(&file, 2, &text),
                name,
                value: value.to_owned(),
                file,
            }
        });
    let tests = (name(), name(), path(), lines()).prop_map(|(test, symbol, file, text)| TestFact {
        evidence: evidence(&file, 3, &text),
        test,
        symbol,
        file,
    });
    let uses = (
        name(),
        path(),
        prop::collection::btree_set(path(), 0..4),
        lines(),
    )
        .prop_map(|(symbol, defined_in, used_in, text)| UseFact {
            symbol,
            defined_in,
            used_in: used_in
                .into_iter()
                .map(|path| (path.clone(), evidence(&path, 4, &text)))
                .collect(),
        });
    let flows = (
        name(),
        path(),
        prop::collection::btree_set(name(), 0..9),
        lines(),
    )
        .prop_map(|(function, file, steps, text)| FlowFact {
            evidence: evidence(&file, 5, &text),
            function,
            file,
            steps: steps.into_iter().collect(),
        });
    let hunks = (
        path(),
        0..50_u32,
        prop::collection::vec(name(), 0..3),
        lines(),
    )
        .prop_map(|(file, line, defines, text)| HunkFact {
            header: format!("@@ -{line},1 +{line},2 @@"),
            evidence: evidence(&file, line, &text),
            file,
            does: defines
                .iter()
                .map(|name| (name.clone(), format!("{name}();")))
                .collect(),
            defines,
            adds: 1,
            removes: 0,
        });
    (
        files,
        prop::collection::vec(symbol(), 0..6),
        prop::collection::vec(constants, 0..5),
        prop::collection::vec(tests, 0..4),
        prop::collection::vec(uses, 0..4),
        prop::collection::vec(flows, 0..3),
        prop::collection::vec(hunks, 0..5),
        subsequence(&PATHS[..], 0..8),
        subsequence(&NAMES[..], 0..4),
    )
        .prop_map(
            |(files, symbols, constants, tests, uses, flows, hunks, other_paths, other_symbols)| {
                let texts = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect();
                FactSheet {
                    base: "b".repeat(40),
                    head: "h".repeat(40),
                    files,
                    symbols,
                    constants,
                    tests,
                    uses,
                    flows,
                    hunks,
                    other_paths: texts(other_paths),
                    other_symbols: texts(other_symbols),
                }
            },
        )
}

/// Checks properties of every set, whatever its source.
fn is_fair(set: &ProbeSet) {
    let mut questions = BTreeSet::new();
    for probe in &set.probes {
        assert!(questions.insert(&probe.question), "asked twice: {probe:#?}");
        let say = |answer: &str| grade(&probe.grader, &format!("Well.\n\nANSWER: {answer}"));
        let known = probe.key.answer(|_| true).expect("all evidence is enough");
        assert_eq!(say(&known).verdict, Verdict::Right, "{probe:#?}");
        assert_eq!(
            probe.key.answer(|text| probe.question.contains(text)),
            None,
            "{probe:#?}"
        );
        assert!(probe.distractors.len() >= 2, "{probe:#?}");
        for distractor in &probe.distractors {
            let verdict = say(distractor).verdict;
            assert!(
                matches!(verdict, Verdict::Wrong | Verdict::Partial),
                "{distractor}: {probe:#?}"
            );
        }
        if let Grader::Choice { choices, right } = &probe.grader {
            for (at, letter) in (0..choices.len()).zip('A'..) {
                let verdict = if at == *right {
                    Verdict::Right
                } else {
                    Verdict::Wrong
                };
                assert_eq!(
                    say(&letter.to_string()).verdict,
                    verdict,
                    "{letter}: {probe:#?}"
                );
                assert_eq!(say(&choices[at]).verdict, verdict, "{letter}: {probe:#?}");
            }
        }
        let taught = probe.source.is_none();
        let evidence = probe.key.versions.iter().flat_map(|version| &version.parts);
        for text in evidence.flat_map(|part| &part.evidence).filter(|_| taught) {
            let lessons = set
                .teaching
                .iter()
                .filter(|lesson| lesson.text.contains(text.as_str()));
            assert_eq!(lessons.count(), 1, "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_sheets_give_fair_probes(sheet in sheet(), seed in any::<u64>()) {
        let plan = ProbePlan::standard(seed, &Dimension::ALL);
        let set = generate(&sheet, &plan);
        is_fair(&set);
        prop_assert_eq!(generate(&sheet, &plan), set);
    }
}

#[test]
fn a_change_of_thousands_of_files_is_asked_about() {
    let mut sheet = support::sheet();
    for number in 0..3000 {
        let path = format!("crates/part{}/src/file{number}.rs", number % 40);
        sheet.files.push(file(&path, FileStatus::Modified));
        let name = format!("function_{number}");
        sheet.symbols.push(support::function(
            &name,
            &path,
            1,
            &["left", "right"],
            "u32",
        ));
        sheet.other_paths.push(format!("docs/page{number}.md"));
    }
    let set = generate(&sheet, &ProbePlan::standard(1, &Dimension::ALL));
    is_fair(&set);
    assert_eq!(set.probes.len(), 32);
}
