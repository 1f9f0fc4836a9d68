//! Clusters of dependent figures, and the information that the dependence costs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::summary::{mean, sum};

/// Unit that is resampled as a whole, because its figures depend on each other.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One agent on one pull request in one trial. Does not generalise to other pull requests.
    #[default]
    Session,
    /// All sessions of one pull request.
    PullRequest,
}

impl Unit {
    /// Returns the unit by which figures of these pull requests are resampled: the pull request, as
    /// soon as there are two. Trials of one pull request share its peculiarities. If they counted
    /// as independent, an interval of three pull requests with ten trials each would cover the
    /// truth in only half of all cases.
    pub fn for_pull_requests<'a>(pull_requests: impl IntoIterator<Item = &'a str>) -> Self {
        let different: BTreeSet<&str> = pull_requests.into_iter().collect();
        if different.len() > 1 {
            Self::PullRequest
        } else {
            Self::Session
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::PullRequest => "pull_request",
        }
    }
}

/// Groups the figures of sessions, given with their pull requests, by the unit of resampling.
pub fn by_unit<'a>(
    sessions: impl IntoIterator<Item = (&'a str, Vec<f64>)>,
) -> (Unit, Vec<Vec<f64>>) {
    let sessions: Vec<(&str, Vec<f64>)> = sessions
        .into_iter()
        .filter(|(_, figures)| !figures.is_empty())
        .collect();
    let unit = Unit::for_pull_requests(sessions.iter().map(|(pull_request, _)| *pull_request));
    let clusters = match unit {
        Unit::Session => sessions.into_iter().map(|(_, figures)| figures).collect(),
        Unit::PullRequest => {
            let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for (pull_request, figures) in sessions {
                clusters.entry(pull_request).or_default().extend(figures);
            }
            clusters.into_values().collect()
        }
    };
    (unit, clusters)
}

/// Cost of asking many questions in one session, or of running many trials of one pull request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct DesignEffect {
    /// Intraclass correlation, from the analysis of variance. Negative if answers of a session are
    /// less alike than those of different sessions.
    pub icc: f64,
    /// Factor by which the variance of the mean exceeds that of independent answers, at least 1.
    pub effect: f64,
    /// Number of independent answers with the same information.
    pub effective_n: f64,
}

/// Returns Kish's design effect `1 + (m - 1) · ICC` (Survey Sampling, 1965), with the one-way
/// random effects ICC and, for clusters of different size, `m = Σ n² / Σ n`.
///
/// Returns `None` with fewer than two clusters with values, with one value each, or if all values
/// are the same.
pub fn design_effect(clusters: &[Vec<f64>]) -> Option<DesignEffect> {
    let clusters: Vec<&Vec<f64>> = clusters.iter().filter(|one| !one.is_empty()).collect();
    let sizes: Vec<f64> = clusters.iter().map(|one| one.len() as f64).collect();
    let all: Vec<f64> = clusters
        .iter()
        .flat_map(|one| one.iter().copied())
        .collect();
    let (k, n) = (clusters.len() as f64, all.len() as f64);
    if k < 2.0 || n <= k {
        return None;
    }
    let centre = mean(&all)?;
    let mut between = Vec::with_capacity(clusters.len());
    let mut within = Vec::with_capacity(all.len());
    for one in &clusters {
        let own = mean(one)?;
        between.push(one.len() as f64 * (own - centre).powi(2));
        within.extend(one.iter().map(|value| (value - own).powi(2)));
    }
    let (between, within) = (sum(&between) / (k - 1.0), sum(&within) / (n - k));
    let squares: f64 = sizes.iter().map(|size| size * size).sum();
    // The equivalent size of clusters of different size.
    let typical = (n - squares / n) / (k - 1.0);
    let total = between + (typical - 1.0) * within;
    if total <= 0.0 {
        return None;
    }
    let icc = (between - within) / total;
    let effect = 1.0 + (squares / n - 1.0) * icc.max(0.0);
    Some(DesignEffect {
        icc,
        effect,
        effective_n: n / effect,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_equal_answers_count_once_each() {
        let clusters = [vec![1.0; 8], vec![0.0; 8], vec![1.0; 8]];
        let effect = design_effect(&clusters).expect("defined");
        assert!((effect.icc - 1.0).abs() < 1e-12);
        assert!((effect.effect - 8.0).abs() < 1e-12);
        assert!((effect.effective_n - 3.0).abs() < 1e-12);
    }

    /// Shrout and Fleiss (Psychological Bulletin 86, 1979), table 2: six targets rated by four
    /// judges, ICC(1,1) = 0.17.
    #[test]
    fn the_icc_of_the_published_table() {
        let clusters = [
            vec![9.0, 2.0, 5.0, 8.0],
            vec![6.0, 1.0, 3.0, 2.0],
            vec![8.0, 4.0, 6.0, 8.0],
            vec![7.0, 1.0, 2.0, 6.0],
            vec![10.0, 5.0, 6.0, 9.0],
            vec![6.0, 2.0, 4.0, 7.0],
        ];
        let effect = design_effect(&clusters).expect("defined");
        assert!((effect.icc - 0.17).abs() < 5e-3, "{}", effect.icc);
    }

    #[test]
    fn sessions_are_resampled_by_pull_request_as_soon_as_there_are_two() {
        let (unit, clusters) = by_unit([("a", vec![0.1]), ("a", vec![0.2]), ("b", vec![])]);
        assert_eq!(
            (unit, clusters),
            (Unit::Session, vec![vec![0.1], vec![0.2]])
        );
        let (unit, clusters) = by_unit([("a", vec![0.1]), ("b", vec![0.2]), ("a", vec![0.3])]);
        assert_eq!(unit, Unit::PullRequest);
        assert_eq!(clusters, [vec![0.1, 0.3], vec![0.2]]);
    }

    #[test]
    fn one_answer_per_session_has_no_correlation() {
        assert_eq!(design_effect(&[vec![0.2], vec![0.7]]), None);
        assert_eq!(design_effect(&[vec![0.2, 0.3]]), None);
    }
}
