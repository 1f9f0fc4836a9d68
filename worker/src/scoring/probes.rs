//! The closed probes of a run: grades, attributions of right answers, and the scores of every
//! break.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use domain::vocabulary::{Arm, Attribution, Dimension, Verdict};
use entity::{ProbeId, RunId, agent_run, answer, score, task};
use evaluation::attribution::{Sources, attribute, carries};
use evaluation::grading::{GRADER, confidence, grade};
use evaluation::probe::Probe;
use evaluation::scoring::{Graded, RunScore, score_run};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait,
    IntoActiveModel, QueryFilter,
};

use results::run_stats::FIRST_BREAK;
use results::scores::StoredScore;

use crate::job_context::Worker;
use crate::job_error::JobError;
use crate::run::phases::break_::{BreakEvidence, ReinjectedText, evidence_artifact};

/// Rows per statement.
const ROWS: usize = 200;

/// Grades of all answers of a run, and the resulting scores.
pub(crate) struct Grades {
    answers: Vec<answer::ActiveModel>,
    /// Scores by break. The first break is always present.
    pub(crate) by_break: BTreeMap<i32, RunScore>,
}

impl Grades {
    /// Returns the scores of the first break, which are the score of the run.
    pub(crate) fn first(&self) -> Option<&RunScore> {
        self.by_break.get(&FIRST_BREAK)
    }

    /// Returns the number of graded answers.
    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }
}

/// Grades the answers of a run.
pub(crate) async fn grade_run(
    worker: &Worker,
    task: &task::Model,
    run: &agent_run::Model,
    probes: &HashMap<ProbeId, Probe>,
) -> Result<Grades, JobError> {
    let answers = answer::Entity::find()
        .filter(answer::Column::RunId.eq(run.id))
        .all(&worker.platform.database)
        .await?;
    let asked: Vec<Dimension> = serde_json::from_value(task.rubric.clone())?;
    let cold_right = cold_right(&answers, probes);
    let mut evidence: BTreeMap<i32, BreakEvidence> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.arm == Arm::Post) {
        if let Entry::Vacant(place) = evidence.entry(answer.break_index) {
            place.insert(read_evidence(worker, run, answer.break_index).await?);
        }
    }
    let nothing = BreakEvidence::default();
    let reinjected: BTreeMap<i32, Vec<String>> = evidence
        .iter()
        .map(|(&index, evidence)| {
            (
                index,
                evidence
                    .reinjected
                    .iter()
                    .map(ReinjectedText::searchable_text)
                    .collect(),
            )
        })
        .collect();
    let mut rows = Vec::with_capacity(answers.len());
    let mut graded: BTreeMap<i32, Vec<Graded>> = BTreeMap::from([(FIRST_BREAK, Vec::new())]);
    let mut cold = Vec::new();
    for answer in answers {
        let Some(probe) = probes.get(&answer.probe_id) else {
            return Err(JobError::harness(format!(
                "answer {} belongs to no probe of its task",
                answer.id
            )));
        };
        let grade = grade(&probe.grader, &answer.text);
        let one = Graded {
            probe: probe.label.clone(),
            dimension: probe.dimension,
            arm: answer.arm,
            grade: grade.value,
            verdict: grade.verdict,
        };
        match answer.arm {
            Arm::Cold => cold.push(one),
            Arm::Baseline | Arm::Post => {
                graded.entry(answer.break_index).or_default().push(one);
            }
        }
        // An answer that broke the seal keeps this attribution in every judging, right or not.
        let reread = answer.attribution == Some(Attribution::Reread);
        let mut attribution = reread.then_some(Attribution::Reread);
        let mut in_summary = None;
        if answer.arm == Arm::Post && run.compression_detected {
            let evidence = evidence.get(&answer.break_index).unwrap_or(&nothing);
            let summary = evidence.summary.as_deref();
            in_summary = summary.map(|summary| carries(summary, probe));
            if grade.verdict == Verdict::Right {
                let sources = Sources {
                    summary,
                    reinjected: reinjected
                        .get(&answer.break_index)
                        .map_or(&[], Vec::as_slice),
                    reread,
                    cold_right: cold_right.contains(&answer.probe_id),
                };
                attribution = Some(attribute(probe, sources));
            }
        }
        let sure = confidence(&answer.text);
        let mut row = answer.into_active_model().reset_all();
        row.attribution = Set(attribution);
        row.in_summary = Set(in_summary);
        row.confidence = Set(sure);
        row.grade = Set(Some(grade.value));
        row.verdict = Set(Some(grade.verdict));
        row.grader = Set(Some(GRADER.to_owned()));
        rows.push(row);
    }
    let by_break = graded
        .into_iter()
        .map(|(index, mut graded)| {
            graded.extend(cold.iter().cloned());
            let broke = run.compression_detected;
            (index, score_run(&asked, &graded, task.pass_mark, broke))
        })
        .collect();
    Ok(Grades {
        answers: rows,
        by_break,
    })
}

