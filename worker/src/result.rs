//! The result document of a task: one JSON document, schema 1, from the rows of the database.

use std::collections::{BTreeMap, HashMap};

use entity::status::{Arm, Attribution, Dimension, FailureCause, RunStatus, TaskStatus};
use entity::{RunId, TaskId, agent_run, answer, probe, score, task};
use evaluation::leaderboard::{Row, RunResult, leaderboard};
use evaluation::scoring::{DimensionScore, RunScore};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, JoinType, QueryFilter, QueryOrder,
    QuerySelect, RelationTrait,
};
use serde::{Deserialize, Serialize};

use crate::material::dimension;

/// The whole result of a task. Only grows within one schema number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultDocument {
    pub schema: u32,
    pub task: TaskPart,
    /// The agents asked a model stub: the figures say nothing of any model.
    #[serde(default)]
    pub model_stub: bool,
    pub runs: Vec<RunPart>,
    pub leaderboard: Vec<RowPart>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskPart {
    pub id: TaskId,
    pub status: TaskStatus,
    pub repo: String,
    pub pr_url: String,
    pub base: Option<String>,
    pub head: Option<String>,
    pub seed: i64,
    pub trials: i32,
    pub pass_mark: f64,
    pub instrument_version: String,
    pub probe_set_hash: Option<String>,
    pub prompt_hash: Option<String>,
    /// Dimension → number of probes.
    pub probes: BTreeMap<String, usize>,
    pub changed_files: Vec<String>,
    pub dropped_files: serde_json::Value,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPart {
    pub id: entity::RunId,
    pub agent: String,
    pub agent_version: Option<String>,
    pub trial: i32,
    pub status: entity::status::RunStatus,
    pub failure_cause: Option<FailureCause>,
    pub error: Option<String>,
    pub retry_count: i32,
    pub compression_detected: bool,
    pub seal_broken: bool,
    pub baseline: Option<String>,
    pub breaks: Vec<BreakPart>,
    /// Where the right answers from after the break came from: attribution → count.
    #[serde(default)]
    pub attribution: BTreeMap<String, usize>,
    /// How many of the probes asked after the break the compaction's summary carries; none where
    /// the program does not show its summary.
    #[serde(default)]
    pub summary_carries: Option<usize>,
    /// What all turns of the run were billed for; none where one of them did not tell.
    #[serde(default)]
    pub tokens: Option<TokensPart>,
    /// US dollars; none where the cost of one turn is not known.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// `program`, `price_table` or `mixed`.
    #[serde(default)]
    pub cost_source: Option<String>,
    pub dimensions: BTreeMap<String, DimensionPart>,
    pub overall_score: Option<f64>,
    pub passed: Option<bool>,
    pub duration_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakPart {
    pub trigger: String,
    pub tokens_before: Option<u64>,
    pub tokens_after: Option<u64>,
    /// The program's own threshold was lowered for it.
    #[serde(default)]
    pub forced: bool,
    /// The workspace was empty.
    #[serde(default)]
    pub sealed: bool,
    /// `reported` by the program, or `structural`: seen by the size of the context.
    #[serde(default)]
    pub proof: Option<String>,
    /// The artifact with the text that the compaction kept.
    #[serde(default)]
    pub summary_artifact: Option<String>,
    /// What the program put back beside it.
    #[serde(default)]
    pub reinjected: Vec<ReinjectedPart>,
}

/// Something that a program put back at a compaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReinjectedPart {
    /// `file`, `tail` or `memory`.
    pub kind: String,
    pub name: Option<String>,
    pub chars: u64,
}

/// Tokens that were billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensPart {
    /// All that was sent, cached or not.
    pub input: u64,
    /// The part of `input` that came from a cache.
    pub cached: u64,
    pub output: u64,
}

/// The part of a run's stored figures that is shown.
#[derive(Default, Deserialize)]
struct StoredBill {
    #[serde(default)]
    bill: Billed,
}

#[derive(Default, Deserialize)]
struct Billed {
    tokens: Option<TokensPart>,
    cost_usd: Option<f64>,
    cost_source: Option<String>,
}

