//! One leaderboard over several tasks. A cluster is a session: agent × pull request × trial.

use std::collections::{BTreeMap, BTreeSet};

use entity::status::RunStatus;
use evaluation::INSTRUMENT_VERSION;
use evaluation::leaderboard::{RunResult, leaderboard};
use evaluation::probe::Dimension;
use evaluation::scoring::{DimensionScore, RunScore};
use serde::{Deserialize, Serialize};

use crate::result::{ResultDocument, RowPart, RunPart, row_part};

/// The seed of the resampling: the same runs give the same intervals.
const SEED: u64 = 1;

/// Agents over several tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Across {
    pub schema: u32,
    pub instrument_version: String,
    /// Tasks with at least one run that is ranked.
    pub tasks: usize,
    /// Runs that are ranked.
    pub runs: usize,
    /// Reason → runs that were left out.
    pub left_out: BTreeMap<String, usize>,
    pub leaderboard: Vec<RowPart>,
}

/// Ranks agents over documents. Runs of other versions of the instrument, and of model stubs, are
/// left out and counted; what else differs is told by each row.
pub fn across(documents: &[ResultDocument], pass_mark: f64) -> Across {
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut results = Vec::new();
    let mut tasks = BTreeSet::new();
    for document in documents {
        for run in &document.runs {
            match why_not(document, run) {
                Some(reason) => *left_out.entry(reason.to_owned()).or_default() += 1,
                None => {
                    let result = result(document, run);
                    if result.counts {
                        tasks.insert(document.task.id);
                    }
                    results.push(result);
                }
            }
        }
    }
    let rows = leaderboard(&results, pass_mark, SEED);
    Across {
        schema: 1,
        instrument_version: INSTRUMENT_VERSION.to_owned(),
        tasks: tasks.len(),
        runs: results.iter().filter(|result| result.counts).count(),
        left_out,
        leaderboard: rows.into_iter().map(|row| row_part(row, None)).collect(),
    }
}

fn why_not(document: &ResultDocument, run: &RunPart) -> Option<&'static str> {
    if run.model_stub {
        Some("the model was a stub")
    } else if document.task.instrument_version != INSTRUMENT_VERSION {
        Some("measured by another version of the instrument")
    } else if run.failure_cause.is_some() {
        None
    } else if run.seal_broken {
        Some("a tool was used where only memory was allowed")
    } else if run.status == RunStatus::Done && !run.compression_detected {
        Some("there was no break of its context")
    } else if run.status != RunStatus::Done {
        Some("it is not done")
    } else {
        None
    }
}

fn result(document: &ResultDocument, run: &RunPart) -> RunResult {
    let dimensions = Dimension::ALL
        .into_iter()
        .filter_map(|dimension| {
            let part = run.dimensions.get(dimension.as_str())?;
            let figures = DimensionScore {
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
            };
            Some((dimension, figures))
        })
        .collect();
    let told = |value: &Option<String>| value.clone().unwrap_or_default();
    RunResult {
        agent: run.agent.clone(),
        trial: run.trial.unsigned_abs(),
        cluster: format!("{}/{}", document.task.id, run.trial),
        counts: run.status == RunStatus::Done && run.compression_detected && !run.seal_broken,
        failure: run.failure_cause.map(|cause| cause.to_string()),
        score: RunScore {
            dimensions,
            overall_score: run.overall_score,
            passed: run.passed,
        },
        manifest: BTreeMap::from([
            ("agent_version".to_owned(), told(&run.agent_version)),
            ("model".to_owned(), told(&run.model)),
            ("manifest".to_owned(), told(&run.manifest_hash)),
        ]),
        duration_ms: run.duration_ms,
    }
}
