//! Reuse of another run's cold answers.

use chrono::Utc;
use domain::vocabulary::Arm;
use entity::{AnswerId, ProbeId, RunId, agent_run, answer, probe, task};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait,
};
use serde_json::Value;
use std::collections::HashMap;

use crate::job_error::JobError;
use crate::run::context::RunContext;
use crate::run::phases::ask::{ArmProgress, insert_answers};

/// Fields of the manifest that must be equal in two runs to reuse cold answers, beside the columns
/// of the rows.
const SAME_IN_MANIFESTS: [&str; 4] = [
    "instrument_version",
    "prompt_hash",
    "sandbox",
    "configuration_hash",
];
/// Maximum number of runs that are considered.
const MAX_SOURCES: u64 = 100;

/// Copies the cold answers of another run with the same agent, version, model, probes and
/// conditions. Returns that run.
pub(super) async fn reuse_cold_answers(
    context: &mut RunContext,
) -> Result<Option<RunId>, JobError> {
    let Some(hash) = context.task.probe_set_hash.clone() else {
        return Ok(None);
    };
    let database = &context.worker.platform.database;
    let sources: Vec<RunId> = answer::Entity::find()
        .select_only()
        .column(answer::Column::RunId)
        .join(JoinType::InnerJoin, answer::Relation::AgentRun.def())
        .join(JoinType::InnerJoin, agent_run::Relation::Task.def())
        .filter(answer::Column::Arm.eq(Arm::Cold))
        .filter(answer::Column::CopiedFrom.is_null())
        .filter(agent_run::Column::Id.ne(context.identity.run))
        .filter(agent_run::Column::Agent.eq(context.identity.agent.as_str()))
        .filter(agent_run::Column::AgentVersion.eq(context.version.as_str()))
        .filter(match &context.model {
            Some(model) => agent_run::Column::Model.eq(model.as_str()),
            None => agent_run::Column::Model.is_null(),
        })
        .filter(agent_run::Column::SealBroken.eq(false))
        .filter(task::Column::OrgId.eq(context.task.org_id.as_str()))
        .filter(task::Column::ProbeSetHash.eq(hash))
        .filter(task::Column::ProbesPerPrompt.eq(context.task.probes_per_prompt))
        .group_by(answer::Column::RunId)
        .having(
            Expr::from(Func::count(Expr::col((answer::Entity, answer::Column::Id))))
                .eq(i64::try_from(context.probes.len()).unwrap_or(i64::MAX)),
        )
        .order_by_asc(answer::Column::RunId)
        .limit(MAX_SOURCES)
        .into_tuple()
        .all(database)
        .await?;
    let manifests: Vec<(RunId, Option<Value>)> = agent_run::Entity::find()
        .select_only()
        .columns([agent_run::Column::Id, agent_run::Column::Manifest])
        .filter(agent_run::Column::Id.is_in(sources))
        .order_by_asc(agent_run::Column::Id)
        .into_tuple()
        .all(database)
        .await?;
    let own = context.comparable();
    let source = manifests.into_iter().find_map(|(run, manifest)| {
        let manifest = manifest?;
        let same = SAME_IN_MANIFESTS
            .iter()
            .all(|name| manifest[*name] == own[*name]);
        same.then_some(run)
    });
    let Some(source) = source else {
        return Ok(None);
    };
    // Probes have different ids in every task, but the same labels.
    let answers: Vec<(String, String, i64)> = answer::Entity::find()
        .select_only()
        .column(probe::Column::Label)
        .column(answer::Column::Text)
        .column(answer::Column::DurationMs)
        .join(JoinType::InnerJoin, answer::Relation::Probe.def())
        .filter(answer::Column::RunId.eq(source))
        .filter(answer::Column::Arm.eq(Arm::Cold))
        .into_tuple()
        .all(database)
        .await?;
    let ids: HashMap<&str, ProbeId> = context
        .probes
        .iter()
        .map(|(id, probe)| (probe.label.as_str(), *id))
        .collect();
    let now = Utc::now();
    let mut rows = Vec::with_capacity(answers.len());
    for (label, text, duration_ms) in answers {
        let Some(probe) = ids.get(label.as_str()) else {
            return Ok(None);
        };
        rows.push(answer::ActiveModel {
            id: Set(AnswerId::new()),
            run_id: Set(context.identity.run),
            probe_id: Set(*probe),
            arm: Set(Arm::Cold),
            break_index: Set(0),
            text: Set(text),
            grade: Set(None),
            verdict: Set(None),
            grader: Set(None),
            copied_from: Set(Some(source)),
            attribution: Set(None),
            in_summary: Set(None),
            confidence: Set(None),
            duration_ms: Set(duration_ms),
            created_at: Set(now),
        });
    }
    let progress = ArmProgress {
        before: 0,
        done: rows.len(),
        of: rows.len(),
    };
    insert_answers(context, Arm::Cold, rows, progress).await?;
    Ok(Some(source))
}