/// What is counted of the answers of one run.
#[derive(Clone, Debug, Default)]
struct Counted {
    attribution: BTreeMap<String, usize>,
    summary_carries: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DimensionPart {
    pub n: usize,
    pub cold: Option<f64>,
    pub baseline: Option<f64>,
    pub post: Option<f64>,
    pub retention: Option<f64>,
    pub item_retention: Option<f64>,
    pub stale_rate: Option<f64>,
    pub abstained_rate: Option<f64>,
    pub wrong_rate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowPart {
    pub rank: usize,
    pub agent: String,
    pub trials: usize,
    pub overall_score: Option<f64>,
    pub scores: BTreeMap<String, Option<f64>>,
    pub retention: evaluation::leaderboard::Estimate,
    pub passed: bool,
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
    let scores = score::Entity::find()
        .join(JoinType::InnerJoin, score::Relation::AgentRun.def())
        .filter(agent_run::Column::TaskId.eq(task))
        .order_by_asc(score::Column::Dimension)
        .all(database)
        .await?;
    let probes: Vec<Dimension> = probe::Entity::find()
        .select_only()
        .column(probe::Column::Dimension)
        .filter(probe::Column::TaskId.eq(task))
        .into_tuple()
        .all(database)
        .await?;
    let mut counted = counted(database, task).await?;
    let mut scores_of: HashMap<RunId, Vec<score::Model>> = HashMap::new();
    for score in scores {
        scores_of.entry(score.run_id).or_default().push(score);
    }
    let mut parts = Vec::with_capacity(runs.len());
    let mut results = Vec::with_capacity(runs.len());
    for run in runs {
        let scores = scores_of.remove(&run.id).unwrap_or_default();
        results.push(ranked(&run, &scores));
        let counted = counted.remove(&run.id).unwrap_or_default();
        parts.push(run_part(run, &scores, counted)?);
    }
    let leaderboard = leaderboard(&results, row.pass_mark, row.seed.cast_unsigned())
        .into_iter()
        .map(row_part)
        .collect();
    Ok(Some(ResultDocument {
        schema: SCHEMA,
        task: task_part(row, &probes)?,
        model_stub: false,
        runs: parts,
        leaderboard,
    }))
}

/// Counts the answers from after the break, by run, in one query.
async fn counted(
    database: &DatabaseConnection,
    task: TaskId,
) -> Result<HashMap<RunId, Counted>, DbErr> {
    let rows: Vec<(RunId, Option<Attribution>, Option<bool>, i64)> = answer::Entity::find()
        .select_only()
        .column(answer::Column::RunId)
        .column(answer::Column::Attribution)
        .column(answer::Column::InSummary)
        .column_as(answer::Column::Id.count(), "answers")
        .join(JoinType::InnerJoin, answer::Relation::AgentRun.def())
        .filter(agent_run::Column::TaskId.eq(task))
        .filter(answer::Column::Arm.eq(Arm::Post))
        .group_by(answer::Column::RunId)
        .group_by(answer::Column::Attribution)
        .group_by(answer::Column::InSummary)
        .into_tuple()
        .all(database)
        .await?;
    let mut counted: HashMap<RunId, Counted> = HashMap::new();
    for (run, attribution, in_summary, answers) in rows {
        let answers = usize::try_from(answers).unwrap_or_default();
        let counted = counted.entry(run).or_default();
        if let Some(attribution) = attribution {
            *counted
                .attribution
                .entry(attribution.as_str().to_owned())
                .or_default() += answers;
        }
        if let Some(carried) = in_summary {
            *counted.summary_carries.get_or_insert(0) += if carried { answers } else { 0 };
        }
    }
    Ok(counted)
}

/// The schema that is written.
const SCHEMA: u32 = 1;

fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, DbErr> {
    serde_json::from_value(value).map_err(|error| DbErr::Json(error.to_string()))
}

fn task_part(task: task::Model, probes: &[Dimension]) -> Result<TaskPart, DbErr> {
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
        instrument_version: evaluation::INSTRUMENT_VERSION.to_owned(),
        probe_set_hash: task.probe_set_hash,
        prompt_hash: task.prompt_hash,
        probes: counts,
        changed_files: read(task.changed_files)?,
        dropped_files: task.dropped_files,
        error: task.error_message,
    })
}

fn run_part(
    run: agent_run::Model,
    scores: &[score::Model],
    counted: Counted,
) -> Result<RunPart, DbErr> {
    let StoredBill { bill } = read(run.stats.clone())?;
    Ok(RunPart {
        id: run.id,
        duration_ms: duration_ms(&run),
        agent: run.agent,
        agent_version: run.agent_version,
        trial: run.trial,
        status: run.status,
        failure_cause: run.failure_cause,
        error: run.error_message,
        retry_count: run.retry_count,
        compression_detected: run.compression_detected,
        seal_broken: run.seal_broken,
        baseline: run.baseline,
        breaks: read(run.breaks)?,
        attribution: counted.attribution,
        summary_carries: counted.summary_carries,
        tokens: bill.tokens,
        cost_usd: bill.cost_usd,
        cost_source: bill.cost_source,
        dimensions: scores
            .iter()
            .map(|score| (score.dimension.as_str().to_owned(), dimension_part(score)))
            .collect(),
        overall_score: run.overall_score,
        passed: run.passed,
    })
}

fn dimension_part(score: &score::Model) -> DimensionPart {
    DimensionPart {
        n: usize::try_from(score.n).unwrap_or_default(),
        cold: score.cold,
        baseline: score.baseline,
        post: score.post,
        retention: score.retention,
        item_retention: score.item_retention,
        stale_rate: score.stale_rate,
        abstained_rate: score.abstained_rate,
        wrong_rate: score.wrong_rate,
    }
}

fn ranked(run: &agent_run::Model, scores: &[score::Model]) -> RunResult {
    let dimensions = scores
        .iter()
        .map(|score| {
            let part = dimension_part(score);
            let figures = DimensionScore {
                n: part.n,
                cold: part.cold,
                baseline: part.baseline,
                post: part.post,
                retention: part.retention,
                item_retention: part.item_retention,
                stale_rate: part.stale_rate,
                abstained_rate: part.abstained_rate,
                wrong_rate: part.wrong_rate,
            };
            (dimension(score.dimension), figures)
        })
        .collect();
    RunResult {
        agent: run.agent.clone(),
        trial: u32::try_from(run.trial).unwrap_or_default(),
        counts: run.status == RunStatus::Done && run.compression_detected && !run.seal_broken,
        score: RunScore {
            dimensions,
            overall_score: run.overall_score,
            passed: run.passed,
        },
        duration_ms: duration_ms(run),
    }
}

fn row_part(row: Row) -> RowPart {
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
        retention: row.retention,
        passed: row.passed,
    }
}

/// From the first attempt's start to the end.
fn duration_ms(run: &agent_run::Model) -> Option<u64> {
    let lasted = run.completed_at? - run.started_at?;
    u64::try_from(lasted.num_milliseconds()).ok()
}
