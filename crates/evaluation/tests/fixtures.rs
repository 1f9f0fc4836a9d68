//! Twenty pull requests in six languages with five seeds each. All dimensions have questions, the
//! questions are correct, and they cannot be answered from the questions alone.

#[path = "fixtures/mod.rs"]
mod fixtures;

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::Dimension;
use evaluation::grading::grade;
use evaluation::probe::{Grader, Probe, ProbeKind};
use evaluation::probes::{Leak, failures, leaks, prove};

use crate::fixtures::guessing::{Desk, GUESSERS, OPEN};
use crate::fixtures::hunks::labels;
use crate::fixtures::{MADE, Made};

#[test]
fn every_fixture_gives_three_probes_of_each_dimension() {
    assert_eq!(MADE.len(), 100);
    for made in MADE.iter() {
        for dimension in Dimension::ALL {
            let of = |probe: &&Probe| probe.dimension == dimension;
            let count = made.set.probes.iter().filter(of).count();
            assert!(
                count >= 3,
                "{} {}: {count} of {dimension:?}, {:?}",
                made.name,
                made.seed,
                made.set.report
            );
        }
    }
}

#[test]
fn every_kind_is_asked_about_in_several_fixtures() {
    let mut fixtures: BTreeMap<ProbeKind, BTreeSet<&str>> = BTreeMap::new();
    for made in MADE.iter() {
        for probe in &made.set.probes {
            fixtures.entry(probe.kind).or_default().insert(made.name);
        }
    }
    assert_eq!(fixtures.len(), 14);
    for (kind, names) in fixtures {
        assert!(names.len() >= 10, "{kind:?} only in {names:?}");
    }
}

#[test]
fn nothing_that_was_proved_fails_when_it_is_proved_again() {
    for made in MADE.iter() {
        let again = prove(made.set.clone(), &made.pull_request);
        assert_eq!(again, made.set, "{} {}", made.name, made.seed);
    }
}

#[test]
fn no_probe_leaks_and_every_dropped_one_did() {
    let mut found = 0;
    for made in MADE.iter() {
        let title = made.pull_request.title.as_deref();
        let left = leaks(&made.set, title);
        // If two questions reveal each other, only the first is dropped.
        assert_eq!(left, [], "{} {}", made.name, made.seed);
        found += leaks(&made.generated, title).len();
    }
    assert!(
        found > 0,
        "nothing was ever dropped: the checker finds nothing"
    );
}

#[test]
fn no_generated_probe_is_untrue() {
    let untrue = [
        "its evidence leads to another answer",
        "the facts lead to another answer",
        "its source does not stand at the recorded commit",
        "its evidence is shown to no agent",
        "its kind belongs to another dimension",
        "it does not tell where its answer stands",
    ];
    for made in MADE.iter() {
        let failed = failures(&made.generated, &made.pull_request);
        let untrue = failed.iter().find(|(_, reason)| untrue.contains(reason));
        assert_eq!(untrue, None, "{} {}", made.name, made.seed);
    }
}

