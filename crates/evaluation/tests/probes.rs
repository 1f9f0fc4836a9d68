//! The generator: every kind, fair questions, the same bytes for the same seed.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use domain::vocabulary::{Dimension, Verdict};
use evaluation::facts::FactSheet;
use evaluation::grading::{ABSTENTION, grade};
use evaluation::probe::{Grader, Key, Probe, ProbeKind, ProbeSet, Version};
use evaluation::probes::{ProbePlan, generate, only_dimensions};

const KINDS: [ProbeKind; 14] = [
    ProbeKind::ChangedFiles,
    ProbeKind::SymbolFile,
    ProbeKind::SymbolSignature,
    ProbeKind::ConstantValue,
    ProbeKind::CoveringTest,
    ProbeKind::FileStatus,
    ProbeKind::HunkLabel,
    ProbeKind::TaughtRule,
    ProbeKind::SymbolUsers,
    ProbeKind::FlowOrder,
    ProbeKind::ChangeTogether,
    ProbeKind::BehaviourHunk,
    ProbeKind::CorrectedFact,
    ProbeKind::RetractedFact,
];

fn made(seed: u64) -> ProbeSet {
    generate(
        &support::sheet(),
        &ProbePlan::standard(seed, &Dimension::ALL),
    )
}

static MANY: LazyLock<Vec<ProbeSet>> = LazyLock::new(|| {
    (0..40)
        .flat_map(|seed| {
            let plan = ProbePlan::standard(seed, &Dimension::ALL);
            [support::sheet(), support::smallest_sheet()].map(|sheet| generate(&sheet, &plan))
        })
        .collect()
});

/// Returns sets for many seeds, of a full sheet and of the smallest.
fn many() -> impl Iterator<Item = &'static ProbeSet> {
    MANY.iter()
}

fn texts(probe: &Probe) -> Vec<&str> {
    let parts = probe.key.versions.iter().flat_map(|version| &version.parts);
    parts
        .flat_map(|part| part.evidence.iter().map(String::as_str))
        .collect()
}

fn reply(answer: Option<String>) -> String {
    format!(
        "Let me think.\n\nANSWER: {}",
        answer.unwrap_or_else(|| ABSTENTION.to_owned())
    )
}

#[test]
fn the_standard_plan_is_filled_with_every_kind() {
    let set = made(11);
    let mut counts: BTreeMap<Dimension, usize> = BTreeMap::new();
    for probe in &set.probes {
        *counts.entry(probe.dimension).or_default() += 1;
    }
    let expected = [
        (Dimension::Ar, 12),
        (Dimension::Ttl, 6),
        (Dimension::Lru, 8),
        (Dimension::Sf, 6),
    ];
    assert_eq!(counts, BTreeMap::from(expected), "{:?}", set.report);
    for kind in KINDS {
        let found = set.probes.iter().filter(|probe| probe.kind == kind).count();
        assert!(found >= 1, "no {kind:?}: {:?}", set.report);
        assert_eq!(set.report.made.get(&kind), Some(&found));
    }
}

#[test]
fn the_same_sheet_and_plan_give_the_same_bytes() {
    for seed in [0, 1, u64::MAX] {
        let (first, second) = (made(seed), made(seed));
        let bytes = |set: &ProbeSet| serde_json::to_string(set).expect("a set is JSON");
        assert_eq!(bytes(&first), bytes(&second));
        assert_eq!(first.hash(), second.hash());
    }
}

#[test]
fn another_seed_teaches_other_words_and_orders_other_choices() {
    let (one, two) = (made(1), made(2));
    assert_ne!(one.hash(), two.hash());
    let taught = |set: &ProbeSet| -> BTreeSet<String> {
        set.teaching
            .iter()
            .map(|lesson| lesson.text.clone())
            .collect()
    };
    let corrections_without_values = taught(&one).intersection(&taught(&two)).count();
    assert!(
        corrections_without_values <= 3,
        "retractions name no value and may be the same"
    );
    let choices = |seed| {
        let set = made(seed);
        let status = set
            .probes
            .into_iter()
            .filter(|probe| probe.kind == ProbeKind::FileStatus);
        status.map(|probe| probe.grader).collect::<Vec<_>>()
    };
    assert!((2..20).any(|seed| choices(1) != choices(seed)));
}

#[test]
fn the_hash_survives_storage_and_sees_every_change() {
    let set = made(3);
    let stored = serde_json::to_value(&set).expect("a set is JSON");
    let mut read: ProbeSet = serde_json::from_value(stored).expect("what was written can be read");
    assert_eq!(read, set);
    assert_eq!(read.hash(), set.hash());
    assert_eq!(set.hash().len(), 64);
    read.probes[0].question.push('!');
    assert_ne!(read.hash(), set.hash());
}

