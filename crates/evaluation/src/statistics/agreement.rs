//! Agreement of judges beyond chance.

use serde::{Deserialize, Serialize};

use super::bootstrap::statistic_interval;
use super::summary::Interval;

/// A coefficient of agreement: 1 is perfect, 0 is chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    pub value: f64,
    /// Bootstrap over whole clusters, 95 %. `None` with a single one, or if resamples leave it
    /// undefined. A cluster is a run: verdicts about the facts of one text depend on each other.
    pub interval: Option<Interval>,
    /// Number of items.
    pub items: usize,
}

/// Cohen's kappa of two judges (Cohen 1960): `(p_o - p_e) / (1 - p_e)`.
///
/// Returns `None` without items, or if both always give the same verdict: chance alone would then
/// agree.
pub fn cohens_kappa(clusters: &[Vec<(bool, bool)>], seed: u64) -> Option<Agreement> {
    let all: Vec<&(bool, bool)> = clusters.iter().flatten().collect();
    Some(Agreement {
        value: kappa(&all)?,
        interval: statistic_interval(clusters, seed, kappa),
        items: all.len(),
    })
}

fn kappa(votes: &[&(bool, bool)]) -> Option<f64> {
    let n = votes.len() as f64;
    let share = |of: &dyn Fn(&(bool, bool)) -> bool| {
        votes.iter().filter(|vote| of(vote)).count() as f64 / n
    };
    let agreed = share(&|(a, b)| a == b);
    let (first, second) = (share(&|(a, _)| *a), share(&|(_, b)| *b));
    let by_chance = first * second + (1.0 - first) * (1.0 - second);
    (n > 0.0 && by_chance < 1.0 - 1e-12).then(|| (agreed - by_chance) / (1.0 - by_chance))
}

/// Krippendorff's alpha for nominal votes of any number of judges, some of which may be missing
/// (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").
///
/// An item is one list of votes, a vote per judge. Items with fewer than two votes say nothing
/// about agreement and are left out. Returns `None` if no such item is left, or if all votes are
/// the same.
pub fn krippendorff_alpha(clusters: &[Vec<Vec<Option<bool>>>], seed: u64) -> Option<Agreement> {
    // For each item: the number of votes for yes and for no.
    let counted = |votes: &Vec<Option<bool>>| {
        let yes = votes.iter().filter(|vote| **vote == Some(true)).count();
        let no = votes.iter().filter(|vote| **vote == Some(false)).count();
        (yes, no)
    };
    let counts: Vec<Vec<(usize, usize)>> = clusters
        .iter()
        .map(|items| {
            let counts = items.iter().map(counted);
            counts.filter(|(yes, no)| yes + no >= 2).collect()
        })
        .collect();
    let all: Vec<&(usize, usize)> = counts.iter().flatten().collect();
    Some(Agreement {
        value: alpha(&all)?,
        interval: statistic_interval(&counts, seed, alpha),
        items: all.len(),
    })
}

