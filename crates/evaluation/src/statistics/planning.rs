//! Power of a design, before it is paid for.

use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, Normal, StudentsT};

/// The usual probability of finding an existing difference.
pub const POWER: f64 = 0.8;

/// The level of a two-sided test.
const ALPHA: f64 = 0.05;

/// Maximum number of sessions of a design.
const MOST: usize = 1_000_000;

/// Returns the smallest mean difference that `n` independent differences with this standard
/// deviation show with the given power in a two-sided test at 5 %.
///
/// The result is exact for normal differences: the noncentrality at which the paired t-test has
/// that power (Cohen, Statistical Power Analysis, 1988), by the noncentral t distribution. Adding
/// quantiles of the central one would be 14 % too small for two sessions. Returns `None` for fewer
/// than two sessions, a negative spread, or a power outside of `(0.05, 1)`: without any difference
/// the power is 5 %.
pub fn smallest_detectable(standard_deviation: f64, n: usize, power: f64) -> Option<f64> {
    if n < 2 || standard_deviation.is_nan() || standard_deviation < 0.0 {
        return None;
    }
    if !(power > ALPHA && power < 1.0) {
        return None;
    }
    let test = Test::new(n - 1)?;
    let (mut too_small, mut enough) = (0.0, 1.0);
    while test.power(enough) < power {
        enough *= 2.0;
        if enough > MOST_NONCENTRAL {
            return None;
        }
    }
    while enough - too_small > 1e-8 * enough {
        let middle = f64::midpoint(too_small, enough);
        if test.power(middle) < power {
            too_small = middle;
        } else {
            enough = middle;
        }
    }
    Some(enough * standard_deviation / (n as f64).sqrt())
}

/// Largest noncentrality: no realistic difference has this many standard errors.
const MOST_NONCENTRAL: f64 = 1e6;

/// Steps of Simpson's rule. The tests compare with R and SciPy.
const STEPS: u32 = 600;

/// The two-sided t-test at 5 % with a number of degrees of freedom.
struct Test {
    critical: f64,
    normal: Normal,
    /// Positions of `√(χ²/ν)`, each with its weight in an integral over its distribution.
    weights: Vec<(f64, f64)>,
}

impl Test {
    fn new(freedom: usize) -> Option<Self> {
        let freedom = freedom as f64;
        let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
        let spread = ChiSquared::new(freedom).ok()?;
        // Its mean is about 1, its standard deviation about 1/√(2ν).
        let reach = 9.0 / (2.0 * freedom).sqrt();
        let (from, to) = ((1.0 - reach).max(0.0), 1.0 + reach);
        let step = (to - from) / f64::from(STEPS);
        let mut weights: Vec<(f64, f64)> = (0..=STEPS)
            .map(|at| {
                let place = from + step * f64::from(at);
                let simpson = match at {
                    0 | STEPS => 1.0,
                    odd if odd % 2 == 1 => 4.0,
                    _ => 2.0,
                };
                (place, simpson * density(&spread, freedom, place))
            })
            .collect();
        let whole: f64 = weights.iter().map(|(_, weight)| weight).sum();
        for (_, weight) in &mut weights {
            *weight /= whole;
        }
        Some(Self {
            critical: student.inverse_cdf(1.0 - ALPHA / 2.0),
            normal: Normal::new(0.0, 1.0).ok()?,
            weights,
        })
    }

    /// Returns the probability that the test finds a difference of this many standard errors.
    fn power(&self, noncentral: f64) -> f64 {
        let missed: f64 = self
            .weights
            .iter()
            .map(|(spread, weight)| {
                let reach = self.critical * spread;
                weight
                    * (self.normal.cdf(reach - noncentral) - self.normal.cdf(-reach - noncentral))
            })
            .sum();
        1.0 - missed
    }
}

/// Returns the density of `√(χ²/ν)` at a position.
fn density(spread: &ChiSquared, freedom: f64, place: f64) -> f64 {
    if place > 0.0 {
        2.0 * freedom * place * spread.pdf(freedom * place * place)
    } else if freedom > 1.0 {
        0.0
    } else {
        // The density of |z|, where χ² has its pole.
        (2.0 / std::f64::consts::PI).sqrt()
    }
}

/// Returns the number of independent differences that show one of this size. Returns `None` if a
/// million are not enough, or if the arguments are invalid.
pub fn sample_size(difference: f64, standard_deviation: f64, power: f64) -> Option<usize> {
    let shows = |n: usize| {
        smallest_detectable(standard_deviation, n, power).is_some_and(|least| least <= difference)
    };
    if difference.is_nan() || difference <= 0.0 || !shows(MOST) {
        return None;
    }
    // The smallest detectable difference falls with n.
    let (mut too_few, mut enough) = (1, MOST);
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if shows(middle) {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    Some(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cohen (1988) and every table since: a medium effect (d = 0.5) in a paired test at 5 % with a
    /// power of 80 % takes 34 pairs, a large one (0.8) 15, a small one (0.2) 199; so says
    /// statsmodels 0.15.0 (`TTestPower().solve_power`: 33.37, 14.30, 198.15), and 8 for 1.2 (7.59).
    #[test]
    fn the_sizes_of_the_tables() {
        for (effect, pairs) in [(0.5, 34), (0.8, 15), (0.2, 199), (1.2, 8)] {
            assert_eq!(sample_size(effect, 1.0, POWER), Some(pairs), "{effect}");
        }
    }

    /// scipy 1.17.1: the root, by `brentq`, of `nct.sf(c, n-1, d) + nct.cdf(-c, n-1, d) = 0.8` with
    /// `c = t.ppf(0.975, n-1)`, divided by `√n`.
    #[test]
    fn the_smallest_detectable_difference_is_that_of_the_noncentral_t() {
        for (sessions, expected) in [
            (2, 11.549_888),
            (3, 3.264_044),
            (5, 1.681_997),
            (10, 0.996_001),
            (30, 0.529_236),
            (199, 0.199_569),
        ] {
            let found = smallest_detectable(1.0, sessions, POWER).expect("defined");
            assert!(
                (found / expected - 1.0).abs() < 1e-5,
                "{sessions}: {found} is not {expected}"
            );
        }
    }

    #[test]
    fn more_sessions_show_smaller_differences() {
        let least = |n| smallest_detectable(0.2, n, POWER).expect("defined");
        assert!(least(3) > least(10) && least(10) > least(100));
        assert_eq!(smallest_detectable(0.2, 1, POWER), None);
        assert_eq!(sample_size(0.0, 0.2, POWER), None);
        assert_eq!(sample_size(0.1, 0.2, 1.0), None);
        assert_eq!(sample_size(0.1, 0.0, POWER), Some(2));
    }
}
