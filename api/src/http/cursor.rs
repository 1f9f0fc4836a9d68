//! A place in a list that is ordered by time, newest first. It stays where it is when rows are added.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use entity::task;
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ColumnTrait, Condition};
use uuid::Uuid;

use crate::http::error::Problem;
use crate::http::validation::FieldReader;

/// The years 1 and 9999, in microseconds since 1970.
const EARLIEST: i64 = -62_135_596_800_000_000;
const LATEST: i64 = 253_370_764_800_000_000;

/// Reads the cursor of a request.
pub(crate) fn read_cursor(query: &mut FieldReader) -> Option<Cursor> {
    let text = query.text("cursor")?;
    let cursor = text.parse().ok();
    if cursor.is_none() {
        let loc = query.loc("cursor");
        let msg = "Input should be a next_cursor of an earlier response";
        query.add_problem(Problem::new("value_error", loc, msg, text.into()));
    }
    cursor
}

/// A position after a row. Its encoding is opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    at: DateTime<Utc>,
    id: Uuid,
}

impl Cursor {
    pub(crate) fn new(at: DateTime<Utc>, id: Uuid) -> Self {
        Self { at, id }
    }

    /// The tasks after this place.
    pub(crate) fn after(self) -> SimpleExpr {
        after(task::Column::CreatedAt, task::Column::Id, self)
    }

    /// The rows after this place, of a table that is ordered by `at` and `id`.
    pub(crate) fn in_columns(self, at: impl ColumnTrait, id: impl ColumnTrait) -> SimpleExpr {
        after(at, id, self)
    }
}

fn after(at: impl ColumnTrait, id: impl ColumnTrait, cursor: Cursor) -> SimpleExpr {
    // The first condition alone lets an index find the place.
    let same = Condition::any().add(at.lt(cursor.at)).add(id.lt(cursor.id));
    Expr::from(Condition::all().add(at.lte(cursor.at)).add(same))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ())?;
        let bytes: [u8; 24] = bytes.try_into().map_err(|_| ())?;
        let (micros, id) = bytes.split_at(8);
        let micros = i64::from_be_bytes(micros.try_into().map_err(|_| ())?);
        // No rows exist beyond these limits, and no database accepts larger values.
        let micros = micros.clamp(EARLIEST, LATEST);
        let at = DateTime::from_timestamp_micros(micros).ok_or(())?;
        Ok(Self::new(at, Uuid::from_slice(id).map_err(|_| ())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let at = DateTime::from_timestamp_micros(1_795_412_710_287_697).unwrap();
        let cursor = Cursor::new(at, Uuid::now_v7());
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn an_invalid_cursor_is_refused() {
        for bad in ["", "abc", "!!!", &"A".repeat(31), &"=".repeat(32)] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
    }
}
