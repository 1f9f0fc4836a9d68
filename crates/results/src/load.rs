//! Loads the result document of a task from the database, in a fixed number of queries.

mod answers;
mod leaderboard;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::{Dimension, JudgingStatus};
use entity::{TaskId, agent_run, judging, probe, recall, task};
use evaluation::leaderboard::{GENERATED, IMPORTED};
use evaluation::scoring::DimensionScore;
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use sha2::{Digest, Sha256};

use self::leaderboard::DocumentLeaderboard;
use self::records::{RunRecords, run_records};
use crate::document::{
    BreakFiguresPart, ClaimsPart, JudgingPart, OpenPart, RecallPart, ResultDocument, RunPart,
    TaskPart,
};
use crate::ranking::{duration_ms, manifest_fields};
use crate::run_stats::{FIRST_BREAK, RunStats};
use crate::scores::ScoresByDimension;

/// Schema number of the documents that this version writes.
const SCHEMA: u32 = 1;

/// Loads the result of a task, finished or not. Returns `None` if there is no such task.
///
/// A run that is not a measurement is in `runs`, and its agent's row counts it apart.
pub async fn result_document(
    database: &DatabaseConnection,
    task: TaskId,
) -> Result<Option<ResultDocument>, DbErr> {
    let Some(row) = task::Entity::find_by_id(task).one(database).await? else {
        return Ok(None);
    };
    let runs = agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task))
        .order_by_asc(agent_run::Column::Id)
        .all(database)
        .await?;
    let mut records = run_records(database, &row).await?;
    let probes: Vec<Dimension> = probe::Entity::find()
        .select_only()
        .column(probe::Column::Dimension)
        .filter(probe::Column::TaskId.eq(task))
        .into_tuple()
        .all(database)
        .await?;
    let judging = judging::Entity::find()
        .filter(judging::Column::TaskId.eq(task))
        .filter(judging::Column::Number.eq(row.judging))
        .filter(judging::Column::Status.eq(JudgingStatus::Done))
        .one(database)
        .await?;
    let judging = judging_part(row.judging, judging)?;
    let answers = answers::graded_answers(database, task).await?;
    let board = DocumentLeaderboard::new(&row, &runs, &records, &answers, &judging);
    let risk_coverage = answers::risk_coverage_by_agent(&runs, &answers);
    let version = instrument_version(&runs);
    let mut parts = Vec::with_capacity(runs.len());
    for run in runs {
        let own = records.remove(&run.id).unwrap_or_default();
        parts.push(run_part(run, &own)?);
    }
    Ok(Some(ResultDocument {
        schema: SCHEMA,
        task: task_part(row, &probes, version)?,
        model_stub: parts.iter().any(|run| run.model_stub),
        runs: parts,
        leaderboard: board.rows,
        unranked_agents: board.unranked,
        differs: board.differs,
        comparisons: board.comparisons,
        risk_coverage,
        judging,
    }))
}

/// Converts a stored JSON column.
fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, DbErr> {
    serde_json::from_value(value).map_err(|error| DbErr::Json(error.to_string()))
}

fn judging_part(number: i32, row: Option<judging::Model>) -> Result<JudgingPart, DbErr> {
    let (judges, agreement) = match row {
        Some(row) => (read(row.judges)?, row.agreement.map(read).transpose()?),
        None => (Vec::new(), None),
    };
    Ok(JudgingPart {
        number: number.unsigned_abs(),
        judges,
        agreement,
    })
}

/// Returns the version of the instrument that measured the task, by the manifests of its runs.
///
/// The versions are joined by commas if runs were retried after an upgrade. Runs of version 1 had no
/// manifest.
fn instrument_version(runs: &[agent_run::Model]) -> String {
    let versions: BTreeSet<&str> = runs
        .iter()
        .filter_map(|run| run.manifest.as_ref()?.get("instrument_version")?.as_str())
        .collect();
    let began = runs.iter().any(|run| run.agent_version.is_some());
    let default = if began {
        "1"
    } else {
        evaluation::INSTRUMENT_VERSION
    };
    if versions.is_empty() {
        default.to_owned()
    } else {
        versions.into_iter().collect::<Vec<_>>().join(", ")
    }
}

