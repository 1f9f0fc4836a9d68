//! The cluster bootstrap: whole sessions are resampled, never single answers.

use std::ops::RangeInclusive;

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::summary::{Interval, mean, sum};
use crate::draw::Draw;

/// Number of resamples.
pub const RESAMPLES: usize = 10_000;

/// Returns the bootstrap 95 % interval of the mean of all values, resampling whole clusters: the
/// percentiles of the resampled means, expanded for few clusters as in Hesterberg (2015).
///
/// A cluster is a session: the answers of one session depend on each other, so they must not be
/// drawn one by one. The order of the clusters and of their values does not matter. Returns `None`
/// with fewer than two clusters with values, because one cluster cannot be resampled.
pub fn cluster_bootstrap(clusters: &[Vec<f64>], seed: u64) -> Option<Interval> {
    let means = resampled_means(clusters, seed)?;
    let clusters = clusters
        .iter()
        .filter(|cluster| !cluster.is_empty())
        .count();
    Some(between(&means, clusters, 0.05))
}

/// Minimum number of clusters for resampling. A resampled mean of three sessions never leaves their
/// range, and one time in four the truth does.
const FEW: usize = 10;

/// Cluster means that differ by less than this differ by rounding only.
const ROUNDING: f64 = 1e-9;

/// Returns the 95 % interval of the mean of all values, for any number of clusters.
///
/// It uses Student's t over the clusters if there are few, [`cluster_bootstrap`] if there are ten
/// or more, and the limits of a sample without spread ([`without_spread`]) if all clusters are
/// equal.
///
/// The standard error is that of a ratio (Cochran, Sampling Techniques, 1977, 6.3), because
/// clusters may differ in size. `possible` is the range of a value, and limits the interval.
/// Returns `None` with fewer than two clusters with values.
pub fn cluster_interval(
    clusters: &[Vec<f64>],
    seed: u64,
    possible: RangeInclusive<f64>,
) -> Option<Interval> {
    interval_at(clusters, seed, 0.05, possible)
}

/// Returns the interval if every cluster has the same mean.
///
/// Equal values in `k` clusters do not show that nothing varies. There is no spread to build an
/// interval on, and an interval without width would claim certainty. But `k` equal clusters show
/// that at least the share `q` of all clusters is like them, with `q` the lower limit of Clopper
/// and Pearson (Biometrika 26, 1934) for `k` of `k`: `q = (alpha / 2)^(1/k)`. The others may have
/// any possible value, so the mean is between `q · value + (1 - q) · least` and `q · value + (1 -
/// q) · most`. For differences it excludes 0 only from six clusters on, as a sign test does.
fn without_spread(
    value: f64,
    clusters: usize,
    alpha: f64,
    possible: &RangeInclusive<f64>,
) -> Interval {
    let alike = (alpha / 2.0).powf(1.0 / clusters as f64);
    let with = |others: f64| alike * value + (1.0 - alike) * others;
    Interval {
        low: with(possible.start().min(value)),
        high: with(possible.end().max(value)),
    }
}

/// Returns the mean of all clusters, if it is the same.
fn same_mean(clusters: &[&Vec<f64>]) -> Option<f64> {
    let means: Vec<f64> = clusters.iter().filter_map(|one| mean(one)).collect();
    let first = *means.first()?;
    let same = means.iter().all(|mean| (mean - first).abs() < ROUNDING);
    same.then_some(first)
}

fn of_few(clusters: &[&Vec<f64>], alpha: f64) -> Option<Interval> {
    let k = clusters.len() as f64;
    let all: Vec<f64> = clusters
        .iter()
        .flat_map(|one| one.iter().copied())
        .collect();
    let centre = mean(&all)?;
    let squares: Vec<f64> = clusters
        .iter()
        .map(|one| (sum(one) - centre * one.len() as f64).powi(2))
        .collect();
    let size = all.len() as f64 / k;
    let error = (sum(&squares) / (k - 1.0) / k).sqrt() / size;
    let student = StudentsT::new(0.0, 1.0, k - 1.0).ok()?;
    let reach = student.inverse_cdf(1.0 - alpha / 2.0) * error;
    Some(Interval {
        low: centre - reach,
        high: centre + reach,
    })
}

/// Returns the resampled means, ascending. Returns `None` with fewer than two clusters with values.
fn resampled_means(clusters: &[Vec<f64>], seed: u64) -> Option<Vec<f64>> {
    let mut sums: Vec<(f64, usize)> = clusters
        .iter()
        .filter(|cluster| !cluster.is_empty())
        .map(|cluster| (sum(cluster), cluster.len()))
        .collect();
    if sums.len() < 2 {
        return None;
    }
    sums.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut draw = Draw::new(seed, "bootstrap");
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut total = 0.0;
            let mut count = 0;
            for _ in 0..sums.len() {
                let (part, size) = sums[draw.below(sums.len())];
                total += part;
                count += size;
            }
            total / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Some(means)
}

