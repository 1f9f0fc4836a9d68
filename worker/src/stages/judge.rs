//! Judges a run: a grade for every answer, figures for every dimension, and the run's end.

use chrono::Utc;
use entity::status::{
    Arm as StoredArm, Attribution as StoredAttribution, Dimension as StoredDimension, TaskStatus,
    Verdict as StoredVerdict,
};
use entity::{ProbeId, RunId, ScoreId, TaskId, agent_run, answer, probe, score, task};
use evaluation::attribution::{Attribution, Sources, attribute, carries};
use evaluation::grading::{GRADER, Verdict, grade};
use evaluation::probe::{Dimension, Probe};
use evaluation::scoring::{Arm, Graded, RunScore, score_run};
use platform::artifacts;
use platform::jobs::ledger;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait,
    IntoActiveModel, QueryFilter, QueryOrder,
};
use std::collections::{HashMap, HashSet};
use tracing::{info, warn};

use super::ending::{RunEnd, end_run};
use super::prepare::end_job;
use crate::job::{Job, StageError, Who, Worker};
use crate::material::{BREAK, dimension, stored_dimension};
use crate::phases::breaking::{EVIDENCE, Evidence};

/// Rows per statement.
const ROWS: usize = 200;
pub(crate) async fn judge_run(
    worker: &Worker,
    job: &Job,
    task_id: TaskId,
    run_id: RunId,
) -> Result<(), StageError> {
    let database = &worker.platform.database;
    let task = task::Entity::find_by_id(task_id).one(database).await?;
    let run = agent_run::Entity::find_by_id(run_id).one(database).await?;
    let (Some(task), Some(run)) = (task, run) else {
        warn!("there is no run {run_id} any more");
        return end_job(worker, job).await;
    };
    if run.status.is_final() {
        return end_job(worker, job).await;
    }
    if task.status == TaskStatus::Cancelled {
        return Err(StageError::Cancelled);
    }
    let probes = probes_of(worker, task_id).await?;
    let answers = answer::Entity::find()
        .filter(answer::Column::RunId.eq(run_id))
        .all(database)
        .await?;
    let dimensions: Vec<StoredDimension> = serde_json::from_value(task.rubric.clone())?;
    let asked: Vec<Dimension> = dimensions.into_iter().map(dimension).collect();

    let evidence = evidence(worker, &run).await?;
    let cold_right = cold_right(&answers, &probes);
    let mut graded_rows = Vec::with_capacity(answers.len());
    let mut graded = Vec::with_capacity(answers.len());
    for answer in answers {
        let Some(probe) = probes.get(&answer.probe_id) else {
            return Err(StageError::harness(format!(
                "answer {} belongs to no probe of its task",
                answer.id
            )));
        };
        let grade = grade(&probe.grader, &answer.text);
        graded.push(Graded {
            probe: probe.label.clone(),
            dimension: probe.dimension,
            arm: arm(answer.arm),
            grade: grade.value,
            verdict: grade.verdict,
        });
        let (mut attribution, mut in_summary) = (None, None);
        if answer.arm == StoredArm::Post && run.compression_detected {
            let summary = evidence.summary.as_deref();
            in_summary = summary.map(|summary| carries(summary, probe));
            if grade.verdict == Verdict::Right {
                let sources = Sources {
                    summary,
                    reinjected: &evidence.reinjected,
                    reread: answer.attribution == Some(StoredAttribution::Reread),
                    cold_right: cold_right.contains(&answer.probe_id),
                };
                attribution = Some(stored_attribution(attribute(probe, sources)));
            }
        }
        let mut row = answer.into_active_model().reset_all();
        row.attribution = Set(attribution);
        row.in_summary = Set(in_summary);
        row.grade = Set(Some(grade.value));
        row.verdict = Set(Some(stored_verdict(grade.verdict)));
        row.grader = Set(Some(GRADER.to_owned()));
        graded_rows.push(row);
    }
    let figures = score_run(&asked, &graded, task.pass_mark, run.compression_detected);
    // A run whose seal broke shows its figures, and has no score.
    let counts = run.compression_detected && !run.seal_broken;
    let end = RunEnd::Done {
        overall_score: figures.overall_score.filter(|_| counts),
        passed: figures.passed.filter(|_| counts),
    };

    let transaction = worker.begin(job).await?;
    store_grades(&transaction, graded_rows).await?;
    store_figures(&transaction, run_id, &figures).await?;
    let redactor = &worker.platform.redactor;
    let rings = end_run(&transaction, &Who::of(&run), &end, redactor).await?;
    ledger::finish(&transaction, &job.lease).await?;
    transaction.commit().await?;
    worker.tell(task_id, &rings).await;
    info!(run.id = %run_id, "judged run {run_id}: {} answers", graded.len());
    Ok(())
}

