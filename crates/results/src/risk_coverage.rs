//! Risk-coverage curves: the error rate of an agent by the share of questions that it answers.

use std::collections::BTreeMap;

use evaluation::statistics::{Claim, RiskCoverage, risk_coverage};

use crate::document::{ResultDocument, RunPart};

/// Returns one curve per agent over the answers of several documents.
///
/// Only runs for which `is_included` holds count. A document has a curve and no answers, but the
/// curve and the number of answers determine the claims: how many answers are covered at each
/// confidence, and how many of them are not right.
pub(crate) fn merged(
    documents: &[ResultDocument],
    is_included: impl Fn(&RunPart) -> bool,
) -> BTreeMap<String, RiskCoverage> {
    let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    for document in documents {
        for (agent, curve) in &document.risk_coverage {
            let answers: usize = document
                .runs
                .iter()
                .filter(|run| run.agent == *agent && is_included(run))
                .filter_map(|run| Some(run.honesty?.answers))
                .sum();
            if answers > 0 {
                let own = claims.entry(agent.clone()).or_default();
                own.extend(claims_of_curve(curve, answers));
            }
        }
    }
    claims
        .into_iter()
        .map(|(agent, claims)| (agent, risk_coverage(&claims)))
        .collect()
}

/// Reconstructs the claims behind a curve.
fn claims_of_curve(curve: &RiskCoverage, answers: usize) -> Vec<Claim> {
    let mut claims = Vec::with_capacity(answers);
    let (mut covered, mut wrong) = (0, 0);
    for point in &curve.points {
        let all = rounded(point.coverage * answers as f64);
        let not_right = rounded(point.risk * all as f64);
        let (new, errors) = (all.saturating_sub(covered), not_right.saturating_sub(wrong));
        claims.extend((0..new).map(|at| Claim {
            confidence: point.least_confidence,
            right: at >= errors,
            claimed: true,
        }));
        (covered, wrong) = (all, not_right);
    }
    let without_claim = answers.saturating_sub(claims.len());
    claims.extend((0..without_claim).map(|_| Claim {
        confidence: None,
        right: false,
        claimed: false,
    }));
    claims
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is neither negative nor larger than it"
)]
fn rounded(count: f64) -> usize {
    count.round().max(0.0) as usize
}
