//! The result document from the rows of the database, in a fixed number of queries.

pub(crate) mod answers;
pub(crate) mod board;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::vocabulary::{Dimension, JudgingStatus, Topic};
use entity::{RunId, TaskId, agent_run, judging, probe, recall, score, task};
use evaluation::leaderboard::{GENERATED, IMPORTED};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, JoinType, QueryFilter, QueryOrder,
    QuerySelect, RelationTrait,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use self::answers::Counted;
use super::{
    BreakFiguresPart, ContextPoint, DimensionPart, HalvesPart, JudgingPart, OpenPart, PlantedPart,
    RecallPart, ResultDocument, RunPart, TaskPart, TokensPart,
};
use crate::phases::running::FIRST_BREAK;

/// The schema that is written.
const SCHEMA: u32 = 1;

/// The part of a run's stored figures that is shown.
#[derive(Default, Deserialize)]
struct Stats {
    #[serde(default)]
    bill: Billed,
    #[serde(default)]
    model_stub: bool,
    #[serde(default)]
    context: Vec<ContextPoint>,
    #[serde(default)]
    canary: Option<String>,
    #[serde(default)]
    void_reason: Option<String>,
    #[serde(default)]
    seal: Option<String>,
    #[serde(default)]
    halves: BTreeMap<String, HalvesPart>,
    #[serde(default)]
    breaks_planned: Option<u32>,
    #[serde(default)]
    planted: Vec<PlantedPart>,
}

#[derive(Default, Deserialize)]
struct Billed {
    tokens: Option<TokensPart>,
    cost_usd: Option<f64>,
    cost_source: Option<String>,
}

/// What belongs to a run but stands in other tables.
#[derive(Default)]
struct Belongings {
    scores: Vec<score::Model>,
    recalls: Vec<recall::Model>,
    open: Vec<recall::Model>,
    counted: Counted,
}

/// Reads the result of a task, finished or not. None: there is no such task.
///
/// A run without a score that counts is in `runs` and not in `leaderboard`.
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
    let mut belongings = belongings(database, &row).await?;
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
    let answers = answers::read(database, task).await?;
    let board = board::Board::of(&row, &runs, &belongings, &answers, &judging);
    let risk_coverage = answers::risk_coverage(&runs, &answers);
    let version = instrument_version(&runs);
    let mut parts = Vec::with_capacity(runs.len());
    for run in runs {
        let own = belongings.remove(&run.id).unwrap_or_default();
        parts.push(run_part(run, own)?);
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

async fn belongings(
    database: &DatabaseConnection,
    task: &task::Model,
) -> Result<HashMap<RunId, Belongings>, DbErr> {
    let scores = score::Entity::find()
        .join(JoinType::InnerJoin, score::Relation::AgentRun.def())
        .filter(score::Column::Judging.eq(task.judging))
        .filter(agent_run::Column::TaskId.eq(task.id))
        .order_by_asc(score::Column::BreakIndex)
        .order_by_asc(score::Column::Dimension)
        .all(database)
        .await?;
    let recalls = recall::Entity::find()
        .join(JoinType::InnerJoin, recall::Relation::AgentRun.def())
        .filter(recall::Column::Judging.eq(task.judging))
        .filter(agent_run::Column::TaskId.eq(task.id))
        .order_by_asc(recall::Column::Topic)
        .order_by_asc(recall::Column::BreakIndex)
        .order_by_asc(recall::Column::Arm)
        .order_by_asc(recall::Column::Judge)
        .all(database)
        .await?;
    let mut belongings: HashMap<RunId, Belongings> = HashMap::new();
    for (run, counted) in answers::counted(database, task.id).await? {
        belongings.entry(run).or_default().counted = counted;
    }
    for score in scores {
        let own = belongings.entry(score.run_id).or_default();
        own.scores.push(score);
    }
    for recall in recalls {
        let own = belongings.entry(recall.run_id).or_default();
        match recall.topic {
            Topic::FreeRecall => own.recalls.push(recall),
            Topic::Purpose | Topic::Risks | Topic::Rollback => own.open.push(recall),
        }
    }
    Ok(belongings)
}

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

/// The version that measured, by the manifests of the runs; several, with commas, where runs were tried
/// again after an upgrade. Runs of the first version had none.
fn instrument_version(runs: &[agent_run::Model]) -> String {
    let told: BTreeSet<&str> = runs
        .iter()
        .filter_map(|run| run.manifest.as_ref()?.get("instrument_version")?.as_str())
        .collect();
    let told = (!told.is_empty()).then(|| told.into_iter().collect::<Vec<_>>().join(", "));
    let began = runs.iter().any(|run| run.agent_version.is_some());
    let now = if began {
        "1"
    } else {
        evaluation::INSTRUMENT_VERSION
    };
    told.unwrap_or_else(|| now.to_owned())
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

fn run_part(run: agent_run::Model, own: Belongings) -> Result<RunPart, DbErr> {
    let Stats {
        bill,
        model_stub,
        context,
        canary,
        void_reason,
        seal,
        halves,
        breaks_planned,
        planted,
    } = read(run.stats.clone())?;
    Ok(RunPart {
        id: run.id,
        duration_ms: board::duration_ms(&run),
        manifest: board::manifest(&run),
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
        void_reason,
        seal,
        baseline: run.baseline,
        halves,
        breaks_planned,
        breaks: read(run.breaks)?,
        planted,
        attribution: own.counted.attribution,
        summary_carries: own.counted.summary_carries,
        model_stub,
        tokens: bill.tokens,
        cost_usd: bill.cost_usd,
        cost_source: bill.cost_source,
        dimensions: dimensions_of(&own.scores, FIRST_BREAK),
        by_break: by_break(&own.scores),
        honesty: own.counted.honesty,
        recall: own.recalls.iter().map(recall_part).collect(),
        open: own.open.iter().map(open_part).collect(),
        context,
        canary,
        overall_score: run.overall_score,
        passed: run.passed,
    })
}

/// SHA-256 of a document as JSON with the keys in byte order.
fn hash(document: &serde_json::Value) -> String {
    // A map of this type is sorted, whatever order the database keeps keys in.
    let sorted: BTreeMap<&str, String> = document
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.to_string()))
        .collect();
    hex::encode(Sha256::digest(format!("{sorted:?}")))
}

