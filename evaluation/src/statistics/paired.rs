//! The difference of two agents, or of two arms, on the same probes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Interval, POWER, cluster_interval, mean, smallest_detectable, standard_deviation};

/// The same probe under two conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What stands and falls together and is resampled as one, such as pull request × trial.
    pub cluster: String,
    pub a: f64,
    pub b: f64,
}

/// The mean of `a - b`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub mean: f64,
    /// 95 %; none with one cluster.
    pub interval: Option<Interval>,
    pub pairs: usize,
    pub clusters: usize,
    /// There is no interval, or it covers 0: no difference may be claimed.
    pub tie: bool,
    /// The smallest difference that so many clusters would have shown with a power of 80 %.
    pub smallest_detectable: Option<f64>,
}

/// Compares two conditions by the differences of the same probes, resampling whole clusters. None
/// without pairs.
///
/// Paired, because how hard a probe is varies more than agents do, and cancels out in a difference.
pub fn paired(pairs: &[Pair], seed: u64) -> Option<Difference> {
    let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for pair in pairs {
        let differences = clusters.entry(&pair.cluster).or_default();
        differences.push(pair.a - pair.b);
    }
    let clusters: Vec<Vec<f64>> = clusters.into_values().collect();
    let all: Vec<f64> = clusters.iter().flatten().copied().collect();
    let means: Vec<f64> = clusters.iter().filter_map(|one| mean(one)).collect();
    let interval = cluster_interval(&clusters, seed);
    Some(Difference {
        mean: mean(&all)?,
        tie: interval.is_none_or(|interval| interval.low <= 0.0 && interval.high >= 0.0),
        interval,
        pairs: pairs.len(),
        clusters: clusters.len(),
        smallest_detectable: standard_deviation(&means)
            .and_then(|spread| smallest_detectable(spread, means.len(), POWER)),
    })
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

    #[test]
    fn what_is_hard_for_both_cancels_out() {
        let hard: Vec<Pair> = [0.1, 0.9, 0.3, 0.7]
            .iter()
            .enumerate()
            .map(|(at, &level)| Pair {
                cluster: at.to_string(),
                a: level + 0.05,
                b: level,
            })
            .collect();
        let found = paired(&hard, 1).expect("pairs");
        let interval = found.interval.expect("four clusters");
        assert!((interval.low - 0.05).abs() < 1e-9 && (interval.high - 0.05).abs() < 1e-9);
    }
}
