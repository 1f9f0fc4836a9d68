//! What small samples allow to be said: intervals, differences, ranks, agreement.
//!
//! Every draw is fixed by a seed. What is not defined for the data given is none, never 0.

mod agreement;
mod bootstrap;
mod clusters;
mod paired;
mod planning;
mod ranks;
mod risk_coverage;
mod wilson;

use serde::{Deserialize, Serialize};

pub use agreement::{Agreement, cohens_kappa, krippendorff_alpha};
pub use bootstrap::{RESAMPLES, cluster_bootstrap, cluster_interval};
pub use clusters::{DesignEffect, Unit, by_unit, design_effect};
pub use paired::{Difference, Figure, Pair, compared, paired};
pub use planning::{POWER, sample_size, smallest_detectable};
pub use ranks::{RankInterval, rank_intervals};
pub use risk_coverage::{Claim, RiskCoverage, RiskPoint, risk_coverage};
pub use wilson::wilson;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// The mean, the same for every order of the values; none of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| sum(values) / values.len() as f64)
}

/// The standard deviation of a sample (n - 1); none with fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let centre = mean(values).filter(|_| values.len() > 1)?;
    let squares: Vec<f64> = values
        .iter()
        .map(|value| (value - centre).powi(2))
        .collect();
    Some((sum(&squares) / (values.len() - 1) as f64).sqrt())
}

/// Floating-point addition depends on the order, so there is one: ascending.
fn sum(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.iter().sum()
}