fn dimensions_of(scores: &[score::Model], break_index: i32) -> BTreeMap<String, DimensionPart> {
    scores
        .iter()
        .filter(|score| score.break_index == break_index)
        .map(|score| (score.dimension.as_str().to_owned(), dimension_part(score)))
        .collect()
}

fn by_break(scores: &[score::Model]) -> Vec<BreakFiguresPart> {
    let first = dimensions_of(scores, FIRST_BREAK);
    let mut breaks: Vec<i32> = scores.iter().map(|score| score.break_index).collect();
    breaks.dedup();
    breaks
        .into_iter()
        .map(|index| {
            let dimensions = dimensions_of(scores, index);
            let kept: Vec<f64> = dimensions
                .iter()
                .filter_map(|(name, part)| {
                    let first = first.get(name)?;
                    evaluation::scoring::retention(part.cold, first.baseline, part.post)
                })
                .collect();
            BreakFiguresPart {
                index: index.unsigned_abs(),
                dimensions,
                kept_of_first: evaluation::statistics::mean(&kept),
            }
        })
        .collect()
}

fn recall_part(recall: &recall::Model) -> RecallPart {
    let count = |figure: i32| usize::try_from(figure).unwrap_or_default();
    RecallPart {
        arm: recall.arm.as_str().to_owned(),
        index: recall.break_index.unsigned_abs(),
        judge: recall.judge.clone(),
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

fn open_part(recall: &recall::Model) -> OpenPart {
    let RecallPart {
        arm,
        index,
        judge,
        facts,
        claimed,
        right,
        ungraded,
        precision,
        recall: covered,
        jurors,
        note,
    } = recall_part(recall);
    OpenPart {
        topic: recall.topic.as_str().to_owned(),
        arm,
        index,
        judge,
        facts,
        claimed,
        right,
        ungraded,
        precision,
        recall: covered,
        jurors,
        note,
    }
}

fn dimension_part(score: &score::Model) -> DimensionPart {
    DimensionPart {
        n: usize::try_from(score.n).unwrap_or_default(),
        cold: score.cold,
        baseline: score.baseline,
        post: score.post,
        retention: score.retention,
        known: score.known.and_then(|known| usize::try_from(known).ok()),
        kept: score.kept.and_then(|kept| usize::try_from(kept).ok()),
        item_retention: score.item_retention,
        stale_rate: score.stale_rate,
        abstained_rate: score.abstained_rate,
        wrong_rate: score.wrong_rate,
        partial_rate: score.partial_rate,
        unreadable_rate: score.unreadable_rate,
    }
}