#[test]
fn labels_are_unique_and_numbered_within_their_dimension() {
    let set = made(5);
    let labels: BTreeSet<&str> = set
        .probes
        .iter()
        .map(|probe| probe.label.as_str())
        .collect();
    assert_eq!(labels.len(), set.probes.len());
    assert!(labels.contains("AR-01") && labels.contains("SF-06"));
}

#[test]
fn a_reader_with_all_evidence_is_right_everywhere() {
    for set in many() {
        for probe in &set.probes {
            let grade = grade(&probe.grader, &reply(probe.key.answer(|_| true)));
            assert_eq!(
                (grade.value, grade.verdict),
                (1.0, Verdict::Right),
                "{probe:#?}"
            );
        }
    }
}

#[test]
fn a_reader_with_first_versions_only_is_stale_in_selective_forgetting_and_right_elsewhere() {
    for set in many() {
        for probe in &set.probes {
            let first: Vec<Version> = probe.key.versions.iter().take(1).cloned().collect();
            let key = Key {
                combine: probe.key.combine,
                versions: first,
            };
            let grade = grade(&probe.grader, &reply(key.answer(|_| true)));
            match probe.dimension {
                Dimension::Sf => {
                    assert_eq!(
                        (grade.value, grade.verdict),
                        (0.0, Verdict::Stale),
                        "{probe:#?}"
                    );
                }
                Dimension::Ar | Dimension::Ttl | Dimension::Lru => {
                    assert_eq!(grade.verdict, Verdict::Right, "{probe:#?}");
                }
            }
        }
    }
}

#[test]
fn a_reader_without_evidence_abstains() {
    for set in many() {
        for probe in &set.probes {
            let answer = probe.key.answer(|_| false);
            assert_eq!(answer, None);
            let grade = grade(&probe.grader, &reply(answer));
            assert_eq!((grade.value, grade.verdict), (0.0, Verdict::Abstained));
        }
    }
}

#[test]
fn a_reader_with_the_question_only_cannot_use_the_key() {
    for set in many() {
        for probe in &set.probes {
            assert_eq!(
                probe.key.answer(|text| probe.question.contains(text)),
                None,
                "{probe:#?}"
            );
        }
    }
}

#[test]
fn distractors_are_several_and_never_get_full_marks() {
    for set in many() {
        for probe in &set.probes {
            assert!(probe.distractors.len() >= 2, "{probe:#?}");
            for distractor in &probe.distractors {
                let grade = grade(&probe.grader, &format!("ANSWER: {distractor}"));
                let wrong = matches!(grade.verdict, Verdict::Wrong | Verdict::Partial);
                assert!(wrong && grade.value < 1.0, "{distractor} in {probe:#?}");
            }
        }
    }
}

#[test]
fn no_question_holds_its_answer() {
    for set in many() {
        for probe in &set.probes {
            let (stem, answers): (&str, Vec<&String>) = match &probe.grader {
                Grader::Exact { accept } => (&probe.question, accept.iter().collect()),
                Grader::Set { items } => (&probe.question, items.iter().collect()),
                Grader::Choice { choices, right } => {
                    let stem = probe
                        .question
                        .split("\n\nA) ")
                        .next()
                        .expect("choices are listed");
                    (stem, vec![&choices[*right]])
                }
                Grader::Sequence { items } => {
                    let shown: Vec<String> = items.iter().map(|item| format!("- {item}")).collect();
                    assert!(!probe.question.contains(&shown.join("\n")), "{probe:#?}");
                    continue;
                }
                Grader::Current { current, .. } => {
                    assert!(!probe.question.contains("withdrawn"));
                    (&probe.question, current.iter().flatten().collect())
                }
            };
            for answer in answers {
                let whole = format!("`{answer}`");
                let found = stem.contains(&whole)
                    || stem.split([' ', '`', '?', ',']).any(|word| word == answer);
                assert!(!found, "{answer} in {probe:#?}");
            }
        }
    }
}

#[test]
fn choices_are_lettered_lines_and_different() {
    for set in many() {
        for probe in &set.probes {
            let Grader::Choice { choices, right } = &probe.grader else {
                continue;
            };
            assert!(choices.len() >= 3 && *right < choices.len());
            assert_eq!(choices.iter().collect::<BTreeSet<_>>().len(), choices.len());
            for (letter, choice) in ('A'..).zip(choices) {
                assert!(
                    probe
                        .question
                        .lines()
                        .any(|line| line == format!("{letter}) {choice}"))
                );
            }
            let by_letter = format!("ANSWER: {}", char::from(b'A' + *right as u8));
            assert_eq!(grade(&probe.grader, &by_letter).verdict, Verdict::Right);
        }
    }
}

