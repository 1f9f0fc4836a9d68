//! The leaderboard of a task, and every two of its agents side by side.

use std::collections::{BTreeMap, HashMap};

use domain::vocabulary::{Arm, FailureCause, RunStatus};
use entity::{ProbeId, RunId, agent_run, score, task};
use evaluation::leaderboard::{
    self, Estimate, NO_BREAK, Outcome, Row, RunResult, UNKNOWN, leaderboard, why_void,
};
use evaluation::scoring::{DimensionScore, RunScore};
use evaluation::statistics::{Pair, paired};

use super::super::{ComparisonPart, JudgingPart, RowPart};
use super::Belongings;
use super::answers::Graded;
use crate::phases::running::FIRST_BREAK;

/// What is ranked and compared.
pub(super) struct Board {
    pub(super) rows: Vec<RowPart>,
    pub(super) unranked: Vec<RowPart>,
    pub(super) differs: Vec<String>,
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
        let judge = ranking_judge(judging);
        let results: Vec<RunResult> = runs
            .iter()
            .map(|run| {
                let own = belongings.get(&run.id).unwrap_or(&nothing);
                result(task, run, own, judge.as_deref())
            })
            .collect();
        let seed = task.seed.cast_unsigned();
        let board = leaderboard(&results, task.pass_mark, seed);
        let rows: Vec<RowPart> = board.ranked.into_iter().map(row_part).collect();
        let comparisons = compare(&rows, runs, answers, seed);
        Self {
            rows,
            unranked: board.unranked.into_iter().map(row_part).collect(),
            differs: board.differs,
            comparisons,
        }
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

/// What became of a run.
fn outcome(run: &agent_run::Model) -> Outcome {
    let failed = |otherwise: &str| Outcome::Failed {
        cause: run
            .failure_cause
            .map_or_else(|| otherwise.to_owned(), |cause| cause.to_string()),
    };
    match run.status {
        RunStatus::Queued | RunStatus::Running | RunStatus::Judging => Outcome::Unfinished,
        RunStatus::Error => failed(UNKNOWN),
        RunStatus::Cancelled => failed(FailureCause::Cancelled.as_str()),
        RunStatus::Done if run.seal_broken => void(why_void(run.stats["void_reason"].as_str())),
        RunStatus::Done if !run.compression_detected => void(NO_BREAK),
        RunStatus::Done => Outcome::Measured,
    }
}

fn void(why: &str) -> Outcome {
    Outcome::Void {
        why: why.to_owned(),
    }
}

fn result(
    task: &task::Model,
    run: &agent_run::Model,
    own: &Belongings,
    judge: Option<&str>,
) -> RunResult {
    let dimensions = own
        .scores
        .iter()
        .filter(|score| score.break_index == FIRST_BREAK)
        .map(|score| (score.dimension, figures(score)))
        .collect();
    RunResult {
        agent: run.agent.clone(),
        trial: u32::try_from(run.trial).unwrap_or_default(),
        pull_request: task.pr_url.clone(),
        session: run.trial.to_string(),
        outcome: outcome(run),
        recall: judge.and_then(|judge| recall_of(own, judge)),
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
        partial_rate: score.partial_rate,
        unreadable_rate: score.unreadable_rate,
    }
}

/// What must be the same in runs that are averaged, as text.
pub(super) fn manifest(run: &agent_run::Model) -> BTreeMap<String, String> {
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

/// The judge whose recall is on the board.
pub(crate) fn ranking_judge(judging: &JudgingPart) -> Option<String> {
    leaderboard::ranking_judge(judges(judging))
}

/// The same judge, with what makes it another one than that of another task.
pub(crate) fn ranking_identity(judging: &JudgingPart) -> Option<String> {
    leaderboard::ranking_identity(&judges(judging))
}

fn judges(judging: &JudgingPart) -> Vec<leaderboard::Judge> {
    let judges = judging.judges.iter();
    judges
        .map(|judge| leaderboard::Judge {
            name: judge.name.clone(),
            model: judge.model.clone(),
            may_rank: judge.may_rank,
            prompt_version: judge.prompt_version.clone(),
        })
        .collect()
}

/// What a run recovered in its free recall after the first break, by this judge.
fn recall_of(own: &Belongings, judge: &str) -> Option<f64> {
    let mut recalls = own
        .recalls
        .iter()
        .filter(|recall| recall.arm == Arm::Post && recall.break_index == FIRST_BREAK);
    recalls.find(|recall| recall.judge == judge)?.recall
}

pub(crate) fn row_part(row: Row) -> RowPart {
    let words = |dimensions: Vec<domain::vocabulary::Dimension>| {
        let words = dimensions.into_iter().map(|one| one.as_str().to_owned());
        words.collect()
    };
    RowPart {
        rank: row.rank,
        why_unranked: row.why_unranked,
        agent: row.agent,
        trials: row.trials,
        attempts: Some(row.attempts),
        failure_rate: row.failure_rate,
        unit: row.unit,
        pull_requests: Some(row.pull_requests),
        design_effect: row.design_effect,
        dimensions_without_probes: words(row.dimensions_without_probes),
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
        recall: row.recall.mean,
        free_recall: row.recall,
        failures: row.failures,
        void: row.void,
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
