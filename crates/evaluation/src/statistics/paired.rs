//! The difference of two agents, or of two arms, on the same probes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::bootstrap::cluster_interval;
use super::clusters::Unit;
use super::planning::{POWER, smallest_detectable};
use super::summary::{Interval, mean, standard_deviation};

/// The same probe under two conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Unit that is resampled as one, such as pull request × trial.
    pub cluster: String,
    pub a: f64,
    pub b: f64,
}

/// The mean of `a - b`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub mean: f64,
    /// 95 % interval. `None` with one cluster.
    pub interval: Option<Interval>,
    pub pairs: usize,
    pub clusters: usize,
    /// There is no interval, or it covers 0: no difference may be claimed.
    pub tie: bool,
    /// The smallest difference that this number of clusters would have shown with a power of 80 %.
    /// `None` if all clusters show the same difference: without variation there is no measure of
    /// it.
    pub smallest_detectable: Option<f64>,
}

/// Compares two conditions by the differences of the same probes, resampling whole clusters.
/// Returns `None` without pairs.
///
/// The comparison is paired, because the difficulty of probes varies more than agents do, and
/// cancels out in a difference.
pub fn paired(pairs: &[Pair], seed: u64) -> Option<Difference> {
    let clusters = differences(pairs);
    let all: Vec<f64> = clusters.iter().flatten().copied().collect();
    let means: Vec<f64> = clusters.iter().filter_map(|one| mean(one)).collect();
    let interval = cluster_interval(&clusters, seed, POSSIBLE);
    Some(Difference {
        mean: mean(&all)?,
        tie: interval.is_none_or(|interval| interval.low <= 0.0 && interval.high >= 0.0),
        interval,
        pairs: pairs.len(),
        clusters: clusters.len(),
        smallest_detectable: standard_deviation(&means)
            .filter(|spread| *spread > ROUNDING)
            .and_then(|spread| smallest_detectable(spread, means.len(), POWER)),
    })
}

/// A figure of one session of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub pull_request: String,
    /// The part that the session shares with a session of another agent, such as the task and the
    /// trial. Figures are paired by it.
    pub session: String,
    pub value: f64,
}

/// Pairs the figures of two agents for the same sessions, by the unit of resampling.
pub(super) fn pairs(a: &[Figure], b: &[Figure]) -> (Unit, Vec<Pair>) {
    let others: BTreeMap<&str, f64> = b
        .iter()
        .map(|figure| (figure.session.as_str(), figure.value))
        .collect();
    let shared: Vec<(&Figure, f64)> = a
        .iter()
        .filter_map(|figure| Some((figure, *others.get(figure.session.as_str())?)))
        .collect();
    let unit = Unit::for_pull_requests(
        shared
            .iter()
            .map(|(figure, _)| figure.pull_request.as_str()),
    );
    let pairs = shared
        .into_iter()
        .map(|(figure, other)| Pair {
            cluster: match unit {
                Unit::Session => figure.session.clone(),
                Unit::PullRequest => figure.pull_request.clone(),
            },
            a: figure.value,
            b: other,
        })
        .collect();
    (unit, pairs)
}

/// Compares two agents by their common sessions. Returns `None` without such.
pub fn compared(a: &[Figure], b: &[Figure], seed: u64) -> Option<(Unit, Difference)> {
    let (unit, pairs) = pairs(a, b);
    Some((unit, paired(&pairs, seed)?))
}

/// Grades are from 0 to 1, so their differences are from -1 to 1.
pub(super) const POSSIBLE: RangeInclusive<f64> = -1.0..=1.0;

/// A spread of at most this is rounding.
const ROUNDING: f64 = 1e-9;

