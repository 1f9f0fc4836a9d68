//! One answer of one run to one probe under one arm, and the grade it got.

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
    /// The break it belongs to, from 1; 0 for the cold arm.
    pub break_index: i32,
    #[sea_orm(column_type = "Text")]
    pub text: String,
    /// In `[0, 1]`; none until judged.
    pub grade: Option<f64>,
    pub verdict: Option<Verdict>,
    /// Who gave the grade: `deterministic/1`, or a model.
    pub grader: Option<String>,
    /// The run that was asked, where a cold answer was taken over from a run of the same agent,
    /// version and probe set.
    pub copied_from: Option<RunId>,
    /// Where it came from, if it is a right answer from after the break; of any other answer only
    /// whether it was read again.
    pub attribution: Option<Attribution>,
    /// Whether the compaction's summary carries what was asked for, if this is from after the
    /// break and the program shows its summary; none until judged.
    pub in_summary: Option<bool>,
    /// How sure the agent says that it is, in `[0, 1]`; none where it does not say.
    pub confidence: Option<f64>,
    pub duration_ms: i64,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::agent_run::Entity",
        from = "Column::RunId",
        to = "super::agent_run::Column::Id"
    )]
    AgentRun,
    #[sea_orm(
        belongs_to = "super::probe::Entity",
        from = "Column::ProbeId",
        to = "super::probe::Column::Id"
    )]
    Probe,
}

impl Related<super::agent_run::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::AgentRun.def()
    }
}

impl Related<super::probe::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Probe.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
