//! Names of agents: a family and, after a colon, a parameter, as in `claude:MODEL`.

use crate::failure::Failure;

/// Returns the part of an agent's name before its parameter. Its queue and its adapter have this
/// name.
pub fn family(agent: &str) -> &str {
    agent.split(':').next().unwrap_or(agent)
}

/// Returns the model in an agent's name, such as `claude:MODEL`.
///
/// # Errors
///
/// Fails if the parameter is not a word that a program would accept as a model and never take for
/// an option.
pub(super) fn model(agent: &str) -> Result<&str, Failure> {
    let model = agent.split_once(':').map_or("", |(_, model)| model);
    let is_word = model.starts_with(|c: char| c.is_ascii_alphanumeric())
        && model
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@[]".contains(&byte));
    if is_word {
        Ok(model)
    } else {
        Err(Failure::harness(format!(
            "invalid agent name {agent:?}: the model after the colon is missing or malformed. \
             Write agent:model"
        )))
    }
}
