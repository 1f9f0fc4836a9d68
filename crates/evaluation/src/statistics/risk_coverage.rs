//! Growth of errors with the claimed knowledge of an agent.

use serde::{Deserialize, Serialize};

use super::summary::sum;

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// The confidence that the agent stated, in `[0, 1]`.
    pub confidence: Option<f64>,
    pub right: bool,
    /// Whether the answer claims knowledge. An abstention is never covered.
    pub claimed: bool,
}

/// A risk-coverage curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RiskCoverage {
    /// Points by growing coverage. Empty if nothing is claimed.
    pub points: Vec<RiskPoint>,
    /// Mean risk over the reached coverage. `None` with fewer than two points.
    pub area: Option<f64>,
}

/// One point: the answers with at least this confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RiskPoint {
    /// Share of all questions.
    pub coverage: f64,
    /// Share of these answers that are not right.
    pub risk: f64,
    /// `None` for answers that state no confidence.
    pub least_confidence: Option<f64>,
}

/// Returns the risk-coverage curve of answers (El-Yaniv and Wiener, JMLR 11, 2010).
///
/// Answers are ordered by stated confidence, highest first. Equally confident answers are one
/// point, because they have no order. Answers without a stated confidence come last, together.
///
/// The area is the mean of the risk over the coverage, as in Geifman and El-Yaniv (2017).
pub fn risk_coverage(answers: &[Claim]) -> RiskCoverage {
    let mut claimed: Vec<&Claim> = answers.iter().filter(|answer| answer.claimed).collect();
    // `None` is the smallest and comes last.
    claimed.sort_by(|a, b| match (a.confidence, b.confidence) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    let mut points = Vec::new();
    let (mut covered, mut wrong) = (0_usize, 0_usize);
    for (at, answer) in claimed.iter().enumerate() {
        covered += 1;
        wrong += usize::from(!answer.right);
        let last = claimed
            .get(at + 1)
            .is_none_or(|next| next.confidence != answer.confidence);
        if last {
            points.push(RiskPoint {
                coverage: covered as f64 / answers.len() as f64,
                risk: wrong as f64 / covered as f64,
                least_confidence: answer.confidence,
            });
        }
    }
    let mut before = 0.0;
    let parts: Vec<f64> = points
        .iter()
        .map(|point| {
            let part = (point.coverage - before) * point.risk;
            before = point.coverage;
            part
        })
        .collect();
    RiskCoverage {
        area: (points.len() > 1).then(|| sum(&parts) / before),
        points,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(confidence: Option<f64>, right: bool) -> Claim {
        Claim {
            confidence,
            right,
            claimed: true,
        }
    }

    #[test]
    fn the_surest_go_first_and_the_unsure_of_it_last() {
        let abstained = Claim {
            confidence: Some(1.0),
            right: false,
            claimed: false,
        };
        let curve = risk_coverage(&[
            claim(Some(0.2), false),
            claim(Some(0.9), true),
            claim(None, false),
            claim(Some(0.9), true),
            abstained,
        ]);
        let points: Vec<(f64, f64)> = curve
            .points
            .iter()
            .map(|point| (point.coverage, point.risk))
            .collect();
        assert_eq!(points, [(0.4, 0.0), (0.6, 1.0 / 3.0), (0.8, 0.5)]);
        assert_eq!(curve.points[2].least_confidence, None);
        // (0.4 · 0 + 0.2 · 1/3 + 0.2 · 1/2) / 0.8
        let area = curve.area.expect("three points");
        assert!((area - (0.2 / 3.0 + 0.1) / 0.8).abs() < 1e-12);
    }

    #[test]
    fn without_stated_confidence_there_is_one_point_and_no_area() {
        let curve = risk_coverage(&[claim(None, true), claim(None, false)]);
        assert_eq!(curve.points.len(), 1);
        assert_eq!((curve.points[0].coverage, curve.points[0].risk), (1.0, 0.5));
        assert_eq!(curve.area, None);
        assert_eq!(risk_coverage(&[]), RiskCoverage::default());
    }
}
