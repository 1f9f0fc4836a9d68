//! The interval of one proportion.

use super::summary::Interval;

/// The 97.5 % point of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Returns the Wilson 95 % interval of `hits` successes in `trials`. Without trials it is the whole
/// line.
///
/// Wilson (1927) instead of ±1.96 σ: with the 10 to 30 questions of one run the latter leaves `[0,
/// 1]`.
pub fn wilson(hits: u32, trials: u32) -> Interval {
    if trials == 0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let n = f64::from(trials);
    let share = f64::from(hits.min(trials)) / n;
    let square = Z * Z;
    let centre = share + square / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    let scale = 1.0 + square / n;
    Interval {
        // At the ends the two terms are equal, except for rounding.
        low: if hits == 0 {
            0.0
        } else {
            (centre - spread) / scale
        },
        high: if hits >= trials {
            1.0
        } else {
            (centre + spread) / scale
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Interval, wilson};

    fn close(interval: Interval, low: f64, high: f64) {
        let off = (interval.low - low).abs().max((interval.high - high).abs());
        assert!(off < 5e-5, "{interval:?} is not [{low}, {high}]");
    }

    /// Newcombe (Statistics in Medicine 17, 1998), table I, the score method without continuity
    /// correction.
    #[test]
    fn wilson_gives_the_published_figures() {
        close(wilson(81, 263), 0.2553, 0.3662);
        close(wilson(15, 148), 0.0624, 0.1605);
        close(wilson(0, 20), 0.0, 0.1611);
        close(wilson(1, 29), 0.0061, 0.1718);
    }

    /// scipy 1.17.1: `stats.binomtest(hits, trials).proportion_ci(0.95, "wilson")`.
    #[test]
    fn wilson_gives_the_figures_of_another_program() {
        close(wilson(8, 10), 0.4902, 0.9433);
        close(wilson(0, 10), 0.0, 0.2775);
        close(wilson(10, 10), 0.7225, 1.0);
        close(wilson(5, 10), 0.2366, 0.7634);
        close(wilson(0, 0), 0.0, 1.0);
    }
}
