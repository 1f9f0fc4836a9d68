//! Standard deviations of the difference of two agents, from earlier results.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use evaluation::leaderboard::pull_request_of;
use evaluation::statistics::{mean, standard_deviation};
use results::document::{ResultDocument, TaskPart};

use crate::usage_error::UsageError;

/// The agents to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agents {
    /// A number of agents.
    Count(usize),
    /// Two named agents.
    Pair(String, String),
}

impl Agents {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Pair(..) => 2,
        }
    }
}

impl FromStr for Agents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(count) = text.parse::<usize>() {
            return if count >= 2 {
                Ok(Self::Count(count))
            } else {
                Err("at least two agents are needed".to_owned())
            };
        }
        match text.split_once(',') {
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(',') && a != b => {
                Ok(Self::Pair(a.to_owned(), b.to_owned()))
            }
            Some(_) | None => Err("a number, or two different agents: A,B".to_owned()),
        }
    }
}

/// Standard deviations of the difference of two agents.
#[derive(Debug, PartialEq)]
pub(super) struct Spreads {
    pub(super) a: String,
    pub(super) b: String,
    /// Number of results with trials of both agents.
    pub(super) results: usize,
    pub(super) pull_requests: usize,
    pub(super) between: f64,
    pub(super) within: f64,
    pub(super) notes: Vec<String>,
}

/// Computes the standard deviations of the difference of two agents over results.
pub(super) async fn measured(files: &[PathBuf], agents: &Agents) -> anyhow::Result<Spreads> {
    let mut notes = Vec::new();
    let mut documents: Vec<ResultDocument> = Vec::with_capacity(files.len());
    for file in files {
        let text = tokio::fs::read_to_string(file)
            .await
            .with_context(|| UsageError(format!("could not read --from {}", file.display())))?;
        let document: ResultDocument = serde_json::from_str(&text).with_context(|| {
            UsageError(format!(
                "--from {} is not a result document",
                file.display()
            ))
        })?;
        let id = document.task.id;
        if documents.iter().any(|other| other.task.id == id) {
            notes.push(format!(
                "{} repeats task {id} and is ignored",
                file.display()
            ));
        } else {
            documents.push(document);
        }
    }
    may_be_mixed(&documents)?;
    let (a, b) = pair(&documents, agents)?;
    notes.extend(differences_of_setup(&documents, [&a, &b]));
    let mut results = 0;
    // Several results of one pull request count as more trials of it.
    let mut by_pull_request: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for document in &documents {
        let of = |agent: &str, trial: i32| {
            let mut runs = document.runs.iter();
            runs.find(|run| run.agent == agent && run.trial == trial)
                .and_then(|run| run.overall_score)
        };
        let own: Vec<f64> = (1..=document.task.trials)
            .filter_map(|trial| Some(of(&a, trial)? - of(&b, trial)?))
            .collect();
        if own.is_empty() {
            let id = document.task.id;
            notes.push(format!("task {id} has no trial with scores of {a} and {b}"));
            continue;
        }
        results += 1;
        let pull_request = pull_request(&document.task);
        by_pull_request.entry(pull_request).or_default().extend(own);
    }
    let differences: Vec<Vec<f64>> = by_pull_request.into_values().collect();
    let (between, within) = spreads(&differences)?;
    Ok(Spreads {
        a,
        b,
        results,
        pull_requests: differences.len(),
        between,
        within,
        notes,
    })
}

/// Returns the pull request of a task.
fn pull_request(task: &TaskPart) -> String {
    pull_request_of(&task.pr_url, task.base.as_deref(), task.head.as_deref())
}

/// Refuses results that are not comparable.
fn may_be_mixed(documents: &[ResultDocument]) -> anyhow::Result<()> {
    let several = |of: &dyn Fn(&ResultDocument) -> String| -> Option<String> {
        let values: BTreeSet<String> = documents.iter().map(of).collect();
        (values.len() > 1).then(|| values.into_iter().collect::<Vec<_>>().join(", "))
    };
    if let Some(versions) = several(&|document| document.task.instrument_version.clone()) {
        bail!(UsageError(format!(
            "--from: the results are of several versions of the instrument ({versions}), whose figures \
             are not compared"
        )));
    }
    if several(&|document| document.model_stub.to_string()).is_some() {
        bail!(UsageError(
            "--from: some of the results are of a model stub and some are of models".to_owned()
        ));
    }
    Ok(())
}

