//! Scores of one run in one dimension. A missing figure is null, never 0.

use sea_orm::entity::prelude::*;

use crate::{RunId, ScoreId};
use domain::vocabulary::Dimension;

/// Unique by run, judging, dimension and break. Another judging adds rows and replaces none.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "score")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ScoreId,
    pub run_id: RunId,
    /// Number of the judging, from 1.
    pub judging: i32,
    pub dimension: Dimension,
    /// Number from 1.
    pub break_index: i32,
    /// Number of probes.
    pub n: i32,
    /// Mean grade of the cold arm.
    pub cold: Option<f64>,
    /// Mean grade just before the break.
    pub baseline: Option<f64>,
    /// Mean grade after the break: the score.
    pub post: Option<f64>,
    /// `(post - cold) / (baseline - cold)`, clipped to `[0, 1.25]`.
    pub retention: Option<f64>,
    /// Probes answered correctly before the break and asked again after it.
    pub known: Option<i32>,
    /// Those of the known probes that were answered correctly after the break.
    pub kept: Option<i32>,
    /// `kept / known`: P(right after | right before), the same question of the same session.
    pub item_retention: Option<f64>,
    /// Share of post-break answers that gave a replaced value (SF only).
    pub stale_rate: Option<f64>,
    /// Share of post-break answers that said "I don't recall".
    pub abstained_rate: Option<f64>,
    /// Share of post-break answers that claimed something untrue and nothing of the expected
    /// answer.
    pub wrong_rate: Option<f64>,
    /// Share of post-break answers that were partly right. `None` for scores of the first versions.
    pub partial_rate: Option<f64>,
    /// Share of post-break answers without a readable answer. `None` as above.
    pub unreadable_rate: Option<f64>,
    pub created_at: DateTimeUtc,
}

relations! {
    belongs_to AgentRun: agent_run by RunId;
}
