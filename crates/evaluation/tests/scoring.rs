//! The figures of a run.

use domain::vocabulary::{Arm, Dimension, Verdict};
use evaluation::scoring::{Graded, RunScore, score_run};

/// Returns answers of one dimension and arm, in order of their probes.
fn answers(dimension: Dimension, arm: Arm, verdicts: &[Verdict]) -> Vec<Graded> {
    let grade = |verdict| match verdict {
        Verdict::Right => 1.0,
        Verdict::Partial => 0.5,
        Verdict::Wrong | Verdict::Stale | Verdict::Abstained | Verdict::Unreadable => 0.0,
    };
    let numbered = verdicts.iter().enumerate();
    numbered
        .map(|(at, &verdict)| Graded {
            probe: format!("{}-{at:02}", dimension.as_str()),
            dimension,
            arm,
            grade: grade(verdict),
            verdict,
        })
        .collect()
}

/// Returns the score of a run of one dimension.
fn scored(cold: &[Verdict], baseline: &[Verdict], post: &[Verdict]) -> RunScore {
    let mut all = answers(Dimension::Sf, Arm::Cold, cold);
    all.extend(answers(Dimension::Sf, Arm::Baseline, baseline));
    all.extend(answers(Dimension::Sf, Arm::Post, post));
    score_run(&[Dimension::Sf], &all, 0.5, true)
}

use Verdict::{Abstained, Partial, Right, Stale, Unreadable, Wrong};

#[test]
fn the_figures_follow_the_formulas() {
    let run = scored(
        &[Wrong, Wrong, Wrong, Right],
        &[Right, Right, Right, Right],
        &[Right, Partial, Stale, Right],
    );
    let score = run.dimensions[&Dimension::Sf];
    assert_eq!(score.n, 4);
    assert_eq!(
        (score.cold, score.baseline, score.post),
        (Some(0.25), Some(1.0), Some(0.625))
    );
    assert_eq!(score.retention, Some(0.5));
    assert_eq!(score.item_retention, Some(0.5));
    assert_eq!(score.stale_rate, Some(0.25));
    assert_eq!(score.abstained_rate, Some(0.0));
    assert_eq!(score.wrong_rate, Some(0.0));
    assert_eq!((run.overall_score, run.passed), (Some(0.625), Some(true)));
}

#[test]
fn every_verdict_is_counted_in_its_own_rate() {
    let post = [Wrong, Wrong, Stale, Abstained, Unreadable];
    let run = scored(&[Wrong; 5], &[Right; 5], &post);
    let score = run.dimensions[&Dimension::Sf];
    assert_eq!(score.wrong_rate, Some(0.4));
    assert_eq!(score.stale_rate, Some(0.2));
    assert_eq!(score.abstained_rate, Some(0.2));
    assert_eq!(score.unreadable_rate, Some(0.2));
}

#[test]
fn the_rates_and_the_right_answers_are_all_answers() {
    let post = [
        Right, Right, Partial, Wrong, Stale, Stale, Abstained, Unreadable,
    ];
    let score = scored(&[Wrong; 8], &[Right; 8], &post).dimensions[&Dimension::Sf];
    assert_eq!(score.partial_rate, Some(0.125));
    let rates = [
        score.partial_rate,
        score.wrong_rate,
        score.stale_rate,
        score.abstained_rate,
        score.unreadable_rate,
    ];
    let missed: f64 = rates.into_iter().flatten().sum();
    assert!((missed + 2.0 / 8.0 - 1.0).abs() < 1e-12, "{score:?}");
}

#[test]
fn unknown_facts_have_no_retention() {
    let run = scored(&[Right, Wrong], &[Right, Wrong], &[Wrong, Wrong]);
    assert_eq!(run.dimensions[&Dimension::Sf].retention, None);
    let run = scored(&[Wrong, Wrong], &[Wrong, Wrong], &[Wrong, Wrong]);
    let score = run.dimensions[&Dimension::Sf];
    assert_eq!((score.retention, score.item_retention), (None, None));
    assert_eq!((score.post, run.passed), (Some(0.0), Some(false)));
}

#[test]
fn a_tenth_is_enough_to_have_known_something() {
    let mut cold = vec![Right; 5];
    cold.extend([Wrong; 5]);
    let mut baseline = vec![Right; 6];
    baseline.extend([Wrong; 4]);
    let run = scored(&cold, &baseline, &baseline);
    let retention = run.dimensions[&Dimension::Sf]
        .retention
        .expect("0.6 - 0.5 is a tenth");
    assert!((retention - 1.0).abs() < 1e-9);
}

