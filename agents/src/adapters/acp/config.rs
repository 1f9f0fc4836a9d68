//! Agents that are configured and not coded: `agents.toml`.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    agent: Vec<Configured>,
}

/// One `[[agent]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configured {
    /// Lower case letters, digits and dashes; a queue is named after it.
    pub name: String,
    #[serde(default)]
    pub display_name: Option<String>,
    /// A path, or the name of a program in `AGENTS_DIR/bin` or `PATH`.
    pub command: String,
    #[serde(default)]
    pub args: Vec<String>,
    /// Further arguments of a sealed session: what takes its tools away. Not given: they stay, and
    /// the seal rests on the sandbox and on refused permissions.
    #[serde(default)]
    pub sealed_args: Option<Vec<String>>,
    /// Variables for the program; `${NAME}` is the worker's own variable of that name.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables that make it ask the models at another address: `{url}` and `{key}` are filled in.
    #[serde(default)]
    pub endpoint_env: BTreeMap<String, String>,
    /// What makes it compact when it is said as a prompt, such as `/compress`.
    #[serde(default)]
    pub compact_command: Option<String>,
    /// A regular expression for what the agent says when it has compacted; groups named `before`,
    /// `after` and `summary` are read. Not given: the structural detector looks at the size of the
    /// context.
    #[serde(default)]
    pub compaction_pattern: Option<String>,
    /// It compacts by itself when its context is full.
    #[serde(default)]
    pub compacts_by_itself: bool,
    /// It reports how full its context is (`usage_update`).
    #[serde(default)]
    pub reports_usage: bool,
    /// It can go on with a session (`session/load`).
    #[serde(default)]
    pub load_session: bool,
    #[serde(default)]
    pub install_hint: Option<String>,
}

impl Configured {
    /// The worker's variables that it is given.
    pub fn variables(&self) -> BTreeSet<String> {
        self.env
            .values()
            .filter_map(|value| passed(value))
            .chain(self.endpoint_env.keys().map(String::as_str))
            .map(str::to_owned)
            .collect()
    }

    /// The pattern, compiled. It was looked at when the file was read.
    pub(super) fn pattern(&self) -> Option<Regex> {
        Regex::new(self.compaction_pattern.as_ref()?).ok()
    }
}

/// The name in `${NAME}`.
pub(super) fn passed(value: &str) -> Option<&str> {
    value.strip_prefix("${")?.strip_suffix('}')
}

/// Reads a file's text. `taken` are the names that there are already.
///
/// # Errors
///
/// What is wrong, and where.
pub fn read(text: &str, taken: &[&str]) -> Result<Vec<Configured>, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut names: BTreeSet<&str> = taken.iter().copied().collect();
    for agent in &document.agent {
        let wrong = |what: String| Err(format!("agent {:?}: {what}", agent.name));
        let is_name = agent.name.starts_with(|c: char| c.is_ascii_lowercase())
            && agent
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_name {
            return wrong("a name is made of lower case letters, digits and dashes".to_owned());
        }
        if !names.insert(&agent.name) {
            return wrong("there is an agent of this name already".to_owned());
        }
        if agent.command.trim().is_empty() {
            return wrong("command is empty".to_owned());
        }
        if let Some(pattern) = &agent.compaction_pattern
            && let Err(error) = Regex::new(pattern)
        {
            return wrong(format!("compaction_pattern: {error}"));
        }
        let is_variable = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        for (name, value) in agent.env.iter().chain(&agent.endpoint_env) {
            if !is_variable(name) || passed(value).is_some_and(|passed| !is_variable(passed)) {
                return wrong(format!("{name} = {value:?} names no variable"));
            }
        }
        if agent.compact_command.is_some()
            && agent.compaction_pattern.is_none()
            && !agent.reports_usage
        {
            return wrong(
                "compact_command needs compaction_pattern, or reports_usage: nothing else shows \
                 that it compacted"
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
    fn a_whole_agent_is_read() {
        let text = r#"
            [[agent]]
            name = "my-agent"
            command = "my-agent"
            args = ["--acp"]
            env = { KEY = "${MY_KEY}", MODE = "quiet" }
            compact_command = "/compress"
            compaction_pattern = 'from (?P<before>\d+) to (?P<after>\d+)'
        "#;
        let agents = read(text, &["claude"]).expect("a good file");
        assert_eq!(agents.len(), 1);
        assert_eq!(
            agents[0].variables().into_iter().collect::<Vec<_>>(),
            ["MY_KEY"]
        );
        assert!(agents[0].pattern().is_some());
        assert!(read("", &[]).expect("an empty file").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let agent = |more: &str| format!("[[agent]]\nname = \"a\"\ncommand = \"a\"\n{more}\n");
        for (text, says) in [
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
            (agent("env = { A = \"${B C}\" }"), "names no variable"),
        ] {
            let error = read(&text, &["claude"]).expect_err(&text);
            assert!(error.contains(says), "{error}");
        }
    }
}
