//! The form of a judge's reply.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::claims::{AtomicFact, Finding};

/// The JSON Schema of a reply: one finding per fact, in the subset of JSON Schema that the providers'
/// structured output share.
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

/// The findings of a reply, one per fact in the order of `facts`.
///
/// Read is a JSON object of the schema's form, alone or inside one fenced block of code; nothing else
/// is looked for. A fact that the reply names twice with different findings, or not at all, has none;
/// findings for other ids are ignored. `value_right` without `claimed` contradicts itself and is no
/// finding.
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