/// Returns the interval of a mean at another level than 95 %. `alpha` is the excluded share at both
/// ends together.
pub(super) fn interval_at(
    clusters: &[Vec<f64>],
    seed: u64,
    alpha: f64,
    possible: RangeInclusive<f64>,
) -> Option<Interval> {
    let filled: Vec<&Vec<f64>> = clusters.iter().filter(|one| !one.is_empty()).collect();
    let found = match (filled.len(), same_mean(&filled)) {
        (0 | 1, _) => None,
        (count, Some(value)) => Some(without_spread(value, count, alpha, &possible)),
        (count, None) if count < FEW => of_few(&filled, alpha),
        (count, None) => {
            let means = resampled_means(clusters, seed)?;
            Some(between(&means, count, alpha))
        }
    }?;
    Some(Interval {
        low: found.low.max(*possible.start()),
        high: found.high.min(*possible.end()),
    })
}

/// Returns the interval of any statistic of items, resampling whole clusters of them. Returns
/// `None` with fewer than two clusters with items, or if the statistic is undefined for one in ten
/// of the resamples.
pub(super) fn statistic_interval<T>(
    clusters: &[Vec<T>],
    seed: u64,
    statistic: impl Fn(&[&T]) -> Option<f64>,
) -> Option<Interval> {
    let filled: Vec<&Vec<T>> = clusters.iter().filter(|one| !one.is_empty()).collect();
    if filled.len() < 2 {
        return None;
    }
    let mut draw = Draw::new(seed, "items");
    let mut drawn: Vec<&T> = Vec::new();
    let mut figures: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            drawn.clear();
            for _ in 0..filled.len() {
                drawn.extend(filled[draw.below(filled.len())]);
            }
            statistic(&drawn)
        })
        .collect();
    if figures.len() < RESAMPLES / 10 * 9 {
        return None;
    }
    figures.sort_by(f64::total_cmp);
    Some(between(&figures, filled.len(), 0.05))
}

fn between(sorted: &[f64], clusters: usize, alpha: f64) -> Interval {
    let tail = tail(clusters, alpha);
    Interval {
        low: percentile(sorted, tail),
        high: percentile(sorted, 1.0 - tail),
    }
}

/// Returns the share that is cut off at each end of the resampled means.
///
/// The plain `alpha / 2` is right only for many clusters. With few, resampled means vary too little
/// (by the factor (n-1)/n) and their tails are too thin (normal, not t), so that a "95 %" interval
/// over 10 runs covers the truth in 90 % of cases. Hesterberg's expanded percentile interval ("What
/// teachers should know about the bootstrap", The American Statistician 69, 2015) cuts off
/// `Φ(-√(n/(n-1)) · t(1 - alpha/2; n-1))` instead.
fn tail(clusters: usize, alpha: f64) -> f64 {
    let n = clusters.max(2) as f64;
    let (Ok(student), Ok(normal)) = (StudentsT::new(0.0, 1.0, n - 1.0), Normal::new(0.0, 1.0))
    else {
        return alpha / 2.0;
    };
    normal.cdf(-(n / (n - 1.0)).sqrt() * student.inverse_cdf(1.0 - alpha / 2.0))
}

/// Interpolates linearly between neighbours (the default definition of R and `NumPy`).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let low = sorted[below as usize];
    let high = sorted[place.ceil() as usize];
    low + (high - low) * (place - below)
}

#[cfg(test)]
mod tests {
    use super::super::summary::mean;
    use super::{Interval, cluster_bootstrap, tail};

    fn cluster_interval(clusters: &[Vec<f64>], seed: u64) -> Option<Interval> {
        super::cluster_interval(clusters, seed, 0.0..=1.0)
    }

    fn close(interval: Interval, low: f64, high: f64) {
        let off = (interval.low - low).abs().max((interval.high - high).abs());
        assert!(off < 5e-5, "{interval:?} is not [{low}, {high}]");
    }