#[test]
fn taught_evidence_is_word_for_word_in_its_own_lesson_and_nowhere_else() {
    for set in many() {
        let taught: Vec<&Probe> = set
            .probes
            .iter()
            .filter(|probe| probe.source.is_none())
            .collect();
        assert!(taught.len() >= 10, "{:?}", set.report);
        for probe in &taught {
            for text in texts(probe) {
                let lessons: Vec<_> = set
                    .teaching
                    .iter()
                    .filter(|lesson| lesson.text.contains(text))
                    .collect();
                assert_eq!(lessons.len(), 1, "{text}");
                assert_eq!(lessons[0].probes, std::slice::from_ref(&probe.label));
                assert!(
                    set.probes
                        .iter()
                        .all(|probe| !probe.question.contains(text)),
                    "{text}"
                );
                let others = set.probes.iter().filter(|other| other.label != probe.label);
                assert!(
                    others.flat_map(texts).all(|other| !other.contains(text)),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn facts_of_the_repository_are_proved_by_lines_of_the_sheet() {
    let sheet = support::sheet();
    let json = serde_json::to_string(&sheet).expect("a sheet is JSON");
    for probe in made(8).probes.iter().filter(|probe| probe.source.is_some()) {
        for text in texts(probe) {
            let quoted = serde_json::to_string(text).expect("a string is JSON");
            assert!(json.contains(&quoted), "{text}");
        }
    }
}

#[test]
fn every_fact_is_taught_at_least_one_turn_before_it_is_corrected() {
    let only_sf = ProbePlan::standard(4, &[Dimension::Sf]);
    let only_sf = generate(&support::sheet(), &only_sf);
    for set in MANY.iter().chain([&only_sf]) {
        let turn = |text: &str| {
            let lesson = set
                .teaching
                .iter()
                .find(|lesson| lesson.text.contains(text));
            lesson.expect("what proves a fact is taught").turn
        };
        let facts: Vec<&Probe> = set
            .probes
            .iter()
            .filter(|probe| probe.dimension == Dimension::Sf)
            .collect();
        let turns = |version: usize| {
            facts
                .iter()
                .map(move |probe| &probe.key.versions[version].parts[0].evidence[0])
        };
        let last_old = turns(0)
            .map(|text| turn(text))
            .max()
            .expect("there are facts");
        let first_new = turns(1)
            .map(|text| turn(text))
            .min()
            .expect("there are corrections");
        let between = last_old + 1..first_new;
        assert!(
            set.teaching
                .iter()
                .any(|lesson| between.contains(&lesson.turn))
        );
        assert!(set.teaching.is_sorted_by_key(|lesson| lesson.turn));
    }
}

#[test]
fn no_fact_is_both_corrected_and_retracted() {
    for set in many() {
        let questions: Vec<&str> = set
            .probes
            .iter()
            .filter(|probe| probe.dimension == Dimension::Sf)
            .map(|probe| probe.question.as_str())
            .collect();
        let different: BTreeSet<&str> = questions.iter().copied().collect();
        assert_eq!(different.len(), questions.len());
    }
}

#[test]
fn no_question_is_part_of_another() {
    for set in many() {
        for (at, probe) in set.probes.iter().enumerate() {
            let mut others = set
                .probes
                .iter()
                .enumerate()
                .filter(|&(other, _)| other != at);
            assert!(
                others.all(|(_, other)| !other.question.contains(&probe.question)),
                "{probe:#?}"
            );
        }
    }
}

/// Stored sets must not change. A change of the draws or questions raises
/// [`evaluation::INSTRUMENT_VERSION`] and updates the hash here.
#[test]
fn the_probes_of_a_seed_are_the_same_in_every_build() {
    assert_eq!(
        made(2026).hash(),
        "abf4f07526c7b94823026523adaaa640183ec27bbf3da2ead89fe0c3f4e7347f"
    );
}

#[test]
fn only_the_dimensions_of_the_plan_are_asked() {
    let plan = ProbePlan {
        seed: 1,
        at_most: BTreeMap::from([(Dimension::Lru, 3)]),
    };
    let set = generate(&support::sheet(), &plan);
    assert_eq!(set.probes.len(), 3);
    assert!(
        set.probes
            .iter()
            .all(|probe| probe.dimension == Dimension::Lru)
    );
    assert!(set.teaching.is_empty());
}

#[test]
fn a_narrowed_set_teaches_and_reports_only_its_own_probes() {
    let asked = BTreeSet::from([Dimension::Ar, Dimension::Sf]);
    for set in many() {
        let kinds = |set: &ProbeSet| {
            let mut kinds: BTreeMap<ProbeKind, usize> = BTreeMap::new();
            for probe in &set.probes {
                *kinds.entry(probe.kind).or_default() += 1;
            }
            kinds
        };
        let narrow = only_dimensions(set.clone(), &asked);
        assert!(narrow.probes.len() < set.probes.len() && !narrow.probes.is_empty());
        assert!(
            narrow
                .probes
                .iter()
                .all(|probe| asked.contains(&probe.dimension))
        );
        assert_eq!(narrow.report.made, kinds(&narrow));
        let labels: BTreeSet<&String> = narrow.probes.iter().map(|probe| &probe.label).collect();
        let taught: BTreeSet<&String> = narrow
            .teaching
            .iter()
            .flat_map(|lesson| &lesson.probes)
            .collect();
        assert!(taught.is_subset(&labels), "{taught:?}");
        assert!(!taught.is_empty() && narrow.teaching.len() < set.teaching.len());
        let dropped = narrow.report.dropped_by_kind.values();
        let by_kind: usize = dropped.flat_map(BTreeMap::values).sum();
        let dropped: usize = narrow.report.dropped.values().sum();
        assert_eq!(dropped, by_kind);
        let all = only_dimensions(set.clone(), &Dimension::ALL.into());
        assert_eq!(&all, set);
    }
}

#[test]
fn an_empty_change_gives_no_probes() {
    let plan = ProbePlan::standard(1, &Dimension::ALL);
    let set = generate(&FactSheet::default(), &plan);
    assert!(set.probes.is_empty() && set.teaching.is_empty());
}

#[test]
fn a_change_of_one_file_without_symbols_still_has_probes_of_three_dimensions() {
    let plan = ProbePlan::standard(1, &Dimension::ALL);
    let set = generate(&support::smallest_sheet(), &plan);
    let asked: BTreeSet<Dimension> = set.probes.iter().map(|probe| probe.dimension).collect();
    assert_eq!(
        asked,
        BTreeSet::from([Dimension::Ar, Dimension::Ttl, Dimension::Sf])
    );
}

#[test]
fn a_dimension_without_probes_is_reported_with_its_reason() {
    let plan = ProbePlan::standard(1, &Dimension::ALL);
    let set = generate(&support::smallest_sheet(), &plan);
    let without: Vec<(&str, &str)> = set
        .report
        .without
        .iter()
        .map(|(dimension, why)| (dimension.as_str(), why.as_str()))
        .collect();
    assert_eq!(
        without,
        [("LRU", "the diff shows nothing of what it asks about")]
    );
    // A single use of a symbol whose name has two meanings.
    let mut sheet = support::sheet();
    sheet.flows.clear();
    sheet.hunks.clear();
    sheet.uses.truncate(1);
    sheet.other_symbols.push("backoff_delay".to_owned());
    let set = generate(&sheet, &ProbePlan::standard(1, &[Dimension::Lru]));
    assert_eq!(
        set.report.without.get("LRU").map(String::as_str),
        Some("none of 2 candidates can be used; of 2: the name means several things")
    );
}

#[test]
fn a_rule_has_to_be_applied_to_a_case_that_its_lesson_does_not_tell() {
    for set in many() {
        let rules = set
            .probes
            .iter()
            .filter(|probe| probe.kind == ProbeKind::TaughtRule);
        for probe in rules {
            let lesson = set
                .teaching
                .iter()
                .find(|lesson| lesson.probes.contains(&probe.label));
            let lesson = &lesson.expect("a rule is taught").text;
            let says = |answer: &String| lesson.contains(answer.as_str());
            let answer = probe.key.answer(|_| true).expect("an answer");
            // Either the answer combines the lesson and the case, or the case decides between two.
            assert_eq!(
                says(&answer),
                probe.distractors.iter().any(says),
                "{probe:#?}"
            );
        }
    }
}

#[test]
fn labels_are_taught_by_two_examples_each() {
    for set in many() {
        let asked = set
            .probes
            .iter()
            .filter(|probe| probe.kind == ProbeKind::HunkLabel);
        for probe in asked {
            let lesson = set
                .teaching
                .iter()
                .find(|lesson| lesson.probes.contains(&probe.label));
            let lesson = &lesson.expect("a label is taught").text;
            let label = probe.key.answer(|_| true).expect("a label");
            let shown = format!("this hunk is called `{label}`:\n\n```diff\n@@ ");
            assert_eq!(lesson.matches(&shown).count(), 2, "{lesson}");
        }
    }
}

#[test]
fn a_flow_leads_on_into_the_file_that_defines_a_step() {
    let mut sheet = support::sheet();
    let steps = ["read_clock", "scale_by", "clamp_to"];
    sheet
        .flows
        .push(support::flow("backoff_delay", "src/retry.rs", &steps));
    let mut seen = 0;
    for seed in 0..10 {
        let set = generate(&sheet, &ProbePlan::standard(seed, &[Dimension::Lru]));
        let about = |probe: &&Probe| {
            probe.kind == ProbeKind::FlowOrder && probe.question.contains("`run_worker`")
        };
        let probe = set.probes.iter().find(about).expect("the flow is asked");
        assert_eq!(
            probe.key.answer(|_| true).as_deref(),
            Some(
                "drain_queue -> backoff_delay -> read_clock -> scale_by -> clamp_to -> close_store"
            )
        );
        assert!(
            probe
                .question
                .contains("`backoff_delay`, which another file defines")
        );
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn a_hunk_is_described_by_its_uses_and_not_by_its_definitions() {
    for seed in 0..10 {
        for probe in made(seed).probes {
            if probe.kind == ProbeKind::BehaviourHunk {
                let quoted: Vec<&str> = probe.question.split('`').skip(1).step_by(2).collect();
                let sheet = support::sheet();
                let mut defined = sheet.hunks.iter().flat_map(|hunk| &hunk.defines);
                assert!(!defined.any(|name| quoted.contains(&name.as_str())));
                let mut hunks = sheet.hunks.iter();
                let answer = probe.key.answer(|_| true).expect("a hunk");
                assert!(hunks.any(|hunk| {
                    let does = |name: &&str| hunk.does.iter().any(|(done, _)| done == name);
                    answer == format!("{} {}", hunk.file, hunk.header) && quoted.iter().all(does)
                }));
            }
        }
    }
}

#[test]
fn invented_names_are_among_the_wrong_answers_about_signatures() {
    let sheet = support::sheet();
    let json = serde_json::to_string(&sheet).expect("a sheet is JSON");
    let mut seen = 0;
    for seed in 0..10 {
        let set = made(seed);
        let asked = set
            .probes
            .iter()
            .filter(|probe| probe.kind == ProbeKind::SymbolSignature);
        for probe in asked {
            let words = |text: &String| -> Vec<String> {
                let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
                let words = text.split(|letter| !is_name(letter));
                words
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect()
            };
            let made_up = |text: &&String| words(text).iter().any(|word| !json.contains(word));
            seen += probe.distractors.iter().filter(made_up).count();
        }
    }
    assert!(seen > 0);
}

#[test]
fn an_ambiguous_name_is_not_asked_about_and_counted() {
    let mut sheet = support::sheet();
    sheet.symbols.push(support::function(
        "drain_queue",
        "web/api.ts",
        70,
        &["all"],
        "void",
    ));
    let set = generate(
        &sheet,
        &ProbePlan::standard(1, &[Dimension::Ar, Dimension::Lru]),
    );
    let about = |probe: &&Probe| {
        let kinds = [
            ProbeKind::SymbolFile,
            ProbeKind::SymbolSignature,
            ProbeKind::BehaviourHunk,
        ];
        kinds.contains(&probe.kind) && probe.question.contains("`drain_queue`")
    };
    assert_eq!(set.probes.iter().find(about), None);
    assert!(
        set.report
            .dropped
            .contains_key("the name means several things")
    );
}

#[test]
fn a_constant_of_which_the_question_shows_the_value_is_dropped() {
    let mut sheet = FactSheet::default();
    sheet.files.push(support::file(
        "lib/v7.c",
        domain::pull_request::FileStatus::Added,
    ));
    sheet
        .constants
        .push(support::constant("LIB", "LIB", "lib/v7.c", 1));
    for (at, value) in ["a", "b", "c"].iter().enumerate() {
        sheet.constants.push(support::constant(
            &format!("OTHER_{at}"),
            value,
            "lib/v7.c",
            2,
        ));
    }
    let set = generate(&sheet, &ProbePlan::standard(1, &[Dimension::Ar]));
    assert!(
        set.probes
            .iter()
            .all(|probe| !probe.question.contains("`LIB`"))
    );
    assert_eq!(
        set.report.dropped.get("the question holds its answer"),
        Some(&1)
    );
}
