//! The leaderboard of a task in its result document, and its agents in pairs.

use std::collections::{BTreeMap, HashMap};

use domain::vocabulary::Arm;
use entity::{ProbeId, RunId, agent_run, task};
use evaluation::leaderboard::Estimate;
use evaluation::statistics::{Pair, paired};

use super::answers::GradedAnswer;
use super::records::RunRecords;
use crate::document::{ComparisonPart, JudgingPart, RowPart};
use crate::ranking::{RankedRecall, RunRow, RunState, TaskRow, task_leaderboard};
use crate::run_stats::FIRST_BREAK;

/// Leaderboard of a task, as its result document shows it.
pub(super) struct DocumentLeaderboard {
    pub(super) rows: Vec<RowPart>,
    pub(super) unranked: Vec<RowPart>,
    pub(super) differs: Vec<String>,
    pub(super) comparisons: Vec<ComparisonPart>,
}

impl DocumentLeaderboard {
    pub(super) fn new(
        task: &task::Model,
        runs: &[agent_run::Model],
        records: &HashMap<RunId, RunRecords>,
        answers: &[GradedAnswer],
        judging: &JudgingPart,
    ) -> Self {
        let nothing = RunRecords::default();
        let judge = judging.ranking_judge();
        let task_row = TaskRow::from(task);
        let ranked_runs = runs.iter().map(|run| {
            let own = records.get(&run.id).unwrap_or(&nothing);
            let mut ranked = RunRow::from(run).into_ranked(&task_row, own.scores_of(FIRST_BREAK));
            ranked.recall = judge.as_ref().and_then(|judge| {
                Some(RankedRecall {
                    value: own.recall_by(judge)?,
                    judge: judge.clone(),
                })
            });
            ranked
        });
        let board = task_leaderboard(ranked_runs, task.pass_mark, task.seed).board;
        let rows: Vec<RowPart> = board.ranked.into_iter().map(Into::into).collect();
        let comparisons = compare(&rows, runs, answers, task.seed.cast_unsigned());
        Self {
            rows,
            unranked: board.unranked.into_iter().map(Into::into).collect(),
            differs: board.differs,
            comparisons,
        }
    }
}

/// Compares each pair of ranked agents on the probes that both were asked in the same trial.
fn compare(
    rows: &[RowPart],
    runs: &[agent_run::Model],
    answers: &[GradedAnswer],
    seed: u64,
) -> Vec<ComparisonPart> {
    let measured: HashMap<RunId, (&str, i32)> = runs
        .iter()
        .filter(|run| RunState::from(*run).is_measurement())
        .map(|run| (run.id, (run.agent.as_str(), run.trial)))
        .collect();
    let mut grades: HashMap<&str, BTreeMap<(i32, ProbeId), f64>> = HashMap::new();
    for answer in answers.iter().filter(|answer| answer.arm == Arm::Post) {
        if let (Some((agent, trial)), Some(grade)) = (measured.get(&answer.run_id), answer.grade) {
            let own = grades.entry(agent).or_default();
            own.insert((*trial, answer.probe_id), grade);
        }
    }
    let mut comparisons = Vec::new();
    for (at, a) in rows.iter().enumerate() {
        for b in &rows[at + 1..] {
            let (Some(of_a), Some(of_b)) =
                (grades.get(a.agent.as_str()), grades.get(b.agent.as_str()))
            else {
                continue;
            };
            let pairs: Vec<Pair> = of_a
                .iter()
                .filter_map(|(key, &grade)| {
                    Some(Pair {
                        cluster: key.0.to_string(),
                        a: grade,
                        b: *of_b.get(key)?,
                    })
                })
                .collect();
            let Some(comparison) = paired(&pairs, seed) else {
                continue;
            };
            comparisons.push(ComparisonPart {
                a: a.agent.clone(),
                b: b.agent.clone(),
                pairs: comparison.pairs,
                clusters: comparison.clusters,
                difference: Estimate::new(Some(comparison.mean), comparison.interval),
                tie: comparison.tie,
                smallest_detectable: comparison.smallest_detectable,
            });
        }
    }
    comparisons
}
