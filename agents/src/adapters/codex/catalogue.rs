//! The catalogue in which Codex describes its models.

use serde_json::{Value, json};

use crate::failure::Failure;

/// Size of a context that is never full, in tokens.
pub(super) const ENDLESS_WINDOW: u64 = 1_000_000_000;

/// Models of the program, changed so that all have ordinary tools.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) file: Vec<u8>,
    /// Tokens that fit into the model's context by the program's own catalogue, if it lists the
    /// model.
    pub(super) window: Option<u64>,
}

impl Catalogue {
    /// Reads the output of `codex debug models`.
    ///
    /// All models lose the tools that no setting removes, get the other tools in the ordinary way,
    /// and accept any window.
    ///
    /// # Errors
    ///
    /// Fails if the output is not a catalogue.
    pub(super) fn parse(output: &[u8], model: &str) -> Result<Self, Failure> {
        let invalid = || Failure::harness("Codex printed no valid catalogue of its models");
        let mut catalogue: Value = serde_json::from_slice(output).map_err(|_| invalid())?;
        let models = catalogue.get_mut("models").and_then(Value::as_array_mut);
        let mut window = None;
        for entry in models.ok_or_else(invalid)? {
            if entry["slug"] == model {
                let percent = entry["effective_context_window_percent"].as_u64();
                window = entry["context_window"]
                    .as_u64()
                    .and_then(|window| window.checked_mul(percent.unwrap_or(100)))
                    .map(|hundredths| hundredths / 100);
            }
            let Some(entry) = entry.as_object_mut() else {
                continue;
            };
            for (name, value) in [
                ("apply_patch_tool_type", Value::Null),
                ("supports_search_tool", json!(false)),
                ("experimental_supported_tools", json!([])),
                ("use_responses_lite", json!(false)),
                ("max_context_window", json!(ENDLESS_WINDOW)),
            ] {
                entry.insert(name.to_owned(), value);
            }
            entry.remove("tool_mode");
            entry.remove("multi_agent_version");
        }
        Ok(Self {
            file: catalogue.to_string().into_bytes(),
            window,
        })
    }
}
