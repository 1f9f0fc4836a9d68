//! From graded answers to the figures of one run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grading::Verdict;
use crate::probe::Dimension;

/// The condition under which a probe was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    Cold,
    Baseline,
    Post,
}

/// One graded answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// The probe's label.
    pub probe: String,
    pub dimension: Dimension,
    pub arm: Arm,
    pub grade: f64,
    pub verdict: Verdict,
}

/// The figures of one dimension. A figure that is not defined is none, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DimensionScore {
    /// How many probes the figures stand on.
    pub n: usize,
    pub cold: Option<f64>,
    pub baseline: Option<f64>,
    pub post: Option<f64>,
    /// `(post - cold) / (baseline - cold)`, clipped to `[0, 1.25]`; none where
    /// `baseline - cold < 0.1`.
    pub retention: Option<f64>,
    /// P(right after | right before).
    pub item_retention: Option<f64>,
    /// Share of post-break answers that are stale; SF only.
    pub stale_rate: Option<f64>,
    pub abstained_rate: Option<f64>,
    pub wrong_rate: Option<f64>,
}

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunScore {
    pub dimensions: BTreeMap<Dimension, DimensionScore>,
    /// Mean of `post` over the dimensions that have probes; none where there was no break.
    pub overall_score: Option<f64>,
    /// At least 75 % (rounded up) of the dimensions asked for are at or over the pass mark.
    pub passed: Option<bool>,
}

/// Adds up one run. `broke`: there is evidence of a break; without it there is no post-break score.
pub fn score_run(
    _asked: &[Dimension],
    _answers: &[Graded],
    _pass_mark: f64,
    _broke: bool,
) -> RunScore {
    RunScore {
        dimensions: BTreeMap::new(),
        overall_score: None,
        passed: None,
    }
}
