//! Risk and coverage over several tasks, put together from the curves of each.

use std::collections::BTreeMap;

use evaluation::statistics::{Claim, risk_coverage as curve};

use crate::result::{ResultDocument, RiskCoveragePart, RiskPointPart, RunPart};

/// By agent: one curve over all answers of the documents' runs that are part of it.
///
/// A document has a curve and no answers, but a curve and the number of answers give them back: what
/// is covered at each confidence, and how much of it is not right.
pub(super) fn risk_coverage(
    documents: &[ResultDocument],
    is_part: impl Fn(&ResultDocument, &RunPart) -> bool,
) -> BTreeMap<String, RiskCoveragePart> {
    let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    for document in documents {
        for (agent, found) in &document.risk_coverage {
            let answers: usize = document
                .runs
                .iter()
                .filter(|run| run.agent == *agent && is_part(document, run))
                .filter_map(|run| Some(run.honesty?.answers))
                .sum();
            if answers > 0 {
                let own = claims.entry(agent.clone()).or_default();
                own.extend(given_back(found, answers));
            }
        }
    }
    claims
        .into_iter()
        .map(|(agent, claims)| {
            let found = curve(&claims);
            let points = found.points.iter().map(|point| RiskPointPart {
                coverage: point.coverage,
                risk: point.risk,
                least_confidence: point.least_confidence,
            });
            let part = RiskCoveragePart {
                points: points.collect(),
                area: found.area,
            };
            (agent, part)
        })
        .collect()
}

fn given_back(found: &RiskCoveragePart, answers: usize) -> Vec<Claim> {
    let mut claims = Vec::with_capacity(answers);
    let (mut covered, mut wrong) = (0, 0);
    for point in &found.points {
        let all = whole(point.coverage * answers as f64);
        let not_right = whole(point.risk * all as f64);
        let (new, errors) = (all.saturating_sub(covered), not_right.saturating_sub(wrong));
        claims.extend((0..new).map(|at| Claim {
            confidence: point.least_confidence,
            right: at >= errors,
            claimed: true,
        }));
        (covered, wrong) = (all, not_right);
    }
    let silent = answers.saturating_sub(claims.len());
    claims.extend((0..silent).map(|_| Claim {
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
fn whole(count: f64) -> usize {
    count.round().max(0.0) as usize
}