    fn single(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|&value| vec![value]).collect()
    }

    /// The mean of a resample of k ones among n values is binomial, so the percentiles are known
    /// from its table. For ten clusters 0.855 % are cut off: 1 and 9 of 10 remain for p = 0.5, 5
    /// and 10 of 10 for p = 0.8.
    #[test]
    fn the_bootstrap_of_zeros_and_ones_gives_the_binomial_quantiles() {
        let mut values = vec![0.0; 5];
        values.extend([1.0; 5]);
        let interval = cluster_bootstrap(&single(&values), 1).expect("ten clusters");
        close(interval, 0.1, 0.9);

        let mut values = vec![0.0; 2];
        values.extend([1.0; 8]);
        let interval = cluster_bootstrap(&single(&values), 1).expect("ten clusters");
        close(interval, 0.5, 1.0);
    }

    /// `Φ(-√(n/(n-1)) · t(0.975; n-1))` in Python: 0.021802 for 60 clusters, 0.023064 for 100.
    #[test]
    fn many_clusters_have_nearly_the_plain_percentiles() {
        let tail = |clusters| tail(clusters, 0.05);
        assert!((tail(60) - 0.021_802).abs() < 1e-6);
        assert!((tail(100) - 0.023_064).abs() < 1e-6);
        assert!(tail(31) > tail(30) && tail(100_000) < 0.025);
        // The same for ten and twenty clusters: 0.008 551 and 0.015 881.
        assert!((tail(10) - 0.008_551).abs() < 1e-6);
        assert!((tail(20) - 0.015_881).abs() < 1e-6);
    }

    #[test]
    fn answers_of_one_session_are_not_resampled_one_by_one() {
        let clusters = [vec![0.0; 50], vec![1.0; 50]];
        close(
            cluster_bootstrap(&clusters, 3).expect("two clusters"),
            0.0,
            1.0,
        );
    }

    /// The lower limit of Clopper and Pearson in scipy 1.17.1: `stats.binomtest(k, k)
    /// .proportion_ci(0.95, "exact").low` is 0.292 402 for k = 3, 0.691 503 for 10, 0.981 725 for
    /// 200.
    #[test]
    fn sessions_that_are_all_alike_are_not_certain() {
        for (sessions, low) in [(3, 0.292_402), (10, 0.691_503), (200, 0.981_725)] {
            let perfect = cluster_interval(&single(&vec![1.0; sessions]), 9).expect("some");
            close(perfect, low, 1.0);
            let nothing = cluster_interval(&single(&vec![0.0; sessions]), 9).expect("some");
            close(nothing, 0.0, 1.0 - low);
        }
        // Sessions of several answers each, half of them right in every one.
        let halves = vec![vec![0.0, 1.0]; 3];
        close(
            cluster_interval(&halves, 9).expect("three"),
            0.5 * 0.292_402,
            1.0 - 0.5 * 0.292_402,
        );
    }

    #[test]
    fn the_order_of_the_sessions_does_not_matter() {
        let there = single(&[0.1, 0.7, 0.35, 0.9]);
        let mut back = there.clone();
        back.reverse();
        assert_eq!(cluster_bootstrap(&there, 5), cluster_bootstrap(&back, 5));
        assert_eq!(mean(&[0.1, 0.2, 0.3]), mean(&[0.3, 0.1, 0.2]));
    }

    /// scipy 1.17.1: `stats.t.interval(0.95, 2, loc=np.mean(x), scale=stats.sem(x))` of
    /// `x = [0.4, 0.5, 0.6]` is `(0.251_586, 0.748_414)`.
    #[test]
    fn few_sessions_have_the_interval_of_student() {
        let interval = cluster_interval(&single(&[0.4, 0.5, 0.6]), 1).expect("three");
        close(interval, 0.251_586, 0.748_414);
        // Several answers per session change nothing if sessions have equal size.
        let twice = [vec![0.4, 0.4], vec![0.5, 0.5], vec![0.6, 0.6]];
        close(
            cluster_interval(&twice, 1).expect("three"),
            0.251_586,
            0.748_414,
        );
        let many: Vec<f64> = (0..12).map(|at| f64::from(at) / 12.0).collect();
        let many = single(&many);
        assert_eq!(cluster_interval(&many, 1), cluster_bootstrap(&many, 1));
    }

    /// statsmodels 0.15.0, an intercept with errors that are robust to clusters: `OLS(y, ones).fit(
    /// cov_type="cluster", cov_kwds={"groups": g}, use_t=True)` gives 0.43, standard error
    /// 0.115 181, and `[0.063_443, 0.796_557]`.
    #[test]
    fn few_sessions_of_different_size_have_the_interval_of_cluster_robust_errors() {
        let clusters = [
            vec![0.2, 0.4],
            vec![0.9],
            vec![0.5, 0.6, 0.7, 0.4],
            vec![0.1, 0.3, 0.2],
        ];
        let interval = cluster_interval(&clusters, 1).expect("four");
        close(interval, 0.063_443, 0.796_557);
    }

    /// Ten thousand samples of three sessions of 28 answers each, half of them right: the interval
    /// covers the truth about as often as it claims.
    #[test]
    fn the_interval_of_three_sessions_covers_the_truth() {
        let mut draw = crate::draw::Draw::new(1, "coverage");
        let covered = (0..10_000)
            .filter(|_| {
                let sessions: Vec<Vec<f64>> = (0..3)
                    .map(|_| (0..28).map(|_| draw.below(2) as f64).collect())
                    .collect();
                cluster_interval(&sessions, 1)
                    .is_some_and(|found| found.low <= 0.5 && found.high >= 0.5)
            })
            .count();
        assert!((9_350..=9_750).contains(&covered), "{covered}");
    }

    #[test]
    fn one_session_has_no_interval() {
        assert_eq!(cluster_bootstrap(&[vec![0.5, 0.6]], 1), None);
        assert_eq!(cluster_bootstrap(&[vec![0.5], Vec::new()], 1), None);
    }
}
