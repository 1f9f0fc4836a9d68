//! The leaderboard of a task.

use std::collections::BTreeMap;

use evaluation::leaderboard::{RunResult, leaderboard};
use evaluation::probe::Dimension;
use evaluation::scoring::{DimensionScore, RunScore};

/// A run with the same post-break score and retention in two dimensions.
fn run(agent: &str, trial: u32, post: f64, retention: Option<f64>) -> RunResult {
    let score = DimensionScore {
        n: 4,
        post: Some(post),
        retention,
        ..DimensionScore::default()
    };
    RunResult {
        agent: agent.to_owned(),
        trial,
        cluster: trial.to_string(),
        counts: true,
        failure: None,
        manifest: BTreeMap::new(),
        score: RunScore {
            dimensions: BTreeMap::from([(Dimension::Ar, score), (Dimension::Sf, score)]),
            overall_score: Some(post),
            passed: Some(post >= 0.5),
        },
        duration_ms: Some(1000 * u64::from(trial)),
    }
}

#[test]
fn agents_stand_in_order_of_score_then_retention_then_name() {
    let runs = [
        run("d", 1, 0.2, Some(0.1)),
        run("c", 1, 0.8, Some(0.4)),
        run("b", 1, 0.8, Some(0.6)),
        run("e", 1, 0.8, Some(0.4)),
        run("f", 1, 0.8, None),
        run("a", 1, 0.9, None),
    ];
    let rows = leaderboard(&runs, 0.5, 1);
    let order: Vec<(usize, &str)> = rows
        .iter()
        .map(|row| (row.rank, row.agent.as_str()))
        .collect();
    assert_eq!(
        order,
        [(1, "a"), (2, "b"), (2, "c"), (2, "e"), (2, "f"), (6, "d")]
    );
}

#[test]
fn runs_that_do_not_count_change_nothing() {
    let counting = [run("a", 1, 0.5, Some(0.5)), run("b", 1, 0.4, Some(0.4))];
    let mut all = counting.to_vec();
    all.push(RunResult {
        counts: false,
        ..run("a", 2, 1.0, Some(1.0))
    });
    all.push(RunResult {
        counts: false,
        ..run("void", 1, 1.0, Some(1.0))
    });
    assert_eq!(leaderboard(&all, 0.5, 1), leaderboard(&counting, 0.5, 1));
}

#[test]
fn a_single_trial_has_a_mean_and_no_interval() {
    let rows = leaderboard(&[run("a", 1, 0.5, Some(0.25))], 0.5, 1);
    assert_eq!(rows[0].retention.mean, Some(0.25));
    assert_eq!(
        (rows[0].retention.low, rows[0].retention.high),
        (None, None)
    );
}

#[test]
fn several_trials_have_an_interval_over_runs() {
    let runs: Vec<RunResult> = (0..10)
        .map(|trial| run("a", trial, 0.5, Some(f64::from(trial % 2))))
        .collect();
    let row = &leaderboard(&runs, 0.5, 7)[0];
    assert_eq!(row.trials, 10);
    assert_eq!(row.retention.mean, Some(0.5));
    // Ten runs of 0 or 1: quantiles of the binomial distribution (10, 0.5), as shares.
    assert_eq!(
        (row.retention.low, row.retention.high),
        (Some(0.1), Some(0.9))
    );
}

#[test]
fn retention_that_is_undefined_everywhere_stays_undefined() {
    let rows = leaderboard(
        &[run("guesser", 1, 0.1, None), run("guesser", 2, 0.1, None)],
        0.5,
        1,
    );
    let estimate = rows[0].retention;
    assert_eq!(
        (estimate.mean, estimate.low, estimate.high),
        (None, None, None)
    );
    assert!(!rows[0].passed);
}

#[test]
fn means_are_over_the_runs_that_count() {
    let rows = leaderboard(&[run("a", 1, 0.25, None), run("a", 3, 0.75, None)], 0.5, 1);
    assert_eq!(rows[0].overall_score, Some(0.5));
    assert_eq!(
        rows[0].scores,
        BTreeMap::from([(Dimension::Ar, Some(0.5)), (Dimension::Sf, Some(0.5))])
    );
    assert!(rows[0].passed);
    assert_eq!(rows[0].duration_ms, Some(2000));
}

#[test]
fn the_order_of_the_runs_does_not_matter() {
    let mut runs: Vec<RunResult> = (1..8)
        .flat_map(|trial| {
            let share = 1.0 / f64::from(trial + 2);
            [
                run("a", trial, share, Some(share)),
                run("b", trial, 1.0 - share, None),
            ]
        })
        .collect();
    let there = leaderboard(&runs, 0.5, 3);
    runs.reverse();
    assert_eq!(leaderboard(&runs, 0.5, 3), there);
}

#[test]
fn nothing_gives_an_empty_board() {
    assert_eq!(leaderboard(&[], 0.5, 1), []);
}
