//! One free text of a run, judged as claims against facts: a free recall, or the answer to an open
//! question. A missing figure is null, never 0.

use sea_orm::entity::prelude::*;

use crate::{RecallId, RunId};
use domain::vocabulary::{Arm, Topic};

/// Unique by run, judging, topic, arm, break and judge.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "recall")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: RecallId,
    pub run_id: RunId,
    /// The number of the judging, from 1.
    pub judging: i32,
    pub topic: Topic,
    pub arm: Arm,
    /// From 1; 0 in the cold arm.
    pub break_index: i32,
    /// `deterministic/1`, a model, `jury`; or `none`: nobody there could judge it.
    pub judge: String,
    /// Facts of the sheet that were looked for.
    pub facts: i32,
    /// Facts that the text says something about.
    pub claimed: i32,
    /// Facts that it says rightly.
    pub right: i32,
    /// Facts for which the judge gave no readable verdict.
    pub ungraded: i32,
    /// right / claimed.
    pub precision: Option<f64>,
    /// right / judged.
    pub recall: Option<f64>,
    /// How many jurors voted; none where this is one judge.
    pub jurors: Option<i32>,
    /// Why there are no figures, for people.
    #[sea_orm(column_type = "Text", nullable)]
    pub note: Option<String>,
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
}

impl Related<super::agent_run::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::AgentRun.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
