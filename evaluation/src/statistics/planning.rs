//! What a design can show, before it is paid for.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The usual chance of finding a difference that is there.
pub const POWER: f64 = 0.8;

/// The level of a two-sided test.
const ALPHA: f64 = 0.05;

/// No design has more sessions than this.
const MOST: usize = 1_000_000;

/// The smallest mean difference that `n` independent differences with this standard deviation show
/// with the given power in a two-sided test at 5 %: `(t(0.975; n-1) + t(power; n-1)) · sd / √n`.
///
/// The usual approximation of the paired t-test's power (Cohen, Statistical Power Analysis, 1988) with
/// quantiles of Student's t, because n is small; against the noncentral t it errs by a few per cent.
/// None for fewer than two sessions, a negative spread, or a power outside of `(0, 1)`.
pub fn smallest_detectable(standard_deviation: f64, n: usize, power: f64) -> Option<f64> {
    if n < 2 || standard_deviation.is_nan() || standard_deviation < 0.0 {
        return None;
    }
    if !(power > 0.0 && power < 1.0) {
        return None;
    }
    let student = StudentsT::new(0.0, 1.0, (n - 1) as f64).ok()?;
    let quantiles = student.inverse_cdf(1.0 - ALPHA / 2.0) + student.inverse_cdf(power);
    Some(quantiles * standard_deviation / (n as f64).sqrt())
}

/// How many independent differences are needed to show one of this size. None where a million are not
/// enough, or the question makes no sense.
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
    /// power of 80 % takes 34 pairs, a large one (0.8) 15, a small one (0.2) 199. The approximation may
    /// be one off.
    #[test]
    fn the_sizes_of_the_tables() {
        for (effect, pairs) in [(0.5, 34), (0.8, 15), (0.2, 199)] {
            let found = sample_size(effect, 1.0, POWER).expect("possible");
            assert!(found.abs_diff(pairs) <= 1, "{effect}: {found}");
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
