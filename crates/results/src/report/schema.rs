//! JSON Schemas (draft 2020-12) of the documents, as published in `docs/`.

use crate::document::ResultDocument;
use crate::overall_document::OverallDocument;

/// Returns the schema of `result.json`.
pub fn result_schema() -> serde_json::Value {
    schemars::schema_for!(ResultDocument).to_value()
}

/// Returns the schema of the document over several tasks (`membreak report --across --format json`).
pub fn overall_schema() -> serde_json::Value {
    schemars::schema_for!(OverallDocument).to_value()
}
