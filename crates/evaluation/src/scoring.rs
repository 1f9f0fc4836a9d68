//! From graded answers to the figures of one run.

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::{Arm, Dimension, Verdict};
use serde::{Deserialize, Serialize};

use crate::statistics::mean;

/// Below this much knowledge from before the break there is nothing that could be forgotten.
const LEAST_KNOWN: f64 = 0.1;

/// A mean that falls short of a mark by less than this falls short by rounding only.
const ROUNDING: f64 = 1e-9;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct DimensionScore {
    /// How many probes the figures stand on.
    pub n: usize,
    pub cold: Option<f64>,
    pub baseline: Option<f64>,
    pub post: Option<f64>,
    /// `(post - cold) / (baseline - cold)`, clipped to `[0, 1.25]`; none where
    /// `baseline - cold < 0.1`.
    pub retention: Option<f64>,
    /// Probes that were right before the break and asked again after it.
    #[serde(default)]
    pub known: Option<usize>,
    /// Those of them that are right after it.
    #[serde(default)]
    pub kept: Option<usize>,
    /// `kept / known`: P(right after | right before); none where nothing was known.
    pub item_retention: Option<f64>,
    /// Share of post-break answers that are stale; SF only.
    pub stale_rate: Option<f64>,
    /// Share of post-break answers that say "I don't recall".
    pub abstained_rate: Option<f64>,
    /// Share of post-break answers that claim something untrue, and nothing of what is asked. With
    /// those that are right, and the other four rates, they are all answers.
    pub wrong_rate: Option<f64>,
    /// Share of post-break answers that are right in part.
    #[serde(default)]
    pub partial_rate: Option<f64>,
    /// Share of post-break answers that say nothing that can be read.
    #[serde(default)]
    pub unreadable_rate: Option<f64>,
}

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunScore {
    pub dimensions: BTreeMap<Dimension, DimensionScore>,
    /// Mean of `post` over the dimensions that have probes; none where there was no break.
    pub overall_score: Option<f64>,
    /// At least 75 % (rounded up) of the dimensions asked for, as far as they have probes, are at or
    /// over the pass mark.
    pub passed: Option<bool>,
}

/// Adds up one run. `broke`: there is evidence of a break; without it there is no post-break score.
///
/// Every dimension asked for is in the result, also one that the pull request has no probes of: its
/// figures are none, and it counts neither in the overall score nor among those to pass, because
/// that a change declares no constant says nothing of an agent. *Right* in `item_retention` means
/// [`Verdict::Right`], so full marks; `wrong_rate` counts neither partial, stale nor unreadable
/// answers.
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

/// Whether at least 75 % (rounded up) of the dimensions that have a score are at or over the pass
/// mark: the same dimensions as in the overall score.
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

/// `(post - cold) / (baseline - cold)`, clipped to `[0, 1.25]`; none where one of them is missing or
/// `baseline - cold < 0.1`: what was never known cannot have been forgotten.
pub fn retention(cold: Option<f64>, baseline: Option<f64>, post: Option<f64>) -> Option<f64> {
    let (cold, baseline, post) = (cold?, baseline?, post?);
    let known = baseline - cold;
    (known >= LEAST_KNOWN - ROUNDING).then(|| ((post - cold) / known).clamp(0.0, 1.25))
}

fn share(hits: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| hits as f64 / of as f64)
}
