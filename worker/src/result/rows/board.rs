//! The leaderboard of a task, and every two of its agents side by side.

use std::collections::{BTreeMap, HashMap};

use entity::status::{Arm, RunStatus};
use entity::{ProbeId, RunId, agent_run, score, task};
use evaluation::leaderboard::{Estimate, Row, RunResult, leaderboard};
use evaluation::scoring::{DimensionScore, RunScore};
use evaluation::statistics::{Pair, mean, paired};

use super::super::{ComparisonPart, JudgingPart, RowPart};
use super::Belongings;
use super::answers::Graded;
use crate::material::dimension;
use crate::phases::running::FIRST_BREAK;
use crate::stages::recalls::JURY;

/// What is ranked and compared.
pub(super) struct Board {
    pub(super) rows: Vec<RowPart>,
    pub(super) comparisons: Vec<ComparisonPart>,
}

impl Board {
    pub(super) fn of(
        task: &task::Model,
        runs: &[agent_run::Model],
        belongings: &HashMap<RunId, Belongings>,
        answers: &[Graded],
        judging: &JudgingPart,
    ) -> Self {
        let nothing = Belongings::default();
        let results: Vec<RunResult> = runs
            .iter()
            .map(|run| {
                let own = belongings.get(&run.id).unwrap_or(&nothing);
                result(run, own)
            })
            .collect();
        let seed = task.seed.cast_unsigned();
        let judge = ranking_judge(judging);
        let rows: Vec<RowPart> = leaderboard(&results, task.pass_mark, seed)
            .into_iter()
            .map(|row| {
                let recall = recall_of(&row.agent, judge.as_deref(), runs, belongings);
                row_part(row, recall)
            })
            .collect();
        let comparisons = compare(&rows, runs, answers, seed);
        Self { rows, comparisons }
    }
}

/// Whether a run is a measurement.
pub(super) fn counts(run: &agent_run::Model) -> bool {
    run.status == RunStatus::Done && run.compression_detected && !run.seal_broken
}

/// From the first attempt's start to the end.
pub(super) fn duration_ms(run: &agent_run::Model) -> Option<u64> {
    let lasted = run.completed_at? - run.started_at?;
    u64::try_from(lasted.num_milliseconds()).ok()
}

fn result(run: &agent_run::Model, own: &Belongings) -> RunResult {
    let dimensions = own
        .scores
        .iter()
        .filter(|score| score.break_index == FIRST_BREAK)
        .map(|score| (dimension(score.dimension), figures(score)))
        .collect();
    RunResult {
        agent: run.agent.clone(),
        trial: u32::try_from(run.trial).unwrap_or_default(),
        cluster: run.trial.to_string(),
        counts: counts(run),
        failure: run.failure_cause.map(|cause| cause.to_string()),
        score: RunScore {
            dimensions,
            overall_score: run.overall_score,
            passed: run.passed,
        },
        manifest: manifest(run),
        duration_ms: duration_ms(run),
    }
}

fn figures(score: &score::Model) -> DimensionScore {
    let count = |figure: i32| usize::try_from(figure).unwrap_or_default();
    DimensionScore {
        n: count(score.n),
        cold: score.cold,
        baseline: score.baseline,
        post: score.post,
        retention: score.retention,
        known: score.known.map(count),
        kept: score.kept.map(count),
        item_retention: score.item_retention,
        stale_rate: score.stale_rate,
        abstained_rate: score.abstained_rate,
        wrong_rate: score.wrong_rate,
    }
}

/// What must be the same in runs that are averaged, as text.
fn manifest(run: &agent_run::Model) -> BTreeMap<String, String> {
    let fields = run.manifest.as_ref().and_then(|value| value.as_object());
    fields
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        })
        .collect()
}

/// The judge whose recall is on the board: the jury where models judge, and the deterministic judge
/// where none does. None where the jury may not rank.
///
/// A jury is of one juror or more, so that an agent of whose family one of two jurors is has figures
/// of the other. Judgings before there were juries of one are ranked by their one member.
fn ranking_judge(judging: &JudgingPart) -> Option<String> {
    let models: Vec<_> = judging
        .judges
        .iter()
        .filter(|judge| judge.model.is_some())
        .collect();
    if models.is_empty() {
        return Some(evaluation::grading::GRADER.to_owned());
    }
    if let Some(jury) = judging.judges.iter().find(|judge| judge.name == JURY) {
        return jury.may_rank.then(|| JURY.to_owned());
    }
    let mut ranking = models.iter().filter(|judge| judge.may_rank);
    match (ranking.next(), ranking.next()) {
        (None, _) => None,
        (Some(only), None) => Some(only.name.clone()),
        (Some(_), Some(_)) => Some(JURY.to_owned()),
    }
}

fn recall_of(
    agent: &str,
    judge: Option<&str>,
    runs: &[agent_run::Model],
    belongings: &HashMap<RunId, Belongings>,
) -> Option<f64> {
    let judge = judge?;
    let recalls: Vec<f64> = runs
        .iter()
        .filter(|run| run.agent == agent && counts(run))
        .filter_map(|run| belongings.get(&run.id))
        .flat_map(|own| &own.recalls)
        .filter(|recall| recall.arm == Arm::Post && recall.break_index == FIRST_BREAK)
        .filter(|recall| recall.judge == judge)
        .filter_map(|recall| recall.recall)
        .collect();
    mean(&recalls)
}

pub(crate) fn row_part(row: Row, recall: Option<f64>) -> RowPart {
    RowPart {
        rank: row.rank,
        agent: row.agent,
        trials: row.trials,
        overall_score: row.overall_score,
        scores: row
            .scores
            .into_iter()
            .map(|(dimension, score)| (dimension.as_str().to_owned(), score))
            .collect(),
        score: row.score,
        retention: row.retention,
        item_retention: row.item_retention,
        rank_low: row.ranks.map(|ranks| ranks.low),
        rank_high: row.ranks.map(|ranks| ranks.high),
        recall,
        failures: row.failures,
        differs: row.differs,
        passed: row.passed,
    }
}

/// Every two agents of the board on the probes that both were asked in the same trial.
fn compare(
    rows: &[RowPart],
    runs: &[agent_run::Model],
    answers: &[Graded],
    seed: u64,
) -> Vec<ComparisonPart> {
    let counted: HashMap<RunId, (&str, i32)> = runs
        .iter()
        .filter(|run| counts(run))
        .map(|run| (run.id, (run.agent.as_str(), run.trial)))
        .collect();
    let mut grades: HashMap<&str, BTreeMap<(i32, ProbeId), f64>> = HashMap::new();
    for answer in answers.iter().filter(|answer| answer.arm == Arm::Post) {
        if let (Some((agent, trial)), Some(grade)) = (counted.get(&answer.run_id), answer.grade) {
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
            let Some(found) = paired(&pairs, seed) else {
                continue;
            };
            comparisons.push(ComparisonPart {
                a: a.agent.clone(),
                b: b.agent.clone(),
                pairs: found.pairs,
                clusters: found.clusters,
                difference: Estimate {
                    mean: Some(found.mean),
                    low: found.interval.map(|interval| interval.low),
                    high: found.interval.map(|interval| interval.high),
                },
                tie: found.tie,
                smallest_detectable: found.smallest_detectable,
            });
        }
    }
    comparisons
}