/// Returns the differences by the unit of resampling.
pub(super) fn differences(pairs: &[Pair]) -> Vec<Vec<f64>> {
    let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for pair in pairs {
        let differences = clusters.entry(&pair.cluster).or_default();
        differences.push(pair.a - pair.b);
    }
    clusters.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(differences: &[f64]) -> Vec<Pair> {
        differences
            .iter()
            .enumerate()
            .map(|(at, &difference)| Pair {
                cluster: at.to_string(),
                a: 0.5 + difference,
                b: 0.5,
            })
            .collect()
    }

    #[test]
    fn a_difference_that_every_session_shows_is_one() {
        let found = paired(&pairs(&[0.1, 0.2, 0.15, 0.12, 0.18]), 1).expect("pairs");
        assert!((found.mean - 0.15).abs() < 1e-12 && !found.tie);
    }

    #[test]
    fn a_difference_that_sessions_do_not_agree_on_is_a_tie() {
        let found = paired(&pairs(&[0.3, -0.2, 0.25, -0.3, 0.1]), 1).expect("pairs");
        assert!(found.tie);
        let one = paired(&pairs(&[0.9]), 1).expect("a pair");
        assert!(one.tie && one.interval.is_none() && one.smallest_detectable.is_none());
        assert_eq!(paired(&[], 1), None);
    }

    /// scipy 1.17.1: `stats.ttest_rel(a, b)` has the interval `[0.014_465, 0.132_202]` of a mean
    /// difference of 0.073 333; the root of the power by `nct` is 0.080 471.
    #[test]
    fn few_pairs_have_the_interval_of_the_paired_test() {
        let a = [0.62, 0.55, 0.71, 0.48, 0.66, 0.59];
        let b = [0.51, 0.50, 0.60, 0.49, 0.52, 0.55];
        let pairs: Vec<Pair> = a
            .into_iter()
            .zip(b)
            .enumerate()
            .map(|(at, (a, b))| Pair {
                cluster: at.to_string(),
                a,
                b,
            })
            .collect();
        let found = paired(&pairs, 1).expect("pairs");
        let interval = found.interval.expect("six clusters");
        assert!((found.mean - 0.073_333).abs() < 1e-6);
        assert!((interval.low - 0.014_465).abs() < 1e-6, "{interval:?}");
        assert!((interval.high - 0.132_202).abs() < 1e-6, "{interval:?}");
        let least = found.smallest_detectable.expect("they vary");
        assert!((least - 0.080_471).abs() < 1e-5, "{least}");
    }

    #[test]
    fn common_difficulty_cancels_out() {
        let hard: Vec<Pair> = [0.1, 0.9, 0.3, 0.7]
            .iter()
            .zip([0.04, 0.06, 0.05, 0.05])
            .enumerate()
            .map(|(at, (&level, more))| Pair {
                cluster: at.to_string(),
                a: level + more,
                b: level,
            })
            .collect();
        let found = paired(&hard, 1).expect("pairs");
        let interval = found.interval.expect("four clusters");
        assert!(interval.low > 0.03 && interval.high < 0.07 && !found.tie);
    }

    /// Two or three sessions with the same difference by chance do not prove it. Six do, by the
    /// sign test (2 · 0.5^6 = 0.031), if the difference is as large as possible.
    #[test]
    fn equal_differences_of_few_sessions_are_a_tie() {
        for sessions in [2, 3, 5] {
            for difference in [0.1, 0.5] {
                let found = paired(&pairs(&vec![difference; sessions]), 1).expect("pairs");
                assert!(found.tie, "{sessions} sessions: {found:?}");
                let interval = found.interval.expect("two or more");
                assert!(interval.high - interval.low > 0.5, "{interval:?}");
                assert_eq!(found.smallest_detectable, None);
            }
        }
        let whole: Vec<Pair> = (0..6)
            .map(|at| Pair {
                cluster: at.to_string(),
                a: 1.0,
                b: 0.0,
            })
            .collect();
        assert!(paired(&whole[..5], 1).expect("pairs").tie);
        assert!(!paired(&whole, 1).expect("pairs").tie);
    }
}
