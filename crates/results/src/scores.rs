//! Conversion between rows of the `score` table and [`DimensionScore`].

use std::collections::{BTreeMap, HashMap};

use chrono::Utc;
use domain::vocabulary::Dimension;
use entity::{RunId, ScoreId, score};
use evaluation::scoring::DimensionScore;
use sea_orm::ActiveValue::Set;
use sea_orm::{DbErr, FromQueryResult, QueryResult, TryGetError};

/// Score of one run in one dimension after one break.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredScore {
    /// Run that was scored.
    pub run_id: RunId,
    /// Number of the break, from 1.
    pub break_index: i32,
    /// Dimension that was scored.
    pub dimension: Dimension,
    /// The figures.
    pub figures: DimensionScore,
}

impl StoredScore {
    /// Columns that a query must select for [`StoredScore`].
    pub const COLUMNS: [score::Column; 16] = [
        score::Column::RunId,
        score::Column::BreakIndex,
        score::Column::Dimension,
        score::Column::N,
        score::Column::Cold,
        score::Column::Baseline,
        score::Column::Post,
        score::Column::Retention,
        score::Column::Known,
        score::Column::Kept,
        score::Column::ItemRetention,
        score::Column::StaleRate,
        score::Column::AbstainedRate,
        score::Column::WrongRate,
        score::Column::PartialRate,
        score::Column::UnreadableRate,
    ];

    /// Returns the row that stores the score as part of a judging.
    pub fn into_row(self, judging: i32) -> score::ActiveModel {
        let stored = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let DimensionScore {
            n,
            cold,
            baseline,
            post,
            retention,
            known,
            kept,
            item_retention,
            stale_rate,
            abstained_rate,
            wrong_rate,
            partial_rate,
            unreadable_rate,
        } = self.figures;
        score::ActiveModel {
            id: Set(ScoreId::new()),
            run_id: Set(self.run_id),
            judging: Set(judging),
            dimension: Set(self.dimension),
            break_index: Set(self.break_index),
            n: Set(stored(n)),
            cold: Set(cold),
            baseline: Set(baseline),
            post: Set(post),
            retention: Set(retention),
            known: Set(known.map(stored)),
            kept: Set(kept.map(stored)),
            item_retention: Set(item_retention),
            stale_rate: Set(stale_rate),
            abstained_rate: Set(abstained_rate),
            wrong_rate: Set(wrong_rate),
            partial_rate: Set(partial_rate),
            unreadable_rate: Set(unreadable_rate),
            created_at: Set(Utc::now()),
        }
    }
}

impl FromQueryResult for StoredScore {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Ok(Self::from_query_result_nullable(row, prefix)?)
    }

    fn from_query_result_optional(row: &QueryResult, prefix: &str) -> Result<Option<Self>, DbErr> {
        match Self::from_query_result_nullable(row, prefix) {
            Ok(score) => Ok(Some(score)),
            Err(TryGetError::Null(_)) => Ok(None),
            Err(TryGetError::DbErr(error)) => Err(error),
        }
    }

    fn from_query_result_nullable(row: &QueryResult, prefix: &str) -> Result<Self, TryGetError> {
        let count = |name: &str| -> Result<Option<usize>, DbErr> {
            let count: Option<i32> = row.try_get(prefix, name)?;
            Ok(count.and_then(|count| usize::try_from(count).ok()))
        };
        let figure = |name: &str| row.try_get::<Option<f64>>(prefix, name);
        Ok(Self {
            run_id: row.try_get_nullable(prefix, "run_id")?,
            break_index: row.try_get_nullable(prefix, "break_index")?,
            dimension: row.try_get_nullable(prefix, "dimension")?,
            figures: DimensionScore {
                n: count("n")?.unwrap_or_default(),
                cold: figure("cold")?,
                baseline: figure("baseline")?,
                post: figure("post")?,
                retention: figure("retention")?,
                known: count("known")?,
                kept: count("kept")?,
                item_retention: figure("item_retention")?,
                stale_rate: figure("stale_rate")?,
                abstained_rate: figure("abstained_rate")?,
                wrong_rate: figure("wrong_rate")?,
                partial_rate: figure("partial_rate")?,
                unreadable_rate: figure("unreadable_rate")?,
            },
        })
    }
}

/// Scores of one run by dimension.
pub type ScoresByDimension = BTreeMap<Dimension, DimensionScore>;

/// Groups the scores of one break by run and dimension.
pub fn scores_by_run(
    scores: impl IntoIterator<Item = StoredScore>,
) -> HashMap<RunId, ScoresByDimension> {
    let mut by_run: HashMap<RunId, ScoresByDimension> = HashMap::new();
    for score in scores {
        by_run
            .entry(score.run_id)
            .or_default()
            .insert(score.dimension, score.figures);
    }
    by_run
}
