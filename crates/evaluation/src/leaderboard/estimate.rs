//! Means with their intervals.

use serde::{Deserialize, Serialize};

use crate::statistics::{Interval, cluster_interval, mean};

/// A mean with its 95 % interval. A single trial has no interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Estimate {
    pub mean: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl Estimate {
    pub fn new(mean: Option<f64>, interval: Option<Interval>) -> Self {
        Self {
            mean,
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
        }
    }
}

/// Returns the mean of one figure per run, with its interval.
pub fn estimate(figures: &[f64], seed: u64) -> Estimate {
    let clusters: Vec<Vec<f64>> = figures.iter().map(|&figure| vec![figure]).collect();
    estimate_of(&clusters, seed)
}

/// Returns the mean of all figures of all clusters, with its interval. Whole clusters are
/// resampled. The figures are scores or shares of one.
pub fn estimate_of(clusters: &[Vec<f64>], seed: u64) -> Estimate {
    within(clusters, seed, 1.0)
}

/// Does the same for figures with the maximum `most`.
pub(super) fn within(clusters: &[Vec<f64>], seed: u64, most: f64) -> Estimate {
    let interval = cluster_interval(clusters, seed, 0.0..=most);
    Estimate::new(mean(&clusters.concat()), interval)
}
