//! The leaderboard of a task.

use std::collections::BTreeMap;

use domain::vocabulary::Dimension;
use evaluation::leaderboard::{Board, Outcome, RunResult, leaderboard};
use evaluation::scoring::{DimensionScore, RunScore};
use evaluation::statistics::Unit;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// Returns a run that ended without a measurement.
fn failed(agent: &str, trial: u32, cause: &str) -> RunResult {
    RunResult {
        outcome: Outcome::Failed {
            cause: cause.to_owned(),
        },
        score: RunScore {
            dimensions: BTreeMap::new(),
            overall_score: None,
            passed: None,
        },
        ..run(agent, trial, 0.0, None)
    }
}

/// Returns a run with the same post-break score and retention in two dimensions.
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
        pull_request: "1".to_owned(),
        session: trial.to_string(),
        outcome: Outcome::Measured,
        recall: None,
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
    let rows = leaderboard(&runs, 0.5, 1).ranked;
    let order: Vec<(usize, &str)> = rows
        .iter()
        .map(|row| (row.rank.unwrap_or_default(), row.agent.as_str()))
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
    let why = "a tool was used where only memory was allowed".to_owned();
    let void = |run| RunResult {
        outcome: Outcome::Void { why: why.clone() },
        ..run
    };
    all.push(void(run("a", 2, 1.0, Some(1.0))));
    all.push(void(run("void", 1, 1.0, Some(1.0))));
    all.push(RunResult {
        outcome: Outcome::Unfinished,
        ..run("new", 1, 1.0, None)
    });
    let mut board = leaderboard(&all, 0.5, 1);
    // It is reported beside the measurements only.
    let reported: BTreeMap<String, usize> = std::mem::take(&mut board.ranked[0].void);
    assert_eq!(reported, BTreeMap::from([(why.clone(), 1)]));
    assert_eq!(board.ranked, leaderboard(&counting, 0.5, 1).ranked);
    let unranked: Vec<(&str, Option<&str>)> = board
        .unranked
        .iter()
        .map(|row| (row.agent.as_str(), row.why_unranked.as_deref()))
        .collect();
    let reported = format!("no run is a measurement (1: {why})");
    assert_eq!(unranked, [("void", Some(reported.as_str()))]);
}

/// One run with full marks and nine crashes must not be first place with n = 1.
#[test]
fn an_agent_that_fails_more_than_half_of_its_attempts_is_not_ranked() {
    let mut runs = vec![run("a", 1, 1.0, None)];
    runs.extend((2..=10).map(|trial| failed("a", trial, "agent")));
    runs.extend((1..=4).map(|trial| run("b", trial, 0.25, None)));
    runs.extend((5..=8).map(|trial| failed("b", trial, "agent")));
    let board = leaderboard(&runs, 0.5, 1);
    assert_eq!(board.ranked.len(), 1);
    let ranked = &board.ranked[0];
    assert_eq!((ranked.agent.as_str(), ranked.attempts), ("b", 8));
    // Wilson's interval of four in eight: 0.2152 to 0.7848 (scipy 1.17.1).
    let rate = ranked.failure_rate;
    assert_eq!(rate.mean, Some(0.5));
    assert!((rate.low.expect("eight") - 0.2152).abs() < 5e-5, "{rate:?}");
    assert!(
        (rate.high.expect("eight") - 0.7848).abs() < 5e-5,
        "{rate:?}"
    );
    // A failure is not a score of 0.
    assert_eq!(ranked.overall_score, Some(0.25));
    let row = &board.unranked[0];
    assert_eq!((row.agent.as_str(), row.rank), ("a", None));
    assert_eq!((row.trials, row.attempts), (1, 10));
    assert_eq!(row.failures, BTreeMap::from([("agent".to_owned(), 9)]));
    assert_eq!(
        row.why_unranked.as_deref(),
        Some("fails too often to be ranked: 9 of 10 attempts failed")
    );
}

#[test]
fn an_agent_that_always_crashes_has_a_row_and_failures_of_others_are_no_attempts() {
    let runs = [
        failed("crash", 1, "agent"),
        failed("crash", 2, "agent"),
        failed("crash", 3, "provider"),
        run("a", 1, 0.5, None),
        failed("a", 2, "provider"),
        failed("a", 3, "harness"),
        failed("a", 4, "cancelled"),
    ];
    let board = leaderboard(&runs, 0.5, 1);
    let ranked = &board.ranked[0];
    assert_eq!((ranked.agent.as_str(), ranked.attempts), ("a", 1));
    assert_eq!(ranked.failure_rate.mean, Some(0.0));
    assert_eq!(ranked.failures.values().sum::<usize>(), 3);
    let row = &board.unranked[0];
    assert_eq!((row.attempts, row.failure_rate.mean), (2, Some(1.0)));
    assert_eq!(row.overall_score, None);
    assert_eq!(
        row.why_unranked.as_deref(),
        Some("no run is a measurement (2 failed (agent); 1 failed (provider))")
    );
}

