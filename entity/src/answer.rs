//! One answer of one run to one probe under one arm, with its grade.

use sea_orm::entity::prelude::*;

use crate::{AnswerId, ProbeId, RunId};
use domain::vocabulary::{Arm, Attribution, Verdict};

/// One answer; unique by run, probe, arm and break.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "answer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AnswerId,
    pub run_id: RunId,
    pub probe_id: ProbeId,
    pub arm: Arm,
    /// Number of the break, from 1. 0 for the cold arm.
    pub break_index: i32,
    #[sea_orm(column_type = "Text")]
    pub text: String,
    /// Grade in `[0, 1]`. `None` until judged.
    pub grade: Option<f64>,
    pub verdict: Option<Verdict>,
    /// Grader: `deterministic/1` or a model.
    pub grader: Option<String>,
    /// Source of a reused cold answer: a run of the same agent, version and probe set.
    pub copied_from: Option<RunId>,
    /// Source of a right answer after the break. For other answers only `reread` is recorded.
    pub attribution: Option<Attribution>,
    /// Whether the compaction summary carries the answer. `None` until judged, before the break,
    /// and if the program does not show its summary.
    pub in_summary: Option<bool>,
    /// Confidence that the agent states, in `[0, 1]`. `None` if it states none.
    pub confidence: Option<f64>,
    pub duration_ms: i64,
    pub created_at: DateTimeUtc,
}

relations! {
    belongs_to AgentRun: agent_run by RunId;
    belongs_to Probe: probe by ProbeId;
}
