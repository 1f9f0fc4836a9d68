//! The score figures of a run in one dimension, as clients see them.

use evaluation::scoring::DimensionScore;
use serde::{Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Figures that only leaderboards use. Views do not contain them.
const INTERNAL: [&str; 2] = ["known", "kept"];

/// The score figures of a run in one dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DimensionView(DimensionScore);

impl From<DimensionScore> for DimensionView {
    fn from(score: DimensionScore) -> Self {
        Self(score)
    }
}

impl Serialize for DimensionView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut figures = serde_json::to_value(self.0).map_err(serde::ser::Error::custom)?;
        if let Some(figures) = figures.as_object_mut() {
            figures.retain(|name, _| !INTERNAL.contains(&name.as_str()));
        }
        figures.serialize(serializer)
    }
}

impl PartialSchema for DimensionView {
    fn schema() -> RefOr<Schema> {
        let mut schema = DimensionScore::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            for name in INTERNAL {
                object.properties.remove(name);
            }
        }
        schema
    }
}

impl ToSchema for DimensionView {}