/// `1 - D_o / D_e` from coincidences: each pair of votes of an item counts `1 / (votes - 1)`.
fn alpha(items: &[&(usize, usize)]) -> Option<f64> {
    let (mut mixed, mut yes_all, mut no_all) = (0.0, 0.0, 0.0);
    for &&(yes, no) in items {
        let (yes, no) = (yes as f64, no as f64);
        // Both orders of a pair are counted, as in the coincidence matrix.
        mixed += 2.0 * yes * no / (yes + no - 1.0);
        yes_all += yes;
        no_all += no;
    }
    let n: f64 = yes_all + no_all;
    let expected = 2.0 * yes_all * no_all / (n - 1.0);
    (n > 1.0 && expected > 0.0).then(|| 1.0 - mixed / expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 2 x 2 table of yes/no readings that texts on kappa use: 20 both yes, 15 both no, 5 and
    /// 10 mixed. `p_o = 0.7`, `p_e = 0.5`, so kappa = 0.4.
    #[test]
    fn kappa_of_a_known_table() {
        let mut votes = vec![(true, true); 20];
        votes.extend([(true, false); 5]);
        votes.extend([(false, true); 10]);
        votes.extend([(false, false); 15]);
        let single: Vec<Vec<(bool, bool)>> = votes.iter().map(|vote| vec![*vote]).collect();
        let kappa = cohens_kappa(&single, 1).expect("defined");
        assert!((kappa.value - 0.4).abs() < 1e-12);
        // NumPy 2.4.6, 100,000 resamples with tails of 0.022 5: [0.131, 0.642]. The asymptotic
        // interval of statsmodels 0.15.0 is [0.151, 0.649].
        let interval = kappa.interval.expect("fifty items");
        assert!((interval.low - 0.131).abs() < 0.015, "{interval:?}");
        assert!((interval.high - 0.642).abs() < 0.015, "{interval:?}");
        assert_eq!(cohens_kappa(&[vec![(true, true); 9]], 1), None);
        assert_eq!(cohens_kappa(&[], 1), None);
    }

    /// Forty facts of two runs are not forty independent items.
    #[test]
    fn the_facts_of_one_run_are_resampled_together() {
        let run = |agreed: usize| -> Vec<(bool, bool)> {
            let both = (0..20).map(|at| (at % 2 == 0, (at % 2 == 0) == (at < agreed)));
            both.collect()
        };
        let apart: Vec<Vec<(bool, bool)>> = [run(20), run(10)]
            .iter()
            .flatten()
            .map(|vote| vec![*vote])
            .collect();
        let width = |clusters: &[Vec<(bool, bool)>]| {
            let found = cohens_kappa(clusters, 1).expect("defined");
            let interval = found.interval.expect("more than one cluster");
            (found.value, interval.high - interval.low)
        };
        let (value, apart) = width(&apart);
        let (same, together) = width(&[run(20), run(10)]);
        assert!((value - same).abs() < 1e-12);
        assert!(together > apart * 1.5, "{together} and {apart}");
        // One run alone cannot be resampled.
        assert_eq!(cohens_kappa(&[run(10)], 1).expect("defined").interval, None);
    }

    /// Krippendorff (2011), the worked example of binary data of two observers and ten units:
    /// alpha = 0.095.
    #[test]
    fn alpha_of_the_worked_example() {
        let a = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0];
        let b = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0];
        let items: Vec<Vec<Option<bool>>> = a
            .iter()
            .zip(b)
            .map(|(&a, b)| vec![Some(a == 1), Some(b == 1)])
            .collect();
        let alpha = krippendorff_alpha(&[items], 1).expect("defined");
        assert!((alpha.value - 0.095).abs() < 5e-4, "{}", alpha.value);
    }

    /// The package `krippendorff` 0.9.0 (Python) gives 0.652 605 for these votes of three judges,
    /// and [0.324, 0.926] over 20,000 resamples of the items by NumPy, with tails of 0.015 9.
    #[test]
    fn alpha_of_three_judges_as_another_program_has_it() {
        let judges = [
            "110100110 1.010110010",
            "110000111 110101.0010",
            "100101110 110.0110011",
        ];
        let votes: Vec<Vec<Option<bool>>> = judges
            .iter()
            .map(|judge| {
                let letters = judge.chars().filter(|letter| *letter != ' ');
                letters
                    .map(|letter| match letter {
                        '1' => Some(true),
                        '0' => Some(false),
                        _ => None,
                    })
                    .collect()
            })
            .collect();
        // Each item by itself, as that program resamples them.
        let items: Vec<Vec<Vec<Option<bool>>>> = (0..20)
            .map(|item| vec![votes.iter().map(|judge| judge[item]).collect()])
            .collect();
        let alpha = krippendorff_alpha(&items, 1).expect("defined");
        assert!((alpha.value - 0.652_605).abs() < 1e-6, "{}", alpha.value);
        let interval = alpha.interval.expect("twenty items");
        assert!((interval.low - 0.324).abs() < 0.03, "{interval:?}");
        assert!((interval.high - 0.926).abs() < 0.03, "{interval:?}");
    }

    #[test]
    fn a_missing_vote_is_no_vote() {
        let whole = vec![
            vec![Some(true), Some(true)],
            vec![Some(false), Some(true)],
            vec![Some(false), Some(false)],
        ];
        let mut holed = whole.clone();
        holed.push(vec![Some(true), None]);
        holed.push(vec![None, None]);
        let (whole, holed) = (
            krippendorff_alpha(&[whole], 1),
            krippendorff_alpha(&[holed], 1),
        );
        assert_eq!(whole, holed);
    }
}