#[test]
fn retention_is_clipped() {
    let low = scored(&[Right, Wrong], &[Right, Right], &[Wrong, Wrong]);
    assert_eq!(low.dimensions[&Dimension::Sf].retention, Some(0.0));
    let high = scored(&[Wrong; 4], &[Right, Wrong, Wrong, Wrong], &[Right; 4]);
    assert_eq!(high.dimensions[&Dimension::Sf].retention, Some(1.25));
}

#[test]
fn without_a_break_there_is_no_post_break_figure() {
    let mut all = answers(Dimension::Ar, Arm::Baseline, &[Right]);
    all.extend(answers(Dimension::Ar, Arm::Cold, &[Wrong]));
    all.extend(answers(Dimension::Ar, Arm::Post, &[Right]));
    let run = score_run(&[Dimension::Ar], &all, 0.5, false);
    let score = run.dimensions[&Dimension::Ar];
    assert_eq!((score.cold, score.baseline), (Some(0.0), Some(1.0)));
    assert_eq!(
        (score.post, score.retention, score.item_retention),
        (None, None, None)
    );
    assert_eq!(
        (score.abstained_rate, score.wrong_rate, score.stale_rate),
        (None, None, None)
    );
    assert_eq!((run.overall_score, run.passed), (None, None));
}

#[test]
fn a_missing_arm_leaves_its_figures_undefined() {
    let run = scored(&[], &[Right, Right], &[Right, Wrong]);
    let score = run.dimensions[&Dimension::Sf];
    assert_eq!((score.cold, score.retention), (None, None));
    assert_eq!(
        (score.baseline, score.item_retention),
        (Some(1.0), Some(0.5))
    );
}

#[test]
fn only_selective_forgetting_has_a_stale_rate() {
    let all = answers(Dimension::Lru, Arm::Post, &[Right]);
    let run = score_run(&[Dimension::Lru], &all, 0.5, true);
    assert_eq!(run.dimensions[&Dimension::Lru].stale_rate, None);
}

#[test]
fn three_of_four_dimensions_are_enough_to_pass_and_two_are_not() {
    let run = |right: &[Dimension]| {
        let all: Vec<Graded> = Dimension::ALL
            .into_iter()
            .flat_map(|dimension| {
                let verdict = if right.contains(&dimension) {
                    Right
                } else {
                    Wrong
                };
                answers(dimension, Arm::Post, &[verdict])
            })
            .collect();
        score_run(&Dimension::ALL, &all, 0.5, true)
    };
    let three = run(&[Dimension::Ar, Dimension::Ttl, Dimension::Lru]);
    assert_eq!(
        (three.overall_score, three.passed),
        (Some(0.75), Some(true))
    );
    let two = run(&[Dimension::Ar, Dimension::Ttl]);
    assert_eq!((two.overall_score, two.passed), (Some(0.5), Some(false)));
}

#[test]
fn a_dimension_without_probes_is_shown_and_neither_averaged_nor_to_be_passed() {
    let all = answers(Dimension::Ar, Arm::Post, &[Right, Wrong]);
    let run = score_run(&[Dimension::Ar, Dimension::Lru], &all, 0.5, true);
    assert_eq!(run.dimensions[&Dimension::Lru].n, 0);
    assert_eq!(run.dimensions[&Dimension::Lru].post, None);
    assert_eq!(run.overall_score, Some(0.5));
    assert_eq!(
        run.passed,
        Some(true),
        "the pull request has no probe of the other, which says nothing of the agent"
    );
    let none = score_run(&[Dimension::Lru], &all, 0.5, true);
    assert_eq!((none.overall_score, none.passed), (None, None));
}

#[test]
fn the_order_of_the_answers_does_not_matter() {
    let mut all = Vec::new();
    for (at, arm) in [Arm::Cold, Arm::Baseline, Arm::Post]
        .into_iter()
        .enumerate()
    {
        let mut graded = answers(Dimension::Ar, arm, &[Partial; 7]);
        for (number, answer) in graded.iter_mut().enumerate() {
            answer.grade = (0.1 + 0.3 * at as f64) / (1.0 + number as f64);
        }
        all.extend(graded);
    }
    let there = score_run(&[Dimension::Ar], &all, 0.5, true);
    all.reverse();
    assert_eq!(score_run(&[Dimension::Ar], &all, 0.5, true), there);
}