/// Stores grades, and scores under the number of their judging.
pub(crate) async fn store_run_grades(
    transaction: &DatabaseTransaction,
    run: RunId,
    judging: i32,
    grades: Grades,
) -> Result<(), JobError> {
    store_grades(transaction, grades.answers).await?;
    store_figures(transaction, run, judging, &grades.by_break).await
}

/// Loads the evidence of a break that can explain answers.
async fn read_evidence(
    worker: &Worker,
    run: &agent_run::Model,
    break_index: i32,
) -> Result<BreakEvidence, JobError> {
    let name = evidence_artifact(break_index);
    match worker
        .load_artifact(run.task_id, Some(run.id), &name)
        .await?
    {
        Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
        None => Ok(BreakEvidence::default()),
    }
}

/// Returns the probes that the cold arm answered correctly.
fn cold_right(answers: &[answer::Model], probes: &HashMap<ProbeId, Probe>) -> HashSet<ProbeId> {
    answers
        .iter()
        .filter(|answer| answer.arm == Arm::Cold)
        .filter(|answer| {
            probes
                .get(&answer.probe_id)
                .is_some_and(|probe| grade(&probe.grader, &answer.text).verdict == Verdict::Right)
        })
        .map(|answer| answer.probe_id)
        .collect()
}

async fn store_grades(
    transaction: &DatabaseTransaction,
    rows: Vec<answer::ActiveModel>,
) -> Result<(), JobError> {
    // An upsert writes many different grades in one statement. The rows exist already.
    for chunk in rows.chunks(ROWS) {
        answer::Entity::insert_many(chunk.to_vec())
            .on_conflict(
                OnConflict::column(answer::Column::Id)
                    .update_columns([
                        answer::Column::Grade,
                        answer::Column::Verdict,
                        answer::Column::Grader,
                        answer::Column::Attribution,
                        answer::Column::InSummary,
                        answer::Column::Confidence,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}

/// Replaces the scores of an earlier attempt at the same judging. Other judgings stay.
async fn store_figures(
    transaction: &DatabaseTransaction,
    run: RunId,
    judging: i32,
    by_break: &BTreeMap<i32, RunScore>,
) -> Result<(), JobError> {
    score::Entity::delete_many()
        .filter(score::Column::RunId.eq(run))
        .filter(score::Column::Judging.eq(judging))
        .exec(transaction)
        .await?;
    let rows: Vec<score::ActiveModel> = by_break
        .iter()
        .flat_map(|(&break_index, figures)| {
            figures
                .dimensions
                .iter()
                .map(move |(&dimension, &figures)| StoredScore {
                    run_id: run,
                    break_index,
                    dimension,
                    figures,
                })
        })
        .map(|score| score.into_row(judging))
        .collect();
    if !rows.is_empty() {
        score::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}