/// Returns differences between the runs of an agent, and other limits of the standard deviations.
fn differences_of_setup(documents: &[ResultDocument], agents: [&str; 2]) -> Vec<String> {
    let mut notes = Vec::new();
    if documents.iter().any(|document| document.model_stub) {
        notes.push("the models were a stub: the spreads say nothing of any model".to_owned());
    }
    for agent in agents {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let runs = documents.iter().flat_map(|document| &document.runs);
        for run in runs.filter(|run| run.agent == agent && run.overall_score.is_some()) {
            for (name, value) in &run.manifest {
                values.entry(name).or_default().insert(value);
            }
        }
        let several: Vec<&str> = values
            .into_iter()
            .filter_map(|(name, values)| (values.len() > 1).then_some(name))
            .collect();
        if !several.is_empty() {
            notes.push(format!(
                "not the same in all runs of {agent}: {}",
                several.join(", ")
            ));
        }
    }
    notes
}

/// Returns the two agents to compare, always in the same order.
fn pair(documents: &[ResultDocument], agents: &Agents) -> anyhow::Result<(String, String)> {
    if let Agents::Pair(a, b) = agents {
        return Ok((a.clone(), b.clone()));
    }
    let measured: BTreeSet<&str> = documents
        .iter()
        .flat_map(|document| &document.runs)
        .filter(|run| run.overall_score.is_some())
        .map(|run| run.agent.as_str())
        .collect();
    let measured: Vec<&str> = measured.into_iter().collect();
    match measured.as_slice() {
        [a, b] => Ok(((*a).to_owned(), (*b).to_owned())),
        [] | [_] => bail!("the results have scores of fewer than two agents"),
        several => bail!(UsageError(format!(
            "the results have scores of {}: name two of them with --agents A,B",
            several.join(", ")
        ))),
    }
}

/// Computes the standard deviations between and within pull requests.
///
/// Within: the pooled variance, weighted by degrees of freedom. Between: the variance of the means
/// minus the part that comes from the trials, `within² / trials` (analysis of variance of a random
/// effect; Searle, Casella and `McCulloch`, Variance Components, 1992, 3.6). A negative result
/// counts as 0.
fn spreads(differences: &[Vec<f64>]) -> anyhow::Result<(f64, f64)> {
    let filled: Vec<&Vec<f64>> = differences.iter().filter(|one| !one.is_empty()).collect();
    let (mut squares, mut freedom) = (0.0, 0.0);
    for one in &filled {
        if let Some(spread) = standard_deviation(one) {
            let own = one.len() as f64 - 1.0;
            squares += own * spread * spread;
            freedom += own;
        }
    }
    if freedom <= 0.0 {
        bail!("the spread within pull requests needs at least two trials of one pull request");
    }
    let within = squares / freedom;
    let means: Vec<f64> = filled.iter().filter_map(|one| mean(one)).collect();
    let of_means = standard_deviation(&means)
        .context("the spread between pull requests needs results of at least two pull requests")?;
    let shares: Vec<f64> = filled.iter().map(|one| 1.0 / one.len() as f64).collect();
    let share = mean(&shares).unwrap_or(1.0);
    let between = (of_means * of_means - within * share).max(0.0);
    Ok((between.sqrt(), within.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::{Agents, spreads};

    /// statsmodels 0.15.0, the random intercept of these twelve differences by restricted maximum
    /// likelihood, which for equal numbers of trials is the analysis of variance: 0.152 45
    /// between, 0.096 82 within.
    #[test]
    fn what_trials_vary_is_not_counted_between_pull_requests_again() {
        let (between, within) = spreads(&[
            vec![0.10, 0.25, 0.05],
            vec![0.40, 0.30, 0.50],
            vec![-0.05, 0.10, 0.00],
            vec![0.20, 0.35, 0.15],
        ])
        .expect("four pull requests of three trials");
        assert!((between - 0.152_449).abs() < 1e-4, "{between}");
        assert!((within - 0.096_825).abs() < 1e-4, "{within}");
        // Means that vary no more than the trials explain give 0 between pull requests.
        let (between, _) = spreads(&[vec![0.1, -0.1], vec![0.1, -0.1]]).expect("two");
        assert!(between.abs() < 1e-12);
        assert!(spreads(&[vec![0.1], vec![0.2]]).is_err());
        assert!(spreads(&[vec![0.1, 0.2]]).is_err());
    }

    /// Pooled by degrees of freedom: three trials weigh twice as much as two.
    #[test]
    fn variances_within_pull_requests_are_pooled() {
        let (_, within) = spreads(&[vec![0.0, 0.2], vec![0.0, 0.3, 0.6]]).expect("two");
        let pooled = (0.02 + 2.0 * 0.09) / 3.0_f64;
        assert!((within - pooled.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn agents_are_a_number_or_a_pair() {
        let pair = Agents::Pair("claude".to_owned(), "control-lossy:0.5".to_owned());
        assert_eq!("claude,control-lossy:0.5".parse(), Ok(pair));
        assert_eq!("3".parse(), Ok(Agents::Count(3)));
        for wrong in ["1", "claude", "a,a", "a,b,c", ",b"] {
            assert!(wrong.parse::<Agents>().is_err(), "{wrong}");
        }
    }
}
