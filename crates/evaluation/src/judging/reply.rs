//! The form of a judge's reply.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::claims::{AtomicFact, Finding};

/// Returns the JSON Schema of a reply: one finding per fact, in the subset of JSON Schema that the
/// structured outputs of all providers support.
pub fn reply_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "findings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": { "type": "string" },
                        "claimed": { "type": "boolean" },
                        "value_right": { "type": "boolean" },
                        "abstained": { "type": "boolean" },
                    },
                    "required": ["id", "claimed", "value_right", "abstained"],
                    "additionalProperties": false,
                },
            },
        },
        "required": ["findings"],
        "additionalProperties": false,
    })
}

#[derive(Deserialize)]
struct Reply {
    findings: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    claimed: bool,
    value_right: bool,
    abstained: bool,
}

/// Returns the findings of a reply, one per fact in the order of `facts`.
///
/// Only a JSON object of the schema's form is read, alone or in one fenced code block. A fact that
/// the reply names twice with different findings, or not at all, has no finding. Findings for other
/// ids are ignored. `value_right` without `claimed` is a contradiction and not a finding.
pub fn read_reply(reply: &str, facts: &[AtomicFact]) -> Vec<Option<Finding>> {
    let Ok(reply) = serde_json::from_str::<Reply>(unfenced(reply)) else {
        return vec![None; facts.len()];
    };
    let mut found: BTreeMap<&str, Option<Finding>> = BTreeMap::new();
    for line in &reply.findings {
        let finding = Finding {
            claimed: line.claimed,
            value_right: line.value_right,
            abstained: line.abstained,
        };
        let sound =
            (finding.claimed || !finding.value_right) && !(finding.claimed && finding.abstained);
        let finding = sound.then_some(finding);
        found
            .entry(&line.id)
            .and_modify(|before| {
                if *before != finding {
                    *before = None;
                }
            })
            .or_insert(finding);
    }
    facts
        .iter()
        .map(|fact| found.get(fact.id.as_str()).copied().flatten())
        .collect()
}

fn unfenced(reply: &str) -> &str {
    let reply = reply.trim();
    let inner = reply
        .strip_prefix("```json")
        .or_else(|| reply.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(reply, str::trim)
}