/// The probes of a task, as the instrument knows them.
pub(crate) async fn probes_of(
    worker: &Worker,
    task: TaskId,
) -> Result<HashMap<ProbeId, Probe>, StageError> {
    let rows = probe::Entity::find()
        .filter(probe::Column::TaskId.eq(task))
        .order_by_asc(probe::Column::Position)
        .all(&worker.platform.database)
        .await?;
    rows.into_iter()
        .map(|row| Ok((row.id, serde_json::from_value(row.spec)?)))
        .collect()
}

/// What the break left that can explain answers; nothing where there was no break.
async fn evidence(worker: &Worker, run: &agent_run::Model) -> Result<Evidence, StageError> {
    let database = &worker.platform.database;
    let found = artifacts::find(database, run.task_id, Some(run.id), EVIDENCE).await?;
    match found {
        Some(found) => {
            let bytes = worker.platform.artifacts.get(&found).await?;
            Ok(serde_json::from_slice(&bytes)?)
        }
        None => Ok(Evidence::default()),
    }
}

/// The probes that the cold arm answered rightly.
fn cold_right(answers: &[answer::Model], probes: &HashMap<ProbeId, Probe>) -> HashSet<ProbeId> {
    answers
        .iter()
        .filter(|answer| answer.arm == StoredArm::Cold)
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
) -> Result<(), StageError> {
    // An upsert, because it writes many different grades in one statement. The rows are there.
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
                    ])
                    .to_owned(),
            )
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}

async fn store_figures(
    transaction: &DatabaseTransaction,
    run: RunId,
    figures: &RunScore,
) -> Result<(), StageError> {
    score::Entity::delete_many()
        .filter(score::Column::RunId.eq(run))
        .exec(transaction)
        .await?;
    let now = Utc::now();
    let rows: Vec<score::ActiveModel> = figures
        .dimensions
        .iter()
        .map(|(&dimension, figures)| score::ActiveModel {
            id: Set(ScoreId::new()),
            run_id: Set(run),
            judging: Set(1),
            dimension: Set(stored_dimension(dimension)),
            break_index: Set(BREAK),
            n: Set(i32::try_from(figures.n).unwrap_or(i32::MAX)),
            cold: Set(figures.cold),
            baseline: Set(figures.baseline),
            post: Set(figures.post),
            retention: Set(figures.retention),
            item_retention: Set(figures.item_retention),
            stale_rate: Set(figures.stale_rate),
            abstained_rate: Set(figures.abstained_rate),
            wrong_rate: Set(figures.wrong_rate),
            created_at: Set(now),
        })
        .collect();
    if !rows.is_empty() {
        score::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}

fn arm(stored: StoredArm) -> Arm {
    match stored {
        StoredArm::Cold => Arm::Cold,
        StoredArm::Baseline => Arm::Baseline,
        StoredArm::Post => Arm::Post,
    }
}

fn stored_attribution(attribution: Attribution) -> StoredAttribution {
    match attribution {
        Attribution::Reread => StoredAttribution::Reread,
        Attribution::Summary => StoredAttribution::Summary,
        Attribution::Reinjected => StoredAttribution::Reinjected,
        Attribution::Guessable => StoredAttribution::Guessable,
        Attribution::Model => StoredAttribution::Model,
    }
}

fn stored_verdict(verdict: Verdict) -> StoredVerdict {
    match verdict {
        Verdict::Right => StoredVerdict::Right,
        Verdict::Partial => StoredVerdict::Partial,
        Verdict::Wrong => StoredVerdict::Wrong,
        Verdict::Stale => StoredVerdict::Stale,
        Verdict::Abstained => StoredVerdict::Abstained,
        Verdict::Unreadable => StoredVerdict::Unreadable,
    }
}
