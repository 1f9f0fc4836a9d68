//! Free recall on a leaderboard: its value, and the judge that it is from.

use std::collections::HashMap;

use entity::{RunId, judging, recall};
use evaluation::leaderboard::{Judge, ranking_identity, ranking_judge};
use sea_orm::{EntityTrait, FromQueryResult, QuerySelect, Select};
use serde_json::Value;

/// Free recall of a run by the judge that may rank.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedRecall {
    /// Share of the fact sheet that the agent recalled.
    pub value: f64,
    /// Identity of the judge. Recalls of different judges are not comparable.
    pub judge: String,
}

/// One free recall after the first break, and the judges of its judging.
#[derive(Clone, Debug, FromQueryResult)]
pub struct RecallRow {
    /// Run that was asked.
    pub run_id: RunId,
    /// Name of the judge.
    pub judge: String,
    /// Share of the fact sheet that the agent recalled.
    pub recall: f64,
    /// Judges of the judging, as stored.
    pub judges: Value,
}

impl RecallRow {
    /// Adds the columns to a query that joins recalls with their judgings and already ends in
    /// `select_only`. Rows without a recall must be filtered out.
    pub fn select<E: EntityTrait>(query: Select<E>) -> Select<E> {
        query
            .columns([
                recall::Column::RunId,
                recall::Column::Judge,
                recall::Column::Recall,
            ])
            .column(judging::Column::Judges)
    }
}

/// Returns the free recall of each run by the judge that may rank.
pub fn ranking_recalls(rows: impl IntoIterator<Item = RecallRow>) -> HashMap<RunId, RankedRecall> {
    rows.into_iter()
        .filter_map(|row| {
            let judges: Vec<Judge> = serde_json::from_value(row.judges).ok()?;
            let identity = ranking_identity(&judges)?;
            let ranking = ranking_judge(judges)?;
            let recall = RankedRecall {
                value: row.recall,
                judge: identity,
            };
            (ranking == row.judge).then_some((row.run_id, recall))
        })
        .collect()
}
