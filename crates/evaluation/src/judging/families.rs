//! Families of models: a juror may not judge an agent of its own family.

use serde::{Deserialize, Serialize};

/// Signs of a family in the name of a model. A sign that is short or a part of other words counts
/// only as a whole part of the name (`o3`, `o3-mini`, not `foo3`).
const FAMILIES: [(&str, &str); 40] = [
    ("claude", "claude"),
    ("opus", "claude"),
    ("sonnet", "claude"),
    ("haiku", "claude"),
    ("fable", "claude"),
    ("gemini", "gemini"),
    ("gemma", "gemini"),
    ("gpt", "gpt"),
    ("chatgpt", "gpt"),
    ("codex", "gpt"),
    ("davinci", "gpt"),
    ("o1", "gpt"),
    ("o3", "gpt"),
    ("o4", "gpt"),
    ("qwen", "qwen"),
    ("qwen2", "qwen"),
    ("qwen3", "qwen"),
    ("qwq", "qwen"),
    ("deepseek", "deepseek"),
    ("kimi", "kimi"),
    ("moonshot", "kimi"),
    ("iflow", "iflow"),
    ("llama", "llama"),
    ("glm", "glm"),
    ("chatglm", "glm"),
    ("grok", "grok"),
    ("mistral", "mistral"),
    ("mixtral", "mistral"),
    ("codestral", "mistral"),
    ("devstral", "mistral"),
    ("magistral", "mistral"),
    ("ministral", "mistral"),
    ("minimax", "minimax"),
    ("command", "command"),
    ("nova", "nova"),
    ("phi", "phi"),
    ("nemotron", "nemotron"),
    ("ernie", "ernie"),
    ("granite", "granite"),
    ("control", "control"),
];

/// Returns the family of a model, or of an agent that is named after one. Returns `None` if it is
/// unknown.
pub fn family(model: &str) -> Option<&'static str> {
    let name = bare(model);
    let parts: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    FAMILIES
        .iter()
        .find(|(sign, _)| {
            parts.iter().any(|part| {
                *part == *sign || sign.len() > 3 && part.starts_with(sign) || {
                    // `llama3`, `glm4`, `phi4`.
                    part.strip_prefix(sign).is_some_and(|rest| {
                        sign.len() > 2 && rest.chars().all(|c| c.is_ascii_digit() || c == 'o')
                    })
                }
            })
        })
        .map(|(_, family)| *family)
}

/// Returns the name of a model without its provider and variant (`z-ai/glm-4.6:free`), in lower
/// case.
fn bare(model: &str) -> String {
    let model = model.to_lowercase();
    let model = model.rsplit('/').next().unwrap_or_default();
    model.split(':').next().unwrap_or_default().to_owned()
}

/// Returns whether two names refer to the same model.
pub fn same_model(a: &str, b: &str) -> bool {
    bare(a) == bare(b)
}

/// A juror, with the properties that decide which agents it may judge.
#[derive(Clone, Copy, Debug)]
pub struct Juror<'a> {
    pub model: &'a str,
    /// The configured family, or the family by its name. `None` if neither is known.
    pub family: Option<&'a str>,
}

/// Reason for which a juror does not judge an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The juror is the agent's own model.
    SameModel,
    /// The juror is of the family of the agent's model or of the agent's maker.
    SameFamily,
    /// Both families are unknown, so they may be the same.
    FamiliesUnknown,
}

/// Returns the reason for which a juror may not judge an agent, if any.
///
/// The model that the agent uses is compared. If its name has no known family, the family that the
/// agent itself is named after is compared. A juror of an unknown family judges only agents of a
/// known family: two unknown families may be the same.
pub fn exclusion(juror: Juror<'_>, agent: &str, model: Option<&str>) -> Option<Exclusion> {
    if model.is_some_and(|model| same_model(model, juror.model)) {
        return Some(Exclusion::SameModel);
    }
    let of_model = model.and_then(family);
    // If the name of the model has a family, the maker of the agent does not count.
    let of_agent = of_model.or_else(|| family(agent));
    let unknown = of_agent.is_none() || of_model.is_none() && model.is_some();
    match juror.family {
        Some(own) if of_agent == Some(own) => Some(Exclusion::SameFamily),
        None if unknown => Some(Exclusion::FamiliesUnknown),
        Some(_) | None => None,
    }
}
