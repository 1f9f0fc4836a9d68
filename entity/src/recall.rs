//! One free text of a run, judged as claims against facts: a free recall or the answer to an open
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
    /// Number of the judging, from 1.
    pub judging: i32,
    pub topic: Topic,
    pub arm: Arm,
    /// Number of the break, from 1. 0 for the cold arm.
    pub break_index: i32,
    /// `deterministic/1`, a model, `jury`, or `none` if no judge was available.
    pub judge: String,
    /// Facts of the fact sheet that the judge looked for.
    pub facts: i32,
    /// Facts that the text mentions.
    pub claimed: i32,
    /// Facts that the text states correctly.
    pub right: i32,
    /// Facts for which the judge gave no readable verdict.
    pub ungraded: i32,
    /// right / claimed.
    pub precision: Option<f64>,
    /// right / judged.
    pub recall: Option<f64>,
    /// Number of jurors. `None` for a single judge.
    pub jurors: Option<i32>,
    /// Reason for missing figures, for display.
    #[sea_orm(column_type = "Text", nullable)]
    pub note: Option<String>,
    pub created_at: DateTimeUtc,
}

relations! {
    belongs_to AgentRun: agent_run by RunId;
}
