//! Counts of answers: their attributions, their claims and their stated confidence.

use std::collections::{BTreeMap, HashMap};

use domain::vocabulary::{Arm, Attribution, Verdict};
use entity::{ProbeId, RunId, TaskId, agent_run, answer, probe};
use evaluation::statistics::{Claim, RiskCoverage, risk_coverage};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, FromQueryResult, JoinType, QueryFilter,
    QuerySelect, RelationTrait,
};

use crate::document::HonestyPart;
use crate::ranking::RunState;
use crate::run_stats::FIRST_BREAK;

/// Counts of the answers of one run after its first break.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerCounts {
    pub(super) attribution: BTreeMap<String, usize>,
    pub(super) summary_carries: Option<usize>,
    pub(super) honesty: Option<HonestyPart>,
}

/// A graded answer from after the first break, or from just before it.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct GradedAnswer {
    pub(super) run_id: RunId,
    pub(super) probe_id: ProbeId,
    pub(super) arm: Arm,
    pub(super) grade: Option<f64>,
    pub(super) verdict: Option<Verdict>,
    pub(super) confidence: Option<f64>,
}

/// Counts the answers after the first break by run, in one query.
pub(super) async fn counts_by_run(
    database: &DatabaseConnection,
    task: TaskId,
) -> Result<HashMap<RunId, AnswerCounts>, DbErr> {
    type Group = (
        RunId,
        Option<Attribution>,
        Option<bool>,
        Option<Verdict>,
        i64,
        i64,
    );
    let rows: Vec<Group> = answer::Entity::find()
        .select_only()
        .column(answer::Column::RunId)
        .column(answer::Column::Attribution)
        .column(answer::Column::InSummary)
        .column(answer::Column::Verdict)
        .column_as(answer::Column::Id.count(), "answers")
        .column_as(answer::Column::Confidence.count(), "sure")
        .join(JoinType::InnerJoin, answer::Relation::AgentRun.def())
        .filter(agent_run::Column::TaskId.eq(task))
        .filter(answer::Column::Arm.eq(Arm::Post))
        .filter(answer::Column::BreakIndex.eq(FIRST_BREAK))
        .group_by(answer::Column::RunId)
        .group_by(answer::Column::Attribution)
        .group_by(answer::Column::InSummary)
        .group_by(answer::Column::Verdict)
        .into_tuple()
        .all(database)
        .await?;
    let mut by_run: HashMap<RunId, AnswerCounts> = HashMap::new();
    for (run, attribution, in_summary, verdict, answers, sure) in rows {
        let answers = usize::try_from(answers).unwrap_or_default();
        let sure = usize::try_from(sure).unwrap_or_default();
        let counts = by_run.entry(run).or_default();
        if let Some(attribution) = attribution.filter(|_| verdict == Some(Verdict::Right)) {
            *counts
                .attribution
                .entry(attribution.as_str().to_owned())
                .or_default() += answers;
        }
        if let Some(carried) = in_summary {
            *counts.summary_carries.get_or_insert(0) += if carried { answers } else { 0 };
        }
        if let Some(verdict) = verdict {
            add(
                counts.honesty.get_or_insert_default(),
                verdict,
                answers,
                sure,
            );
        }
    }
    Ok(by_run)
}

fn add(honesty: &mut HonestyPart, verdict: Verdict, answers: usize, sure: usize) {
    honesty.answers += answers;
    honesty.with_confidence += sure;
    let kind = match verdict {
        Verdict::Right => &mut honesty.right,
        Verdict::Partial => &mut honesty.partial,
        Verdict::Wrong => &mut honesty.wrong,
        Verdict::Stale => &mut honesty.stale,
        Verdict::Abstained => &mut honesty.abstained,
        Verdict::Unreadable => &mut honesty.unreadable,
    };
    *kind += answers;
    if verdict.claims() {
        honesty.claimed += answers;
    }
}

/// Loads the graded answers of the first break, without their texts.
pub(super) async fn graded_answers(
    database: &DatabaseConnection,
    task: TaskId,
) -> Result<Vec<GradedAnswer>, DbErr> {
    answer::Entity::find()
        .select_only()
        .columns([
            answer::Column::RunId,
            answer::Column::ProbeId,
            answer::Column::Arm,
            answer::Column::Grade,
            answer::Column::Verdict,
            answer::Column::Confidence,
        ])
        .join(JoinType::InnerJoin, answer::Relation::Probe.def())
        .filter(probe::Column::TaskId.eq(task))
        .filter(answer::Column::BreakIndex.eq(FIRST_BREAK))
        .into_model()
        .all(database)
        .await
}

/// Returns the risk-coverage curve of each agent over its measurements.
pub(super) fn risk_coverage_by_agent(
    runs: &[agent_run::Model],
    answers: &[GradedAnswer],
) -> BTreeMap<String, RiskCoverage> {
    let agents: HashMap<RunId, &str> = runs
        .iter()
        .filter(|run| RunState::from(*run).is_measurement())
        .map(|run| (run.id, run.agent.as_str()))
        .collect();
    let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.arm == Arm::Post) {
        let (Some(agent), Some(verdict)) = (agents.get(&answer.run_id), answer.verdict) else {
            continue;
        };
        claims.entry((*agent).to_owned()).or_default().push(Claim {
            confidence: answer.confidence,
            right: verdict == Verdict::Right,
            claimed: verdict.claims(),
        });
    }
    claims
        .into_iter()
        .map(|(agent, claims)| (agent, risk_coverage(&claims)))
        .collect()
}
