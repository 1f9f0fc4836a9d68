//! Which agents may be asked for: those of the composition root, and those that workers found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Capabilities;
use moka::future::Cache;
use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::scope;
use crate::state::{ApiState, KnownAgent};

/// How long what is known is kept.
const KEPT: Duration = Duration::from_secs(1);

/// What a worker tells of an agent; everything else it tells is of no concern here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Found {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) display_name: Option<String>,
    #[serde(default)]
    pub(crate) available: bool,
    #[serde(default)]
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) problem: Option<String>,
    #[serde(default)]
    pub(crate) fix: Option<String>,
    #[serde(default)]
    pub(crate) control: bool,
    #[serde(default)]
    pub(crate) default_model: Option<String>,
    #[serde(default)]
    pub(crate) capabilities: Option<Capabilities>,
}

/// What one worker tells of its agents; what cannot be read is left out, for a newer worker may
/// tell more than this version knows.
pub(crate) fn told_by(worker: &entity::worker::Model) -> Vec<Found> {
    let Value::Array(agents) = &worker.agents else {
        return Vec::new();
    };
    agents
        .iter()
        .filter_map(|agent| serde_json::from_value(agent.clone()).ok())
        .collect()
}

/// The agents by name, in the order in which they are to be listed.
#[derive(Clone)]
pub(crate) struct Known(Arc<[KnownAgent]>);

/// What is known, kept for a moment: workers tell news every few seconds.
#[derive(Clone)]
pub(crate) struct Recently(Cache<(), Known>);

impl Recently {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder().max_capacity(1).time_to_live(KEPT);
        Self(cache.build())
    }

    /// What was known a second ago, at most; what is known now where that is not enough for these
    /// agents, so that nothing is refused for having come too soon.
    pub(crate) async fn known(
        &self,
        api: &ApiState,
        asked: Option<&Value>,
    ) -> Result<Known, ApiError> {
        let asked = asked.and_then(Value::as_array).into_iter().flatten();
        if let Some(known) = self.0.get(&()).await
            && asked
                .filter_map(Value::as_str)
                .all(|agent| known.accepts(agent))
        {
            return Ok(known);
        }
        let known = Known::load(api).await?;
        self.0.insert((), known.clone()).await;
        Ok(known)
    }
}

impl Known {
    /// Looks into the rows of the living workers.
    pub(crate) async fn load(api: &ApiState) -> Result<Self, ApiError> {
        let workers = scope::live_workers()
            .all(&api.platform.database)
            .await
            .map_err(ApiError::database("listing workers"))?;
        let mut known = api.known_agents.to_vec();
        let mut found = BTreeMap::new();
        for agent in workers.iter().flat_map(told_by) {
            found.insert(agent.name.clone(), agent);
        }
        for (name, agent) in found {
            if known.iter().all(|other| other.name != name) {
                known.push(KnownAgent {
                    display_name: agent.display_name.unwrap_or_else(|| name.clone()),
                    control: agent.control,
                    takes_model: agent.default_model.is_some(),
                    name,
                });
            }
        }
        Ok(Self(known.into()))
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|agent| agent.name.as_str()).collect()
    }

    /// Whether an agent can be asked for in these words. After a colon, control agents take
    /// a share in `[0, 1]`, and agents that can be told a model its name.
    pub(crate) fn accepts(&self, asked: &str) -> bool {
        let (family, parameter) = match asked.split_once(':') {
            Some((family, parameter)) => (family, Some(parameter)),
            None => (asked, None),
        };
        self.0.iter().any(|agent| {
            agent.name == family
                && parameter.is_none_or(|parameter| {
                    agent.control && is_share(parameter) || agent.takes_model && is_model(parameter)
                })
        })
    }
}

/// A plain decimal in `[0, 1]`; nothing fancier, for it becomes part of names.
fn is_share(text: &str) -> bool {
    text.len() <= 10
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text
            .parse::<f64>()
            .is_ok_and(|share| (0.0..=1.0).contains(&share))
}

/// The name of a model: a word such as `claude-sonnet-4-5` or `qwen/qwen3-coder:free`; nothing that
/// a program could take for an option.
fn is_model(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let agent = |name: &str, control| KnownAgent {
            name: name.to_owned(),
            display_name: name.to_owned(),
            control,
            takes_model: !control,
        };
        Known([agent("claude", false), agent("control-lossy", true)].into())
    }

    #[test]
    fn a_control_agent_takes_a_share() {
        assert!(known().accepts("control-lossy"));
        assert!(known().accepts("control-lossy:0.3"));
        assert!(known().accepts("control-lossy:1"));
    }

    #[test]
    fn other_agents_take_a_model() {
        for model in ["claude-opus-4-8[1m]", "qwen/qwen3-coder:free"] {
            assert!(known().accepts(&format!("claude:{model}")), "{model}");
        }
        for bad in ["", "--help", "a b", "a\nb", "a`b", "$(a)"] {
            assert!(!known().accepts(&format!("claude:{bad}")), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for bad in ["1.1", "-0.1", "NaN", "", "1e-1", "0.3:0.3", ".."] {
            assert!(!known().accepts(&format!("control-lossy:{bad}")), "{bad:?}");
        }
        assert!(!known().accepts("copilot:a-model"));
        assert!(!known().accepts("copilot"));
    }
}
