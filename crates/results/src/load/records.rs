//! Rows of a run from other tables than `agent_run`.

use std::collections::HashMap;

use domain::vocabulary::{Arm, Topic};
use entity::{RunId, agent_run, recall, score, task};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, JoinType, QueryFilter, QueryOrder,
    QuerySelect, RelationTrait,
};

use super::answers::{self, AnswerCounts};
use crate::run_stats::FIRST_BREAK;
use crate::scores::{ScoresByDimension, StoredScore};

/// Rows of a run from other tables than `agent_run`.
#[derive(Default)]
pub(super) struct RunRecords {
    /// Scores by break and dimension.
    pub(super) scores: Vec<StoredScore>,
    pub(super) recalls: Vec<recall::Model>,
    pub(super) open: Vec<recall::Model>,
    pub(super) counts: AnswerCounts,
}

impl RunRecords {
    /// Returns the scores of one break.
    pub(super) fn scores_of(&self, break_index: i32) -> ScoresByDimension {
        self.scores
            .iter()
            .filter(|score| score.break_index == break_index)
            .map(|score| (score.dimension, score.figures))
            .collect()
    }

    /// Returns the free recall after the first break, as graded by `judge`.
    pub(super) fn recall_by(&self, judge: &str) -> Option<f64> {
        let mut recalls = self
            .recalls
            .iter()
            .filter(|recall| recall.arm == Arm::Post && recall.break_index == FIRST_BREAK);
        recalls.find(|recall| recall.judge == judge)?.recall
    }
}

/// Loads the records of all runs of a task, for the judging that is shown.
pub(super) async fn run_records(
    database: &DatabaseConnection,
    task: &task::Model,
) -> Result<HashMap<RunId, RunRecords>, DbErr> {
    let scores = score::Entity::find()
        .join(JoinType::InnerJoin, score::Relation::AgentRun.def())
        .filter(score::Column::Judging.eq(task.judging))
        .filter(agent_run::Column::TaskId.eq(task.id))
        .order_by_asc(score::Column::BreakIndex)
        .order_by_asc(score::Column::Dimension)
        .select_only()
        .columns(StoredScore::COLUMNS)
        .into_model::<StoredScore>()
        .all(database)
        .await?;
    let recalls = recall::Entity::find()
        .join(JoinType::InnerJoin, recall::Relation::AgentRun.def())
        .filter(recall::Column::Judging.eq(task.judging))
        .filter(agent_run::Column::TaskId.eq(task.id))
        .order_by_asc(recall::Column::Topic)
        .order_by_asc(recall::Column::BreakIndex)
        .order_by_asc(recall::Column::Arm)
        .order_by_asc(recall::Column::Judge)
        .all(database)
        .await?;
    let mut records: HashMap<RunId, RunRecords> = HashMap::new();
    for (run, counts) in answers::counts_by_run(database, task.id).await? {
        records.entry(run).or_default().counts = counts;
    }
    for score in scores {
        records.entry(score.run_id).or_default().scores.push(score);
    }
    for recall in recalls {
        let own = records.entry(recall.run_id).or_default();
        match recall.topic {
            Topic::FreeRecall => own.recalls.push(recall),
            Topic::Purpose | Topic::Risks | Topic::Rollback => own.open.push(recall),
        }
    }
    Ok(records)
}
