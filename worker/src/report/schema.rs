//! The JSON Schema of the result document.

use crate::result::ResultDocument;

/// The schema (draft 2020-12) of `result.json`, as it is published in `docs/result.schema.json`.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(ResultDocument).to_value()
}
