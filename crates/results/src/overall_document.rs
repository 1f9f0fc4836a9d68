//! The document over several tasks: the leaderboard over all tasks, from result documents.

use std::collections::{BTreeMap, HashMap};

use domain::vocabulary::{Dimension, RunStatus};
use entity::RunId;
use evaluation::INSTRUMENT_VERSION;
use evaluation::leaderboard::{Comparison, IMPORTED, pull_request_of};
use evaluation::statistics::RiskCoverage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{ResultDocument, RowPart, RunPart};
use crate::ranking::{
    INSTRUMENT_VERSION_FIELD, OverallOptions, RankedRecall, RankedRun, is_stub, overall_leaderboard,
};
use crate::risk_coverage;

/// Agents over several tasks. Within one schema number the document only grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OverallDocument {
    /// Schema number.
    pub schema: u32,
    /// Version of the instrument. Runs of other versions are left out.
    pub instrument_version: String,
    /// Number of tasks with at least one measurement.
    pub tasks: usize,
    /// Number of measurements.
    pub runs: usize,
    /// Reason → number of runs that were left out.
    pub left_out: BTreeMap<String, usize>,
    /// Limit on the number of tasks, if it was reached: older tasks were not considered.
    #[serde(default)]
    pub cut_at_tasks: Option<u64>,
    /// Ranked agents, best first.
    pub leaderboard: Vec<RowPart>,
    /// Agents that are not ranked, each with its reason.
    #[serde(default)]
    pub unranked_agents: Vec<RowPart>,
    /// Each pair of ranked agents, by the overall scores of the sessions (task and trial) of both.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// Conditions that differ between ranked agents, other than their own versions and models.
    #[serde(default)]
    pub differs: Vec<String>,
    /// Agent → risk-coverage curve over all its measurements.
    #[serde(default)]
    pub risk_coverage: BTreeMap<String, RiskCoverage>,
    /// The measurements, for the plots.
    #[serde(skip)]
    pub measured: Vec<RunPart>,
    /// The pull request of each of them.
    #[serde(skip)]
    pub pull_requests: HashMap<RunId, String>,
}

/// Builds the document over several tasks.
///
/// Runs of a model stub, of another version of the instrument, or on an imported question bank are
/// left out and counted.
pub fn overall_document(documents: &[ResultDocument], pass_mark: f64) -> OverallDocument {
    let runs = documents.iter().flat_map(ranked_runs);
    let options = OverallOptions {
        pass_mark,
        include_stub: false,
    };
    let overall = overall_leaderboard(runs, &options);
    let pull_requests: HashMap<RunId, String> = overall.measured.into_iter().collect();
    let is_measured = |run: &RunPart| pull_requests.contains_key(&run.id);
    let measured: Vec<RunPart> = documents
        .iter()
        .flat_map(|document| &document.runs)
        .filter(|run| is_measured(run))
        .cloned()
        .collect();
    let board = overall.board;
    OverallDocument {
        schema: 1,
        instrument_version: INSTRUMENT_VERSION.to_owned(),
        tasks: overall.tasks,
        runs: measured.len(),
        left_out: overall.left_out,
        cut_at_tasks: None,
        comparisons: board.comparisons,
        leaderboard: board.ranked.into_iter().map(Into::into).collect(),
        unranked_agents: board.unranked.into_iter().map(Into::into).collect(),
        differs: board.differs,
        risk_coverage: risk_coverage::merged(documents, is_measured),
        measured,
        pull_requests,
    }
}

/// Returns the runs of a document as leaderboards see them.
fn ranked_runs(document: &ResultDocument) -> Vec<RankedRun> {
    let judge = document.judging.ranking_judge();
    let identity = document.judging.ranking_identity();
    let pull_request = pull_request_of(
        &document.task.pr_url,
        document.task.base.as_deref(),
        document.task.head.as_deref(),
    );
    // In documents of the first versions only the task has the version of the instrument.
    let is_old = document
        .runs
        .iter()
        .all(|run| !run.manifest.contains_key(INSTRUMENT_VERSION_FIELD));
    let recall = |run: &RunPart| -> Option<RankedRecall> {
        Some(RankedRecall {
            value: recall_by(run, judge.as_deref()?)?,
            judge: identity.clone()?,
        })
    };
    document
        .runs
        .iter()
        .map(|run| RankedRun {
            id: run.id,
            task: document.task.id,
            agent: run.agent.clone(),
            trial: run.trial.unsigned_abs(),
            state: run.state(),
            pull_request: pull_request.clone(),
            model_stub: run.model_stub || run.model.as_deref().is_some_and(is_stub),
            instrument_version: match run.manifest.get(INSTRUMENT_VERSION_FIELD) {
                Some(version) => Some(version.clone()),
                None if is_old && run.status == RunStatus::Done => {
                    Some(document.task.instrument_version.clone())
                }
                None => None,
            },
            imported_probes: document.task.question_bank.as_deref() == Some(IMPORTED),
            manifest: manifest(run),
            scores: Dimension::ALL
                .into_iter()
                .filter_map(|dimension| {
                    let score = run.dimensions.get(dimension.as_str())?;
                    Some((dimension, *score))
                })
                .collect(),
            overall_score: run.overall_score,
            passed: run.passed,
            recall: recall(run),
            duration_ms: run.duration_ms,
        })
        .collect()
}

/// Returns the conditions of a run. Documents of older versions contain only three of them.
fn manifest(run: &RunPart) -> BTreeMap<String, String> {
    if !run.manifest.is_empty() {
        return run.manifest.clone();
    }
    [
        ("agent_version", &run.agent_version),
        ("model", &run.model),
        ("manifest", &run.manifest_hash),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.clone().unwrap_or_default()))
    .collect()
}

/// Returns the free recall after the first break, as graded by `judge`.
fn recall_by(run: &RunPart, judge: &str) -> Option<f64> {
    let mut recalls = run.recall.iter();
    recalls
        .find(|part| part.arm == "post" && part.index == 1 && part.judge == judge)?
        .claims
        .recall
}
