//! The result document from the rows of the database.

use std::collections::{BTreeMap, HashMap};

use entity::status::{Arm, Attribution, Dimension, RunStatus};
use entity::{RunId, TaskId, agent_run, answer, probe, score, task};
use evaluation::leaderboard::{Estimate, Row, RunResult, leaderboard};
use evaluation::scoring::{DimensionScore, RunScore};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, JoinType, QueryFilter, QueryOrder,
    QuerySelect, RelationTrait,
};
use serde::Deserialize;

use super::{DimensionPart, JudgingPart, ResultDocument, RowPart, RunPart, TaskPart, TokensPart};
use crate::material::dimension;

/// The part of a run's stored figures that is shown.
#[derive(Default, Deserialize)]
struct Stats {
    #[serde(default)]
    bill: Billed,
    #[serde(default)]
    model_stub: bool,
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
        .filter(score::Column::Judging.eq(row.judging))
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
        model_stub: parts.iter().any(|run| run.model_stub),
        runs: parts,
        leaderboard,
        comparisons: Vec::new(),
        risk_coverage: BTreeMap::new(),
        judging: JudgingPart::default(),
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
        breaks: u32::try_from(task.breaks).unwrap_or(1),
        trigger: Some(task.trigger.as_str().to_owned()),
        generator: None,
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
    let Stats { bill, model_stub } = read(run.stats.clone())?;
    Ok(RunPart {
        id: run.id,
        duration_ms: duration_ms(&run),
        agent: run.agent,
        agent_version: run.agent_version,
        model: run.model,
        manifest_hash: None,
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
        model_stub,
        tokens: bill.tokens,
        cost_usd: bill.cost_usd,
        cost_source: bill.cost_source,
        dimensions: scores
            .iter()
            .map(|score| (score.dimension.as_str().to_owned(), dimension_part(score)))
            .collect(),
        by_break: Vec::new(),
        honesty: None,
        recall: Vec::new(),
        context: Vec::new(),
        canary: None,
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
        score: Estimate::default(),
        retention: row.retention,
        item_retention: Estimate::default(),
        rank_low: None,
        rank_high: None,
        recall: None,
        failures: BTreeMap::new(),
        differs: Vec::new(),
        passed: row.passed,
    }
}

/// From the first attempt's start to the end.
fn duration_ms(run: &agent_run::Model) -> Option<u64> {
    let lasted = run.completed_at? - run.started_at?;
    u64::try_from(lasted.num_milliseconds()).ok()
}
