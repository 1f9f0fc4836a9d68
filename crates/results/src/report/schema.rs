//! The JSON Schemas (draft 2020-12) of the documents, as they are published in `docs/`.

use crate::across::Across;
use crate::document::ResultDocument;

/// That of `result.json`.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(ResultDocument).to_value()
}

/// That of the document over several tasks (`membreak report --across --format json`).
pub fn across_schema() -> serde_json::Value {
    schemars::schema_for!(Across).to_value()
}
