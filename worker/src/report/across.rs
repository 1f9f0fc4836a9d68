//! One leaderboard over several tasks. Intervals resample pull requests, as soon as there are two.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::vocabulary::{Dimension, FailureCause, RunStatus};
use entity::RunId;
use evaluation::INSTRUMENT_VERSION;
use evaluation::leaderboard::{
    Estimate, IMPORTED, NO_BREAK, Outcome, RECALL_JUDGE, RunResult, UNKNOWN, leaderboard,
    pull_request_of, why_void,
};
use evaluation::scoring::{DimensionScore, RunScore};
use evaluation::statistics::Unit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::result::{
    DimensionPart, ResultDocument, RiskCoveragePart, RowPart, RunPart, ranking_identity,
    ranking_judge, row_part,
};

use super::risk::risk_coverage;

/// The seed of the resampling: the same runs give the same intervals.
const SEED: u64 = 1;

/// Agents over several tasks. Only grows within one schema number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Across {
    pub schema: u32,
    pub instrument_version: String,
    /// Tasks with at least one run that is ranked.
    pub tasks: usize,
    /// Runs that are measurements.
    pub runs: usize,
    /// Reason → runs that were left out.
    pub left_out: BTreeMap<String, usize>,
    /// There were more tasks than this document may stand on: the oldest were not looked at.
    #[serde(default)]
    pub cut_at_tasks: Option<u64>,
    /// The agents that are ranked, best first.
    pub leaderboard: Vec<RowPart>,
    /// The agents that are not ranked, each with its reason.
    #[serde(default)]
    pub unranked_agents: Vec<RowPart>,
    /// Every two ranked agents by the overall scores of the sessions (task and trial) of both.
    #[serde(default)]
    pub comparisons: Vec<SessionComparisonPart>,
    /// What is not the same for all ranked agents, beside their own versions and models.
    #[serde(default)]
    pub differs: Vec<String>,
    /// Agent → how its errors grow with what it claims to know, over all its runs that count.
    #[serde(default)]
    pub risk_coverage: BTreeMap<String, RiskCoveragePart>,
    /// The runs that count, for the plots.
    #[serde(skip)]
    pub measured: Vec<RunPart>,
    /// The pull request of each of them.
    #[serde(skip)]
    pub pull_requests: HashMap<RunId, String>,
}

/// Two agents by the overall scores of the sessions that both have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionComparisonPart {
    pub a: String,
    pub b: String,
    /// Sessions that both have.
    pub sessions: usize,
    /// What is resampled, and how many of it there are.
    pub unit: Unit,
    pub clusters: usize,
    /// The overall score of `a` minus that of `b`, with its 95 % interval.
    pub difference: Estimate,
    /// The interval covers 0, or there is none.
    pub tie: bool,
    /// The smallest difference that so many clusters could have shown (two-sided 5 %, power 80 %).
    pub smallest_detectable: Option<f64>,
}

/// Ranks agents over documents. Runs of other versions of the instrument, of model stubs, and on
/// probes that somebody chose, are left out and counted; what else differs is told by each row.
pub fn across(documents: &[ResultDocument], pass_mark: f64) -> Across {
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut results = Vec::new();
    let mut tasks = BTreeSet::new();
    let mut measured = Vec::new();
    let mut pull_requests = HashMap::new();
    for document in documents {
        let judge = ranking_judge(&document.judging);
        let identity = ranking_identity(&document.judging);
        for run in &document.runs {
            if let Some(reason) = why_apart(document, run) {
                *left_out.entry(reason.to_owned()).or_default() += 1;
                continue;
            }
            let mut result = result(document, run, judge.as_deref());
            if let (Some(_), Some(identity)) = (result.recall, &identity) {
                // Tasks may have been judged by others.
                result
                    .manifest
                    .insert(RECALL_JUDGE.to_owned(), identity.clone());
            }
            match &result.outcome {
                Outcome::Measured => {
                    tasks.insert(document.task.id);
                    measured.push(run.clone());
                    pull_requests.insert(run.id, result.pull_request.clone());
                }
                Outcome::Void { why } => *left_out.entry(why.clone()).or_default() += 1,
                Outcome::Unfinished => {
                    *left_out.entry("it is not done".to_owned()).or_default() += 1;
                }
                // Told beside each agent.
                Outcome::Failed { .. } => {}
            }
            results.push(result);
        }
    }
    let board = leaderboard(&results, pass_mark, SEED);
    let comparisons = board.comparisons.into_iter();
    Across {
        schema: 1,
        instrument_version: INSTRUMENT_VERSION.to_owned(),
        tasks: tasks.len(),
        runs: measured.len(),
        left_out,
        cut_at_tasks: None,
        comparisons: comparisons
            .map(|found| SessionComparisonPart {
                a: found.a,
                b: found.b,
                sessions: found.sessions,
                unit: found.unit,
                clusters: found.clusters,
                difference: found.difference,
                tie: found.tie,
                smallest_detectable: found.smallest_detectable,
            })
            .collect(),
        leaderboard: board.ranked.into_iter().map(row_part).collect(),
        unranked_agents: board.unranked.into_iter().map(row_part).collect(),
        differs: board.differs,
        risk_coverage: risk_coverage(documents, |document, run| {
            why_apart(document, run).is_none() && outcome(run) == Outcome::Measured
        }),
        measured,
        pull_requests,
    }
}