fn task_part(
    task: task::Model,
    probes: &[Dimension],
    instrument_version: String,
) -> Result<TaskPart, DbErr> {
    let mut counts = BTreeMap::new();
    for dimension in probes {
        *counts.entry(dimension.as_str().to_owned()).or_default() += 1;
    }
    Ok(TaskPart {
        id: task.id,
        status: task.status,
        repo: task.repo,
        pr_url: task.pr_url,
        base: task.base_sha,
        head: task.head_sha,
        seed: task.seed,
        trials: task.trials,
        pass_mark: task.pass_mark,
        instrument_version,
        probe_set_hash: task.probe_set_hash,
        prompt_hash: task.prompt_hash,
        probes: counts,
        breaks: task.breaks.unsigned_abs(),
        probes_per_prompt: task.probes_per_prompt.unsigned_abs(),
        open_questions: task.open_questions,
        trigger: Some(task.trigger.as_str().to_owned()),
        question_bank: Some(
            if task.question_bank.is_some() {
                IMPORTED
            } else {
                GENERATED
            }
            .to_owned(),
        ),
        generator: task.generator_report.map(read).transpose()?,
        changed_files: read(task.changed_files)?,
        dropped_files: task.dropped_files,
        error: task.error_message,
    })
}

fn run_part(run: agent_run::Model, records: &RunRecords) -> Result<RunPart, DbErr> {
    let stats: RunStats = read(run.stats)?;
    let RunRecords {
        scores: _,
        recalls,
        open,
        counts,
    } = records;
    Ok(RunPart {
        id: run.id,
        duration_ms: duration_ms(run.started_at, run.completed_at),
        manifest: manifest_fields(run.manifest.as_ref()),
        agent: run.agent,
        agent_version: run.agent_version,
        model: run.model,
        manifest_hash: run.manifest.as_ref().map(hash),
        trial: run.trial,
        status: run.status,
        failure_cause: run.failure_cause,
        error: run.error_message,
        retry_count: run.retry_count,
        compression_detected: run.compression_detected,
        seal_broken: run.seal_broken,
        void_reason: stats.void_reason,
        seal: stats.seal,
        baseline: run.baseline,
        halves: stats.halves,
        breaks_planned: stats.breaks_planned,
        breaks: read(run.breaks)?,
        planted: stats.planted,
        attribution: counts.attribution.clone(),
        summary_carries: counts.summary_carries,
        model_stub: stats.model_stub,
        tokens: stats.bill.tokens,
        cost_usd: stats.bill.cost_usd,
        cost_source: stats.bill.cost_source,
        dimensions: named(&records.scores_of(FIRST_BREAK)),
        by_break: by_break(records),
        honesty: counts.honesty,
        recall: recalls.iter().map(recall_part).collect(),
        open: open.iter().map(open_part).collect(),
        context: stats.context,
        canary: stats.canary,
        overall_score: run.overall_score,
        passed: run.passed,
    })
}

/// Returns the SHA-256 of a document as JSON with its keys in byte order.
fn hash(document: &serde_json::Value) -> String {
    // The map is sorted, whatever the order of keys in the database.
    let sorted: BTreeMap<&str, String> = document
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.to_string()))
        .collect();
    hex::encode(Sha256::digest(format!("{sorted:?}")))
}

fn named(scores: &ScoresByDimension) -> BTreeMap<String, DimensionScore> {
    scores
        .iter()
        .map(|(dimension, score)| (dimension.to_string(), *score))
        .collect()
}

/// Returns the forgetting curve of a run.
fn by_break(records: &RunRecords) -> Vec<BreakFiguresPart> {
    let first = records.scores_of(FIRST_BREAK);
    let breaks: BTreeSet<i32> = records
        .scores
        .iter()
        .map(|score| score.break_index)
        .collect();
    breaks
        .into_iter()
        .map(|break_index| {
            let scores = records.scores_of(break_index);
            let kept: Vec<f64> = scores
                .iter()
                .filter_map(|(dimension, score)| {
                    let baseline = first.get(dimension)?.baseline;
                    evaluation::scoring::retention(score.cold, baseline, score.post)
                })
                .collect();
            BreakFiguresPart {
                index: break_index.unsigned_abs(),
                dimensions: named(&scores),
                kept_of_first: evaluation::statistics::mean(&kept),
            }
        })
        .collect()
}

fn recall_part(recall: &recall::Model) -> RecallPart {
    RecallPart {
        arm: recall.arm.to_string(),
        index: recall.break_index.unsigned_abs(),
        judge: recall.judge.clone(),
        claims: claims_part(recall),
    }
}

fn open_part(recall: &recall::Model) -> OpenPart {
    OpenPart {
        topic: recall.topic.to_string(),
        arm: recall.arm.to_string(),
        index: recall.break_index.unsigned_abs(),
        judge: recall.judge.clone(),
        claims: claims_part(recall),
    }
}

fn claims_part(recall: &recall::Model) -> ClaimsPart {
    let count = |count: i32| usize::try_from(count).unwrap_or_default();
    ClaimsPart {
        facts: count(recall.facts),
        claimed: count(recall.claimed),
        right: count(recall.right),
        ungraded: count(recall.ungraded),
        precision: recall.precision,
        recall: recall.recall,
        jurors: recall
            .jurors
            .and_then(|jurors| usize::try_from(jurors).ok()),
        note: recall.note.clone(),
    }
}
