//! Intervals of the ranks of agents.

use serde::{Deserialize, Serialize};

use super::bootstrap::interval_at;
use super::paired::{Figure, POSSIBLE, differences, pairs};
use super::summary::Interval;

/// Total error probability of the comparisons of one agent.
const ALPHA: f64 = 0.05;

/// Ranks that the data do not exclude, from 1 for the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankInterval {
    pub low: usize,
    pub high: usize,
}

/// Returns 95 % rank intervals of agents, given the figures of each by session.
///
/// The method follows Mogstad, Romano, Shaikh and Wilhelm ("Inference for Ranks", Review of
/// Economic Studies 91, 2024). An agent ranks below all agents that are surely better, and above
/// all that are surely worse. *Surely* means that the interval of the difference excludes 0 at a
/// level shared among its comparisons (Bonferroni). Differences are paired over the common sessions
/// of two agents, and resampled by pull request if these are several. Returns `None` for an agent
/// without figures. Agents with fewer than two common units cannot be distinguished.
pub fn rank_intervals(agents: &[Vec<Figure>], seed: u64) -> Vec<Option<RankInterval>> {
    let ranked = agents.iter().filter(|figures| !figures.is_empty()).count();
    let comparisons = ranked.saturating_sub(1).max(1);
    // For each agent: the numbers of surely better and surely worse agents.
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

/// Returns the interval of the mean difference over the common sessions.
fn difference(a: &[Figure], b: &[Figure], seed: u64, comparisons: usize) -> Option<Interval> {
    let differences = differences(&pairs(a, b).1);
    interval_at(&differences, seed, ALPHA / comparisons as f64, POSSIBLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions of one pull request.
    fn agent(figures: &[f64]) -> Vec<Figure> {
        let named = figures.iter().enumerate();
        named
            .map(|(at, &value)| Figure {
                pull_request: "1".to_owned(),
                session: at.to_string(),
                value,
            })
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

    /// scipy 1.17.1, `stats.ttest_rel` of every two: 0.033 for the first two, 0.94 for the last
    /// two, at most 0.006 for the others. Each agent has three comparisons, so 0.016 7 is the
    /// level: at 0.05 the first would have rank 1 for itself.
    #[test]
    fn ranks_are_those_that_paired_tests_at_a_shared_level_leave() {
        let agents = [
            agent(&[0.70, 0.72, 0.69, 0.71, 0.70]),
            agent(&[0.68, 0.71, 0.64, 0.70, 0.66]),
            agent(&[0.55, 0.50, 0.58, 0.49, 0.52]),
            agent(&[0.54, 0.53, 0.50, 0.55, 0.51]),
        ];
        let (first, last) = (
            Some(RankInterval { low: 1, high: 2 }),
            Some(RankInterval { low: 3, high: 4 }),
        );
        assert_eq!(rank_intervals(&agents, 1), [first, first, last, last]);
    }

    #[test]
    fn agents_that_cannot_be_distinguished_share_their_ranks() {
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