/// Why a run is no part of it at all, not even as a failure.
fn why_apart(document: &ResultDocument, run: &RunPart) -> Option<&'static str> {
    if run.model_stub {
        Some("the model was a stub")
    } else if version(document, run) != INSTRUMENT_VERSION {
        Some("measured by another version of the instrument")
    } else if document.task.question_bank.as_deref() == Some(IMPORTED) {
        Some("its probes are those of an imported question bank")
    } else {
        None
    }
}

/// The version of the instrument that measured a run: after an upgrade not that of the task's others.
fn version<'a>(document: &'a ResultDocument, run: &'a RunPart) -> &'a str {
    run.manifest
        .get("instrument_version")
        .unwrap_or(&document.task.instrument_version)
}

fn outcome(run: &RunPart) -> Outcome {
    let failed = |otherwise: &str| Outcome::Failed {
        cause: run
            .failure_cause
            .map_or_else(|| otherwise.to_owned(), |cause| cause.to_string()),
    };
    let void = |why: &str| Outcome::Void {
        why: why.to_owned(),
    };
    match run.status {
        RunStatus::Queued | RunStatus::Running | RunStatus::Judging => Outcome::Unfinished,
        RunStatus::Error => failed(UNKNOWN),
        RunStatus::Cancelled => failed(FailureCause::Cancelled.as_str()),
        RunStatus::Done if run.seal_broken => void(why_void(run.void_reason.as_deref())),
        RunStatus::Done if !run.compression_detected => void(NO_BREAK),
        RunStatus::Done => Outcome::Measured,
    }
}

fn result(document: &ResultDocument, run: &RunPart, judge: Option<&str>) -> RunResult {
    let dimensions = Dimension::ALL
        .into_iter()
        .filter_map(|dimension| {
            let part = run.dimensions.get(dimension.as_str())?;
            Some((dimension, figures(part)))
        })
        .collect();
    let told = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut manifest = run.manifest.clone();
    if manifest.is_empty() {
        // A document of an older version tells no more of it.
        manifest.insert("agent_version".to_owned(), told(&run.agent_version));
        manifest.insert("model".to_owned(), told(&run.model));
        manifest.insert("manifest".to_owned(), told(&run.manifest_hash));
    }
    RunResult {
        agent: run.agent.clone(),
        trial: run.trial.unsigned_abs(),
        pull_request: pull_request_of(
            &document.task.pr_url,
            document.task.base.as_deref(),
            document.task.head.as_deref(),
        ),
        session: format!("{}/{}", document.task.id, run.trial),
        outcome: outcome(run),
        recall: judge.and_then(|judge| recall(run, judge)),
        score: RunScore {
            dimensions,
            overall_score: run.overall_score,
            passed: run.passed,
        },
        manifest,
        duration_ms: run.duration_ms,
    }
}

/// What a run recovered in its free recall after the first break, by this judge.
fn recall(run: &RunPart, judge: &str) -> Option<f64> {
    let mut recalls = run.recall.iter();
    recalls
        .find(|part| part.arm == "post" && part.index == 1 && part.judge == judge)?
        .recall
}

fn figures(part: &DimensionPart) -> DimensionScore {
    DimensionScore {
        n: part.n,
        cold: part.cold,
        baseline: part.baseline,
        post: part.post,
        retention: part.retention,
        known: part.known,
        kept: part.kept,
        item_retention: part.item_retention,
        stale_rate: part.stale_rate,
        abstained_rate: part.abstained_rate,
        wrong_rate: part.wrong_rate,
        partial_rate: part.partial_rate,
        unreadable_rate: part.unreadable_rate,
    }
}