#[test]
fn a_new_hunk_has_the_one_label_that_its_lesson_gives_it() {
    let mut seen = 0;
    for made in MADE.iter() {
        for probe in &made.set.probes {
            if probe.kind != ProbeKind::HunkLabel {
                continue;
            }
            let lesson = made
                .set
                .teaching
                .iter()
                .find(|lesson| lesson.probes.contains(&probe.label))
                .expect("a label is taught");
            let fitting = labels(&lesson.text, &probe.question);
            assert_eq!(
                fitting,
                BTreeSet::from([probe.key.answer(|_| true).expect("a label")]),
                "{probe:#?}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 200);
}

/// For any seed: tasks often have the same one.
#[test]
fn the_right_choice_is_equally_often_at_every_position() {
    for seed in 0..5 {
        let mut places = [0_u32; 4];
        for made in MADE.iter().filter(|made| made.seed == seed) {
            let first = made
                .set
                .probes
                .iter()
                .find_map(|probe| match &probe.grader {
                    Grader::Choice { right, .. } if probe.kind == ProbeKind::FileStatus => {
                        Some(*right)
                    }
                    Grader::Choice { .. }
                    | Grader::Exact { .. }
                    | Grader::Set { .. }
                    | Grader::Sequence { .. }
                    | Grader::Current { .. } => None,
                });
            places[first.expect("a status is asked")] += 1;
        }
        // 20 questions in four places: more than 11 in one place happens in one of 400 seeds.
        assert!(
            places.iter().all(|&count| count <= 11),
            "{seed}: {places:?}"
        );
    }
}

#[test]
fn every_source_is_at_its_lines() {
    for made in MADE.iter() {
        for probe in &made.set.probes {
            let Some(source) = &probe.source else {
                continue;
            };
            let file = made
                .pull_request
                .files
                .iter()
                .find(|file| file.path == source.file)
                .expect("a changed file");
            let (Some(text), true) = (&file.head_text, source.commit == made.pull_request.head)
            else {
                continue;
            };
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            let (first, last) = (source.lines.0 as usize, source.lines.1 as usize);
            for wanted in &source.text {
                let header = [
                    "diff --git",
                    "@@",
                    "new file",
                    "index ",
                    "---",
                    "+++",
                    "rename",
                ]
                .iter()
                .any(|opening| wanted.starts_with(opening))
                    || wanted.starts_with("similarity");
                assert!(
                    header || lines[first - 1..last].contains(&wanted.as_str()),
                    "{wanted:?} of {probe:#?}"
                );
            }
        }
    }
}

/// Moves the first source that refers to a file by this many lines.
fn moved(made: &Made, by: u32) -> Option<&'static str> {
    let mut set = made.set.clone();
    let probe = set
        .probes
        .iter_mut()
        .find(|probe| probe.kind == ProbeKind::ConstantValue)?;
    let label = probe.label.clone();
    let source = probe.source.as_mut()?;
    source.lines = (source.lines.0 + by, source.lines.1 + by);
    failures(&set, &made.pull_request).get(&label).copied()
}

#[test]
fn a_source_at_other_lines_is_not_proved() {
    let reasons: Vec<&str> = MADE.iter().filter_map(|made| moved(made, 1)).collect();
    assert!(reasons.len() > 50);
    let expected = "its source does not stand at the recorded commit";
    assert!(reasons.iter().all(|reason| *reason == expected));
    assert!(MADE.iter().all(|made| moved(made, 0).is_none()));
}

#[test]
fn an_answer_that_the_facts_do_not_give_is_not_proved() {
    let mut tried = BTreeSet::new();
    for made in MADE.iter() {
        for at in 0..made.set.probes.len() {
            let mut set = made.set.clone();
            let probe = &mut set.probes[at];
            let parts = &mut probe.key.versions[0].parts;
            // Key and grader agree on another answer, so that only the facts show the mistake.
            match &mut probe.grader {
                Grader::Exact { accept } if probe.source.is_some() => {
                    *accept = vec!["zz9".to_owned()];
                    "zz9".clone_into(&mut parts[0].value);
                }
                Grader::Choice { choices, right } if probe.source.is_some() => {
                    *right = (*right + 1) % choices.len();
                    parts[0].value.clone_from(&choices[*right]);
                }
                Grader::Set { items } => {
                    "no/such.file".clone_into(&mut items[0]);
                    "no/such.file".clone_into(&mut parts[0].value);
                }
                Grader::Sequence { items } => {
                    items.swap(0, 1);
                    let first = parts[0].value.clone();
                    parts[0].value = std::mem::replace(&mut parts[1].value, first);
                }
                Grader::Exact { .. } | Grader::Choice { .. } | Grader::Current { .. } => continue,
            }
            let (label, kind) = (probe.label.clone(), probe.kind);
            let failed = failures(&set, &made.pull_request);
            assert_eq!(
                failed.get(&label),
                Some(&"the facts lead to another answer"),
                "{kind:?} {} {}",
                made.name,
                set.probes[at].question
            );
            tried.insert(kind);
        }
    }
    assert_eq!(tried.len(), 10, "{tried:?}");
}

#[test]
fn a_probe_asked_again_in_other_words_is_dropped() {
    for made in MADE.iter() {
        let mut set = made.set.clone();
        let mut twin = set.probes[0].clone();
        twin.label = "AR-99".to_owned();
        twin.question = twin.question.replacen("the", "THE", 1);
        set.probes.push(twin);
        let failed = failures(&set, &made.pull_request);
        assert_eq!(
            failed.get("AR-99"),
            Some(&"nearly the same is asked already")
        );
        assert_eq!(failed.len(), 1);
    }
}

/// The same question with its choices in another order and in other words, or as an open question.
#[test]
fn a_probe_asked_again_with_other_choices_is_dropped() {
    let mut tried = BTreeSet::new();
    for made in MADE.iter() {
        for probe in &made.set.probes {
            let Grader::Choice { choices, right } = &probe.grader else {
                continue;
            };
            if probe.kind == ProbeKind::BehaviourHunk {
                continue;
            }
            let mut twin = probe.clone();
            let count = choices.len();
            let turned: Vec<String> = (0..count)
                .map(|at| choices[(at + 1) % count].clone())
                .collect();
            let listed: Vec<String> = ('A'..)
                .zip(&turned)
                .map(|(letter, choice)| format!("{letter}) {choice}"))
                .collect();
            let stem = probe.question.split("\n\nA) ").next().expect("a stem");
            twin.question = format!("Now please tell: {stem}\n\n{}", listed.join("\n"));
            twin.grader = Grader::Choice {
                choices: turned,
                right: (right + count - 1) % count,
            };
            twin.label = format!("{}-99", probe.dimension.as_str());
            let label = twin.label.clone();
            let mut set = made.set.clone();
            // The teaching covers both.
            for lesson in &mut set.teaching {
                if lesson.probes.contains(&probe.label) {
                    lesson.probes.push(label.clone());
                }
            }
            set.probes.push(twin);
            let failed = failures(&set, &made.pull_request);
            assert_eq!(
                failed.get(&label),
                Some(&"nearly the same is asked already"),
                "{probe:#?}"
            );
            tried.insert(probe.kind);
            break;
        }
    }
    assert!(!tried.is_empty());
}

/// Changes the first suitable probe of every fixture, and expects that it fails for this reason.
fn not_proved(reason: &str, change: impl Fn(&mut Probe, &Made) -> Option<()>) {
    let mut tried = 0;
    for made in MADE.iter() {
        let mut set = made.set.clone();
        let Some(label) = set
            .probes
            .iter_mut()
            .find_map(|probe| change(probe, made).map(|()| probe.label.clone()))
        else {
            continue;
        };
        let failed = failures(&set, &made.pull_request);
        assert_eq!(failed.get(&label), Some(&reason), "{} {label}", made.name);
        tried += 1;
    }
    assert!(tried >= 5, "{tried}");
}

#[test]
fn facts_of_the_repository_are_not_proved_without_their_place() {
    not_proved("it does not tell where its answer stands", |probe, _| {
        probe.source.take().map(|_| ())
    });
}

#[test]
fn a_kind_of_another_dimension_is_not_proved() {
    not_proved("its kind belongs to another dimension", |probe, _| {
        probe.dimension = Dimension::Sf;
        Some(())
    });
}

#[test]
fn an_incomplete_set_is_not_proved() {
    not_proved("the facts lead to another answer", |probe, _| {
        let Grader::Set { items } = &mut probe.grader else {
            return None;
        };
        if probe.kind != ProbeKind::ChangedFiles || items.len() < 2 {
            return None;
        }
        items.pop();
        probe.key.versions[0].parts.pop();
        Some(())
    });
}

#[test]
fn parameters_are_no_return_type() {
    not_proved("the facts lead to another answer", |probe, made| {
        let name = probe.question.split('`').nth(1)?.to_owned();
        if probe.kind != ProbeKind::SymbolSignature {
            return None;
        }
        let symbol = made
            .sheet
            .symbols
            .iter()
            .find(|symbol| symbol.name == name)?;
        let names = symbol.parameters.as_ref().filter(|names| !names.is_empty());
        let (question, answer) = if probe.question.contains("return type") {
            (probe.question.clone(), names?.join(", "))
        } else {
            let asks = "What is the return type of the function";
            (
                format!("{asks} `{name}` after the change?"),
                names?.join(", "),
            )
        };
        probe.question = question;
        probe.grader = Grader::Exact {
            accept: vec![answer.clone()],
        };
        probe.key.versions[0].parts[0].value = answer;
        Some(())
    });
}

#[test]
fn a_choice_with_two_right_answers_is_not_proved() {
    not_proved("the facts lead to another answer", |probe, made| {
        if probe.kind != ProbeKind::ChangeTogether {
            return None;
        }
        let name = probe.question.split('`').nth(1)?;
        let fact = made.sheet.uses.iter().find(|fact| fact.symbol == name)?;
        let Grader::Choice { choices, right } = &mut probe.grader else {
            return None;
        };
        let wrong = (*right + 1) % choices.len();
        choices[wrong].clone_from(&fact.defined_in);
        probe.distractors[0].clone_from(&fact.defined_in);
        Some(())
    });
}

#[test]
fn a_grader_that_takes_more_than_the_fact_is_not_proved() {
    not_proved("the facts lead to another answer", |probe, _| {
        let Grader::Exact { accept } = &mut probe.grader else {
            return None;
        };
        probe.source.as_ref()?;
        accept.push("anything".to_owned());
        Some(())
    });
}

#[test]
fn a_probe_with_a_single_wrong_answer_is_not_proved() {
    not_proved("too few plausible wrong answers", |probe, _| {
        probe.distractors.truncate(1);
        Some(())
    });
}

#[test]
fn choices_of_paths_are_mixed_with_such_as_the_change_does_not_touch() {
    let (mut unchanged, mut invented, mut touched) = (0, 0, 0);
    for made in MADE.iter() {
        let changed: BTreeSet<&str> = made.sheet.files.iter().map(|file| &*file.path).collect();
        for probe in &made.set.probes {
            let paths = [ProbeKind::SymbolFile, ProbeKind::ChangeTogether];
            let Grader::Choice { choices, .. } = &probe.grader else {
                continue;
            };
            if !paths.contains(&probe.kind) {
                continue;
            }
            let of_change = |path: &&String| changed.contains(path.as_str());
            let touches = choices.iter().filter(of_change).count();
            assert!(touches < choices.len(), "{probe:#?}");
            touched += touches;
            for path in choices.iter().filter(|path| !of_change(path)) {
                if made.sheet.other_paths.contains(path) {
                    unchanged += 1;
                } else {
                    invented += 1;
                }
            }
        }
    }
    assert!(
        unchanged > 50 && invented > 50 && unchanged + invented > touched / 2,
        "{touched} changed, {unchanged} unchanged, {invented} invented"
    );
}

#[test]
fn a_set_that_the_choices_of_other_questions_name_is_a_leak() {
    let mut tried = 0;
    for made in MADE.iter() {
        let Some(asked) = made.set.probes.iter().find(|probe| {
            let several = matches!(&probe.grader, Grader::Set { items } if items.len() > 2);
            probe.kind == ProbeKind::ChangedFiles && several
        }) else {
            continue;
        };
        let Grader::Set { items } = &asked.grader else {
            continue;
        };
        let mut teller = asked.clone();
        teller.label = "LRU-98".to_owned();
        teller.question = "Which of these?".to_owned();
        teller.grader = Grader::Choice {
            choices: items.clone(),
            right: 0,
        };
        let mut set = made.set.clone();
        set.probes = vec![asked.clone(), teller];
        let reported = leaks(&set, None);
        assert!(
            reported.contains(&(asked.label.clone(), Leak::OtherQuestions)),
            "{reported:?}"
        );
        tried += 1;
    }
    assert!(tried > 10);
}

#[test]
fn a_title_that_sounds_like_one_choice_is_a_leak() {
    let mut reported = 0;
    for made in MADE.iter() {
        for probe in &made.set.probes {
            let Grader::Choice { choices, right } = &probe.grader else {
                continue;
            };
            if probe.kind != ProbeKind::SymbolFile {
                continue;
            }
            let spoken = choices[*right].replace(['/', '.', '_', '-'], " ");
            let title = format!("Rework the {spoken}");
            let found = leaks(&made.set, Some(&title));
            reported += usize::from(found.contains(&(probe.label.clone(), Leak::TitleSound)));
        }
    }
    assert!(reported > 20, "{reported}");
}

#[test]
fn the_report_counts_every_probe_and_every_reason() {
    for made in MADE.iter() {
        let report = &made.set.report;
        assert_eq!(report.made.values().sum::<usize>(), made.set.probes.len());
        let mut dropped: BTreeMap<&str, usize> = BTreeMap::new();
        for (reason, count) in report.dropped_by_kind.values().flatten() {
            *dropped.entry(reason).or_default() += count;
        }
        let all = report
            .dropped
            .iter()
            .map(|(reason, count)| (reason.as_str(), *count));
        assert_eq!(dropped, all.collect(), "{}", made.name);
        for (kind, count) in &report.made {
            assert!(report.candidates[kind] >= *count);
        }
        assert_eq!(report.facts["files"], made.sheet.files.len());
        assert_eq!(report.facts["symbols"], made.sheet.symbols.len());
    }
}

#[test]
fn at_most_a_third_of_the_taught_facts_is_withdrawn() {
    for made in MADE.iter() {
        let of = |kind| made.set.report.made.get(&kind).copied().unwrap_or_default();
        let (corrected, retracted) = (of(ProbeKind::CorrectedFact), of(ProbeKind::RetractedFact));
        assert!(
            retracted >= 1 && 3 * retracted <= corrected + retracted,
            "{}",
            made.name
        );
    }
}

#[test]
fn no_status_and_no_value_is_right_twice() {
    for made in MADE.iter() {
        let mut seen = BTreeSet::new();
        for probe in &made.set.probes {
            let few = [
                ProbeKind::FileStatus,
                ProbeKind::SymbolSignature,
                ProbeKind::ConstantValue,
            ];
            if few.contains(&probe.kind) {
                assert!(
                    seen.insert((probe.kind, probe.key.answer(|_| true))),
                    "{probe:#?}"
                );
            }
        }
    }
}

/// Returns the chance of a guesser that excludes no answer, or only those that a question
/// inevitably excludes.
fn chance(probe: &Probe, made: &Made) -> f64 {
    let one_of = |count: usize| 1.0 / count as f64;
    match (&probe.grader, probe.kind) {
        // Not every status occurs in every change.
        (Grader::Choice { .. }, ProbeKind::FileStatus) => {
            let statuses: Vec<_> = made.sheet.files.iter().map(|file| file.status).collect();
            one_of(
                statuses
                    .iter()
                    .collect::<std::collections::HashSet<_>>()
                    .len(),
            )
        }
        // One of the paths may be of an unchanged file.
        (Grader::Choice { choices, .. }, ProbeKind::SymbolFile | ProbeKind::ChangeTogether) => {
            one_of(choices.len() - 1)
        }
        (Grader::Choice { choices, .. }, _) => one_of(choices.len()),
        // By the grading of order: half of all pairs of a random order are right.
        (Grader::Sequence { .. }, _) => 0.5,
        (Grader::Current { .. }, _) => one_of(3),
        (Grader::Set { items }, _) => of_all(items, probe, made),
        (Grader::Exact { .. }, ProbeKind::SymbolSignature | ProbeKind::SymbolFile) => {
            one_of(probe.distractors.len() + 1)
        }
        (Grader::Exact { .. }, _) => 0.0,
    }
}

/// Returns the grade for naming all paths of the repository that the question can mean, without
/// knowing the change. Naming all is worth the most (F1 of `n` out of `all`).
fn of_all(items: &[String], probe: &Probe, made: &Made) -> f64 {
    let own: Vec<&str> = probe.question.split('`').skip(1).step_by(2).collect();
    let fits = |path: &&String| {
        let ending = own.iter().find(|text| text.starts_with('.'));
        let folder = own.iter().find(|text| text.ends_with('/'));
        let within = |folder: &&str| {
            path.strip_prefix(*folder)
                .is_some_and(|rest| !rest.contains('/'))
        };
        ending.is_none_or(|ending| path.ends_with(ending)) && folder.is_none_or(within)
    };
    let changed = made.sheet.files.iter().map(|file| &file.path);
    let all = changed.chain(&made.sheet.other_paths).filter(fits).count();
    let (n, all) = (items.len() as f64, all as f64);
    2.0 * n / (n + all)
}

#[test]
fn a_reader_with_the_questions_and_the_title_only_earns_no_more_than_chance() {
    // Guesser and kind → its grades, those of chance, number of questions.
    let mut earned: BTreeMap<(&str, ProbeKind), (f64, f64, f64)> = BTreeMap::new();
    let mut in_all: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
    for made in MADE.iter() {
        for probe in &made.set.probes {
            let others = made
                .set
                .probes
                .iter()
                .filter(|other| other.label != probe.label);
            let desk = Desk {
                title: made
                    .pull_request
                    .title
                    .as_deref()
                    .expect("fixtures have titles"),
                others: others.collect(),
            };
            for (name, guesser) in GUESSERS.iter().chain(&OPEN) {
                let Some(said) = guesser(probe, &desk) else {
                    continue;
                };
                let got = grade(&probe.grader, &format!("ANSWER: {said}")).value;
                let chance = chance(probe, made);
                for sums in [
                    earned.entry((name, probe.kind)).or_default(),
                    in_all.entry(name).or_default(),
                ] {
                    *sums = (sums.0 + got, sums.1 + chance, sums.2 + 1.0);
                }
            }
        }
    }
    // Three standard errors of a proportion, because there are some 150 comparisons.
    let over = |(got, chance, n): (f64, f64, f64)| {
        let (got, chance) = (got / n, chance / n);
        got > chance + 3.0 * (chance * (1.0 - chance) / n).sqrt() + 1e-9
    };
    let retractions = ("always withdrawn", ProbeKind::RetractedFact);
    let lucky: Vec<_> = earned
        .iter()
        // Right by construction, and weighed against the wrong corrections below.
        .filter(|(which, _)| **which != retractions)
        .filter(|(_, sums)| over(**sums))
        .collect();
    assert!(lucky.is_empty(), "{lucky:#?}");
    let lucky: Vec<_> = in_all.iter().filter(|(_, sums)| over(**sums)).collect();
    assert!(lucky.is_empty(), "{lucky:#?}");
    assert_eq!(
        in_all.len(),
        GUESSERS.len() + OPEN.len(),
        "every guesser guessed"
    );
}

#[test]
fn a_leak_is_reported_with_its_place() {
    let made = &MADE[0];
    let find = |kind| {
        let probe = made.set.probes.iter().find(|probe| probe.kind == kind);
        probe.expect("the first fixture has every kind").clone()
    };
    let constant = find(ProbeKind::ConstantValue);
    let Grader::Exact { accept } = &constant.grader else {
        panic!("constants are asked openly");
    };
    let one = |mut set: evaluation::probe::ProbeSet, title: Option<&str>| {
        set.probes.sort_by(|one, other| one.label.cmp(&other.label));
        leaks(&set, title)
            .into_iter()
            .find(|(label, _)| *label == constant.label)
    };
    let title = format!("Now it is {}", accept[0]);
    let reported = one(made.set.clone(), Some(&title)).map(|(_, leak)| leak);
    assert_eq!(reported.is_some(), accept[0].len() >= 3);

    let mut set = made.set.clone();
    let name = constant
        .question
        .split('`')
        .nth(1)
        .expect("a name")
        .to_owned();
    let mut teller = find(ProbeKind::CoveringTest);
    teller.label = "AR-98".to_owned();
    teller.question = format!("Why is `{name}` {}?", accept[0]);
    set.probes.push(teller);
    let reported = one(set, None).map(|(_, leak)| leak);
    assert_eq!(reported, Some(Leak::OtherQuestion("AR-98".to_owned())));

    let mut set = made.set.clone();
    for probe in &mut set.probes {
        if probe.label == constant.label {
            probe.question = format!("Is `{name}` {}?", accept[0]);
        }
    }
    assert_eq!(
        one(set, None).map(|(_, leak)| leak),
        Some(Leak::OwnQuestion)
    );
}
