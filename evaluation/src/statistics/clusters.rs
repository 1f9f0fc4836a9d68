//! How much less answers of one session say than as many answers of different ones.

use serde::{Deserialize, Serialize};

use super::{mean, sum};

/// The price of asking many questions of one session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesignEffect {
    /// Intraclass correlation, from the analysis of variance; negative where answers of a session
    /// are less alike than those of different ones.
    pub icc: f64,
    /// How many times larger the variance of the mean is than with independent answers, at least 1.
    pub effect: f64,
    /// So many independent answers would say as much.
    pub effective_n: f64,
}

/// Kish's design effect `1 + (m - 1) · ICC` (Survey Sampling, 1965), with the one-way random effects
/// ICC and, for clusters of different size, `m = Σ n² / Σ n`.
///
/// None with fewer than two clusters that have values, with one value each, or where all values are
/// the same.
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
    // The size that clusters of different size behave like.
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

    /// Shrout and Fleiss (Psychological Bulletin 86, 1979), table 2: six targets rated by four judges,
    /// ICC(1,1) = 0.17.
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
    fn one_answer_per_session_has_no_correlation() {
        assert_eq!(design_effect(&[vec![0.2], vec![0.7]]), None);
        assert_eq!(design_effect(&[vec![0.2, 0.3]]), None);
    }
}
