//! Between which ranks an agent may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap::interval_at;
use super::{Interval, mean};

/// The ranks that the data do not exclude, from 1 for the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankInterval {
    pub low: usize,
    pub high: usize,
}

/// 95 % rank intervals of agents, given for each one figure per cluster (by the cluster's name).
///
/// After Mogstad, Romano, Shaikh and Wilhelm ("Inference for Ranks", Review of Economic Studies 91,
/// 2024): an agent may be no better than those that are surely better, and no worse than those that
/// are surely worse, where *surely* means that the interval of the difference excludes 0 at a level
/// shared out over its comparisons (Bonferroni). Differences are paired over the clusters that both
/// agents have. None for an agent without figures; agents that share fewer than two clusters cannot
/// be told apart.
pub fn rank_intervals(agents: &[BTreeMap<String, f64>], seed: u64) -> Vec<Option<RankInterval>> {
    let ranked = agents.iter().filter(|figures| !figures.is_empty()).count();
    let comparisons = ranked.saturating_sub(1).max(1);
    // Per agent: how many are surely better, and surely worse.
    let mut sure = vec![(0, 0); agents.len()];
    for (at, own) in agents.iter().enumerate() {
        for (after, other) in agents.iter().enumerate().skip(at + 1) {
            let Some(interval) = difference(own, other, seed, comparisons) else {
                continue;
            };
            if interval.low > 0.0 {
                sure[at].1 += 1;
                sure[after].0 += 1;
            } else if interval.high < 0.0 {
                sure[at].0 += 1;
                sure[after].1 += 1;
            }
        }
    }
    agents
        .iter()
        .zip(sure)
        .map(|(own, (better, worse))| {
            (!own.is_empty()).then(|| RankInterval {
                low: 1 + better,
                high: ranked - worse,
            })
        })
        .collect()
}

/// The interval of the mean difference over the clusters that both have.
fn difference(
    a: &BTreeMap<String, f64>,
    b: &BTreeMap<String, f64>,
    seed: u64,
    comparisons: usize,
) -> Option<Interval> {
    let differences: Vec<Vec<f64>> = a
        .iter()
        .filter_map(|(cluster, figure)| Some(vec![figure - b.get(cluster)?]))
        .collect();
    mean(&differences.concat())?;
    interval_at(&differences, seed, 0.05 / comparisons as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(figures: &[f64]) -> BTreeMap<String, f64> {
        let named = figures.iter().enumerate();
        named
            .map(|(at, &figure)| (at.to_string(), figure))
            .collect()
    }

    #[test]
    fn agents_that_are_surely_apart_have_one_rank_each() {
        let agents = [
            agent(&[0.5, 0.52, 0.49, 0.51, 0.5]),
            agent(&[0.9, 0.91, 0.89, 0.92, 0.9]),
            agent(&[0.1, 0.12, 0.11, 0.09, 0.1]),
        ];
        let ranks = rank_intervals(&agents, 1);
        let one = |rank| {
            Some(RankInterval {
                low: rank,
                high: rank,
            })
        };
        assert_eq!(ranks, [one(2), one(1), one(3)]);
    }

    #[test]
    fn agents_that_cannot_be_told_apart_share_their_ranks() {
        let agents = [
            agent(&[0.4, 0.7, 0.5]),
            agent(&[0.6, 0.5, 0.6]),
            agent(&[0.9]),
            agent(&[]),
        ];
        let all = Some(RankInterval { low: 1, high: 3 });
        assert_eq!(rank_intervals(&agents, 1), [all, all, all, None]);
    }
}
