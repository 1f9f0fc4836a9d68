//! Computes the figures of one run from graded answers.

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::{Arm, Dimension, Verdict};
use serde::{Deserialize, Serialize};

use crate::statistics::mean;

/// With less knowledge from before the break, nothing can be forgotten.
const LEAST_KNOWN: f64 = 0.1;

/// A mean that misses a mark by less than this misses it only by rounding.
const ROUNDING: f64 = 1e-9;

/// One graded answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// Label of the probe.
    pub probe: String,
    pub dimension: Dimension,
    pub arm: Arm,
    pub grade: f64,
    pub verdict: Verdict,
}

/// Figures of one dimension. An undefined figure is `None`, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct DimensionScore {
    /// Number of probes of these figures.
    pub n: usize,
    pub cold: Option<f64>,
    pub baseline: Option<f64>,
    pub post: Option<f64>,
    /// `(post - cold) / (baseline - cold)`, clipped to `[0, 1.25]`. `None` if `baseline - cold <
    /// 0.1`.
    pub retention: Option<f64>,
    /// Probes that were right before the break and were asked again after it.
    #[serde(default)]
    pub known: Option<usize>,
    /// Those of them that are right after it.
    #[serde(default)]
    pub kept: Option<usize>,
    /// `kept / known`: P(right after | right before). `None` if nothing was known.
    pub item_retention: Option<f64>,
    /// Share of post-break answers that are stale; SF only.
    pub stale_rate: Option<f64>,
    /// Share of post-break answers that say "I don't recall".
    pub abstained_rate: Option<f64>,
    /// Share of post-break answers that claim something untrue and nothing of the expected answer.
    /// Together with right answers and the other four rates, they are all answers.
    pub wrong_rate: Option<f64>,
    /// Share of post-break answers that are partly right.
    #[serde(default)]
    pub partial_rate: Option<f64>,
    /// Share of post-break answers that are unreadable.
    #[serde(default)]
    pub unreadable_rate: Option<f64>,
}

/// Figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunScore {
    pub dimensions: BTreeMap<Dimension, DimensionScore>,
    /// Mean of `post` over the dimensions with probes. `None` without a break.
    pub overall_score: Option<f64>,
    /// At least 75 % (rounded up) of the requested dimensions with probes are at or over the pass
    /// mark.
    pub passed: Option<bool>,
}

/// Computes the figures of one run. `broke` states whether there is evidence of a break. Without it
/// there is no post-break score.
///
/// Every requested dimension is in the result, also one without probes for the pull request. Its
/// figures are `None`, and it counts neither in the overall score nor among the dimensions to pass:
/// a change without constants says nothing about an agent. *Right* in `item_retention` means
/// [`Verdict::Right`], so full marks. `wrong_rate` excludes partial, stale and unreadable answers.
pub fn score_run(asked: &[Dimension], answers: &[Graded], pass_mark: f64, broke: bool) -> RunScore {
    let dimensions: BTreeMap<Dimension, DimensionScore> = asked
        .iter()
        .map(|&dimension| (dimension, score_dimension(dimension, answers, broke)))
        .collect();
    let posts: BTreeMap<Dimension, Option<f64>> = dimensions
        .iter()
        .map(|(&dimension, score)| (dimension, score.post))
        .collect();
    let scored: Vec<f64> = posts.values().copied().flatten().collect();
    RunScore {
        dimensions,
        overall_score: mean(&scored),
        passed: (broke && !scored.is_empty()).then(|| passes(&posts, pass_mark)),
    }
}

/// Returns whether at least 75 % (rounded up) of the dimensions with a score are at or over the
/// pass mark: the same dimensions as in the overall score.
pub(crate) fn passes(scores: &BTreeMap<Dimension, Option<f64>>, pass_mark: f64) -> bool {
    let scored: Vec<f64> = scores.values().copied().flatten().collect();
    let over = scored
        .iter()
        .filter(|score| **score >= pass_mark - ROUNDING)
        .count();
    !scored.is_empty() && over >= (3 * scored.len()).div_ceil(4)
}

fn score_dimension(dimension: Dimension, answers: &[Graded], broke: bool) -> DimensionScore {
    let of_arm = |arm: Arm| -> BTreeMap<&str, &Graded> {
        answers
            .iter()
            .filter(|answer| answer.dimension == dimension && answer.arm == arm)
            .map(|answer| (answer.probe.as_str(), answer))
            .collect()
    };
    let (cold, baseline) = (of_arm(Arm::Cold), of_arm(Arm::Baseline));
    let post = if broke {
        of_arm(Arm::Post)
    } else {
        BTreeMap::new()
    };
    let probes: BTreeSet<&str> = [&cold, &baseline, &post]
        .into_iter()
        .flat_map(|arm| arm.keys().copied())
        .collect();
    let rate = |verdict: Verdict| {
        let hits = post
            .values()
            .filter(|answer| answer.verdict == verdict)
            .count();
        share(hits, post.len())
    };
    let means = [&cold, &baseline, &post].map(|arm| {
        let grades: Vec<f64> = arm.values().map(|answer| answer.grade).collect();
        mean(&grades)
    });
    let known: Vec<&&Graded> = baseline
        .iter()
        .filter(|(_, before)| before.verdict == Verdict::Right)
        .filter_map(|(probe, _)| post.get(probe))
        .collect();
    let kept = known
        .iter()
        .filter(|after| after.verdict == Verdict::Right)
        .count();
    DimensionScore {
        n: probes.len(),
        cold: means[0],
        baseline: means[1],
        post: means[2],
        retention: retention(means[0], means[1], means[2]),
        known: Some(known.len()).filter(|_| broke),
        kept: Some(kept).filter(|_| broke),
        item_retention: share(kept, known.len()),
        stale_rate: match dimension {
            Dimension::Sf => rate(Verdict::Stale),
            Dimension::Ar | Dimension::Ttl | Dimension::Lru => None,
        },
        abstained_rate: rate(Verdict::Abstained),
        wrong_rate: rate(Verdict::Wrong),
        partial_rate: rate(Verdict::Partial),
        unreadable_rate: rate(Verdict::Unreadable),
    }
}

/// Returns `(post - cold) / (baseline - cold)`, clipped to `[0, 1.25]`. Returns `None` if one of
/// them is missing or `baseline - cold < 0.1`: unknown facts cannot be forgotten.
pub fn retention(cold: Option<f64>, baseline: Option<f64>, post: Option<f64>) -> Option<f64> {
    let (cold, baseline, post) = (cold?, baseline?, post?);
    let known = baseline - cold;
    (known >= LEAST_KNOWN - ROUNDING).then(|| ((post - cold) / known).clamp(0.0, 1.25))
}

fn share(hits: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| hits as f64 / of as f64)
}