/// Returns a standard normal draw (Box and Muller).
fn normal(draw: &mut ChaCha20Rng) -> f64 {
    let mut share = || f64::from(draw.next_u32()).mul_add(1.0, 0.5) / 4_294_967_296.0;
    let (radius, angle) = (share(), share());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Two thousand leaderboards over three pull requests with ten trials each, with the spreads that
/// `membreak plan` assumes (0.15 between pull requests, 0.14 between trials) around 0.5. As
/// independent sessions, the thirty would cover 0.5 in 54 % of cases.
#[test]
fn the_interval_over_three_pull_requests_covers_the_truth() {
    let mut draw = ChaCha20Rng::seed_from_u64(1);
    let mut covered = 0;
    for _ in 0..2_000 {
        let mut runs = Vec::new();
        for pull_request in 0..3 {
            let own = 0.15_f64.mul_add(normal(&mut draw), 0.5);
            for trial in 1..=10 {
                let post = 0.14_f64.mul_add(normal(&mut draw), own);
                runs.push(RunResult {
                    pull_request: pull_request.to_string(),
                    session: format!("{pull_request}/{trial}"),
                    ..run("a", trial, post, None)
                });
            }
        }
        let row = leaderboard(&runs, 0.5, 1).ranked.remove(0);
        assert_eq!((row.unit, row.pull_requests), (Unit::PullRequest, 3));
        let (low, high) = (
            row.score.low.expect("three"),
            row.score.high.expect("three"),
        );
        covered += u32::from(low <= 0.5 && 0.5 <= high);
    }
    // 95 % of 2,000 are 1,900, with a standard deviation of 10.
    assert!((1_870..=1_930).contains(&covered), "{covered} of 2000");
}

#[test]
fn on_one_pull_request_sessions_are_resampled_and_the_row_states_it() {
    let board = leaderboard(
        &[
            run("a", 1, 0.4, None),
            run("a", 2, 0.5, None),
            run("a", 3, 0.6, None),
        ],
        0.5,
        1,
    );
    let row = &board.ranked[0];
    assert_eq!((row.unit, row.pull_requests), (Unit::Session, 1));
    assert_eq!(row.design_effect, None);
    // As scipy's Student interval of 0.4, 0.5 and 0.6.
    assert!((row.score.low.expect("three") - 0.251_586).abs() < 1e-6);
}

/// Two pull requests without variation inside: sixteen sessions have the information of two.
#[test]
fn the_design_effect_of_pull_requests_is_reported() {
    let runs: Vec<RunResult> = (0..16)
        .map(|at| RunResult {
            pull_request: (at % 2).to_string(),
            session: at.to_string(),
            ..run("a", at, 0.25 + 0.5 * f64::from(at % 2), None)
        })
        .collect();
    let row = leaderboard(&runs, 0.5, 1).ranked.remove(0);
    let effect = row.design_effect.expect("two pull requests");
    assert!((effect.icc - 1.0).abs() < 1e-9 && (effect.effective_n - 2.0).abs() < 1e-9);
}

#[test]
fn every_two_ranked_agents_are_compared_by_their_sessions() {
    let runs: Vec<RunResult> = [0.70, 0.72, 0.69, 0.71, 0.70]
        .into_iter()
        .zip([0.55, 0.50, 0.58, 0.49, 0.52])
        .zip(1..)
        .flat_map(|((a, b), trial)| [run("a", trial, a, None), run("b", trial, b, None)])
        .chain([run("b", 9, 1.0, None)])
        .collect();
    let board = leaderboard(&runs, 0.5, 1);
    let [found] = board.comparisons.as_slice() else {
        panic!("{:?}", board.comparisons);
    };
    assert_eq!((found.a.as_str(), found.b.as_str()), ("a", "b"));
    assert_eq!(
        (found.sessions, found.clusters, found.unit),
        (5, 5, Unit::Session)
    );
    assert!((found.difference.mean.expect("five") - 0.176).abs() < 1e-9);
    assert!(!found.tie && found.smallest_detectable.is_some());
}

#[test]
fn differences_in_a_row_and_between_rows_are_reported() {
    let with = |run: RunResult, manifest: &[(&str, &str)]| RunResult {
        manifest: manifest
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..run
    };
    let mut narrow = run("b", 1, 0.9, None);
    narrow.score.dimensions.remove(&Dimension::Sf);
    let board = leaderboard(
        &[
            with(
                run("a", 1, 0.5, None),
                &[("model", "m"), ("trigger", "auto")],
            ),
            with(
                run("a", 2, 0.5, None),
                &[("model", "m"), ("trigger", "manual")],
            ),
            with(narrow, &[("model", "n"), ("trigger", "auto")]),
        ],
        0.5,
        1,
    );
    let of = |agent: &str| {
        let row = board.ranked.iter().find(|row| row.agent == agent);
        row.expect("ranked").differs.clone()
    };
    assert_eq!(of("a"), ["trigger: auto | manual"]);
    assert_eq!(of("b"), Vec::<String>::new());
    assert_eq!(
        board.differs,
        ["rubric: AR | AR, SF", "trigger: auto | manual"]
    );
}

#[test]
fn a_single_trial_has_a_mean_and_no_interval() {
    let rows = leaderboard(&[run("a", 1, 0.5, Some(0.25))], 0.5, 1).ranked;
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
    let row = &leaderboard(&runs, 0.5, 7).ranked[0];
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
    )
    .ranked;
    let estimate = rows[0].retention;
    assert_eq!(
        (estimate.mean, estimate.low, estimate.high),
        (None, None, None)
    );
    assert!(!rows[0].passed);
}

#[test]
fn means_are_over_the_runs_that_count() {
    let rows = leaderboard(&[run("a", 1, 0.25, None), run("a", 3, 0.75, None)], 0.5, 1).ranked;
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
    assert_eq!(leaderboard(&[], 0.5, 1), Board::default());
}
