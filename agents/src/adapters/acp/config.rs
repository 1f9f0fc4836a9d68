//! Agents that are described in `agents.toml`.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde::Deserialize;

/// Content of `agents.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    agent: Vec<ConfiguredAgent>,
}

/// One `[[agent]]` of `agents.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredAgent {
    /// Lower case letters, digits and dashes. The agent's queue has this name.
    pub name: String,
    #[serde(default)]
    pub display_name: Option<String>,
    /// Path of the program, or its name in `AGENTS_DIR/bin` or `PATH`.
    pub command: String,
    #[serde(default)]
    pub args: Vec<String>,
    /// Additional arguments that remove the tools of a sealed session. Without them the tools stay,
    /// and the seal depends on the sandbox and on refused permissions.
    #[serde(default)]
    pub sealed_args: Option<Vec<String>>,
    /// Variables for the program. `${NAME}` is the worker's own variable of that name.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables that make the program use models at another address. `{url}` and `{key}` are
    /// filled in.
    #[serde(default)]
    pub endpoint_env: BTreeMap<String, String>,
    /// Prompt that makes the program compact, such as `/compress`.
    #[serde(default)]
    pub compact_command: Option<String>,
    /// Regular expression for the agent's announcement of a compaction. The groups `before`,
    /// `after` and `summary` are read. Without it the structural detector checks the size of the
    /// context.
    #[serde(default)]
    pub compaction_pattern: Option<String>,
    /// The program compacts by itself when its context is full.
    #[serde(default)]
    pub compacts_by_itself: bool,
    /// The program reports the size of its context (`usage_update`).
    #[serde(default)]
    pub reports_usage: bool,
    /// The program can continue a session (`session/load`).
    #[serde(default)]
    pub load_session: bool,
    #[serde(default)]
    pub install_hint: Option<String>,
}

impl ConfiguredAgent {
    /// Returns the worker's variables that the program gets.
    pub fn variables(&self) -> BTreeSet<String> {
        self.env
            .values()
            .filter_map(|value| referenced_variable(value))
            .chain(self.endpoint_env.keys().map(String::as_str))
            .map(str::to_owned)
            .collect()
    }

    /// Returns the compiled pattern. It was checked when the file was parsed.
    pub(super) fn pattern(&self) -> Option<Regex> {
        Regex::new(self.compaction_pattern.as_ref()?).ok()
    }
}

/// Returns the name in `${NAME}`.
pub(super) fn referenced_variable(value: &str) -> Option<&str> {
    value.strip_prefix("${")?.strip_suffix('}')
}

/// Parses the text of `agents.toml`. `reserved_names` belong to built-in agents.
///
/// # Errors
///
/// Describes the first problem and its position.
pub fn parse(text: &str, reserved_names: &[&str]) -> Result<Vec<ConfiguredAgent>, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut names: BTreeSet<&str> = reserved_names.iter().copied().collect();
    for agent in &document.agent {
        let invalid = |problem: String| Err(format!("agent {:?}: {problem}", agent.name));
        let is_name = agent.name.starts_with(|c: char| c.is_ascii_lowercase())
            && agent
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_name {
            return invalid(
                "a name must consist of lower case letters, digits and dashes".to_owned(),
            );
        }
        if !names.insert(&agent.name) {
            return invalid("an agent of this name already exists".to_owned());
        }
        if agent.command.trim().is_empty() {
            return invalid("command is empty".to_owned());
        }
        if let Some(pattern) = &agent.compaction_pattern
            && let Err(error) = Regex::new(pattern)
        {
            return invalid(format!("compaction_pattern: {error}"));
        }
        let is_variable = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        for (name, value) in agent.env.iter().chain(&agent.endpoint_env) {
            if !is_variable(name)
                || referenced_variable(value).is_some_and(|variable| !is_variable(variable))
            {
                return invalid(format!("{name} = {value:?} is not a valid variable"));
            }
        }
        if agent.compact_command.is_some()
            && agent.compaction_pattern.is_none()
            && !agent.reports_usage
        {
            return invalid(
                "compact_command needs compaction_pattern or reports_usage: nothing else proves \
                 that the agent compacted"
                    .to_owned(),
            );
        }
    }
    Ok(document.agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_agent_is_parsed() {
        let text = r#"
            [[agent]]
            name = "my-agent"
            command = "my-agent"
            args = ["--acp"]
            env = { KEY = "${MY_KEY}", MODE = "quiet" }
            compact_command = "/compress"
            compaction_pattern = 'from (?P<before>\d+) to (?P<after>\d+)'
        "#;
        let agents = parse(text, &["claude"]).expect("a good file");
        assert_eq!(agents.len(), 1);
        assert_eq!(
            agents[0].variables().into_iter().collect::<Vec<_>>(),
            ["MY_KEY"]
        );
        assert!(agents[0].pattern().is_some());
        assert!(parse("", &[]).expect("an empty file").is_empty());
    }

    #[test]
    fn problems_are_reported_with_their_position() {
        let agent = |more: &str| format!("[[agent]]\nname = \"a\"\ncommand = \"a\"\n{more}\n");
        for (text, expected) in [
            ("[[agent]]\nname = 1\n".to_owned(), "line 2"),
            (agent("comand = \"a\""), "unknown field"),
            (agent("").replace("\"a\"\nc", "\"A b\"\nc"), "lower case"),
            (agent("") + &agent(""), "already"),
            (
                agent("").replace("name = \"a\"", "name = \"claude\""),
                "already",
            ),
            (agent("compaction_pattern = \"(\""), "compaction_pattern"),
            (agent("compact_command = \"/c\""), "reports_usage"),
            (agent("env = { A = \"${B C}\" }"), "not a valid variable"),
        ] {
            let error = parse(&text, &["claude"]).expect_err(&text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
