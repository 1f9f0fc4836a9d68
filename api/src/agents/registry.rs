//! The registry of agents that a task can name: built-in ones and those that live workers report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Capabilities;
use moka::future::Cache;
use sea_orm::DatabaseConnection;
use serde::Deserialize;
use serde_json::Value;

use crate::http::error::ApiError;
use crate::tenancy;

/// Lifetime of a cached registry.
const CACHED_FOR: Duration = Duration::from_secs(1);

/// An agent that the composition root knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAgent {
    pub name: String,
    pub display_name: String,
    pub control: bool,
    /// Accepts the name of a model: `claude:MODEL`.
    pub takes_model: bool,
}

/// The part of a worker's report about an agent that the API shows.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ReportedAgent {
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

/// Returns the agents that a worker reports. Unreadable entries are skipped, because a newer worker
/// may report more than this version understands.
pub(crate) fn reported_agents(worker: &entity::worker::Model) -> Vec<ReportedAgent> {
    let Value::Array(agents) = &worker.agents else {
        return Vec::new();
    };
    agents
        .iter()
        .filter_map(|agent| serde_json::from_value(agent.clone()).ok())
        .collect()
}

/// The agents that a task can name, in listing order.
#[derive(Clone)]
pub(crate) struct AgentRegistry(Arc<[KnownAgent]>);

/// Cache of the registry. Workers report every few seconds.
pub(crate) struct AgentCache {
    database: DatabaseConnection,
    built_in: Arc<[KnownAgent]>,
    cache: Cache<(), AgentRegistry>,
}

impl AgentCache {
    pub(crate) fn new(database: DatabaseConnection, built_in: Arc<[KnownAgent]>) -> Self {
        let cache = Cache::builder().max_capacity(1).time_to_live(CACHED_FOR);
        Self {
            database,
            built_in,
            cache: cache.build(),
        }
    }

    /// Returns a registry that is at most one second old. Reads the rows again if the cached one
    /// lacks one of the requested agents, so that a new agent is accepted at once.
    pub(crate) async fn registry(
        &self,
        requested: Option<&Value>,
    ) -> Result<AgentRegistry, ApiError> {
        let requested = requested.and_then(Value::as_array).into_iter().flatten();
        if let Some(registry) = self.cache.get(&()).await
            && requested
                .filter_map(Value::as_str)
                .all(|agent| registry.accepts(agent))
        {
            return Ok(registry);
        }
        let registry = self.load().await?;
        self.cache.insert((), registry.clone()).await;
        Ok(registry)
    }

    /// Reads the registry from the rows of the live workers.
    pub(crate) async fn load(&self) -> Result<AgentRegistry, ApiError> {
        let workers = tenancy::live_workers()
            .all(&self.database)
            .await
            .map_err(ApiError::database("listing workers"))?;
        let mut known = self.built_in.to_vec();
        let mut reported = BTreeMap::new();
        for agent in workers.iter().flat_map(reported_agents) {
            reported.insert(agent.name.clone(), agent);
        }
        for (name, agent) in reported {
            if known.iter().all(|other| other.name != name) {
                known.push(KnownAgent {
                    display_name: agent.display_name.unwrap_or_else(|| name.clone()),
                    control: agent.control,
                    takes_model: agent.default_model.is_some(),
                    name,
                });
            }
        }
        Ok(AgentRegistry(known.into()))
    }
}

impl AgentRegistry {
    /// Returns the names in listing order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|agent| agent.name.as_str()).collect()
    }

    /// Returns whether a task can name this agent. After a colon, a control agent takes a share in
    /// `[0, 1]`, and an agent with selectable models takes the name of a model.
    pub(crate) fn accepts(&self, requested: &str) -> bool {
        let (family, parameter) = match requested.split_once(':') {
            Some((family, parameter)) => (family, Some(parameter)),
            None => (requested, None),
        };
        self.0.iter().any(|agent| {
            agent.name == family
                && parameter.is_none_or(|parameter| {
                    agent.control && is_share(parameter) || agent.takes_model && is_model(parameter)
                })
        })
    }
}

/// Returns whether a text is a plain decimal in `[0, 1]`. Other notations are refused, because the
/// text becomes part of names.
fn is_share(text: &str) -> bool {
    text.len() <= 10
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text
            .parse::<f64>()
            .is_ok_and(|share| (0.0..=1.0).contains(&share))
}

/// Returns whether a text is the name of a model, such as `claude-sonnet-4-5` or
/// `qwen/qwen3-coder:free`. A program must not be able to mistake it for an option.
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

    fn registry() -> AgentRegistry {
        let agent = |name: &str, control| KnownAgent {
            name: name.to_owned(),
            display_name: name.to_owned(),
            control,
            takes_model: !control,
        };
        AgentRegistry([agent("claude", false), agent("control-lossy", true)].into())
    }

    #[test]
    fn a_control_agent_takes_a_share() {
        assert!(registry().accepts("control-lossy"));
        assert!(registry().accepts("control-lossy:0.3"));
        assert!(registry().accepts("control-lossy:1"));
    }

    #[test]
    fn other_agents_take_a_model() {
        for model in ["claude-opus-4-8[1m]", "qwen/qwen3-coder:free"] {
            assert!(registry().accepts(&format!("claude:{model}")), "{model}");
        }
        for bad in ["", "--help", "a b", "a\nb", "a`b", "$(a)"] {
            assert!(!registry().accepts(&format!("claude:{bad}")), "{bad:?}");
        }
    }

    #[test]
    fn an_invalid_share_is_refused() {
        for bad in ["1.1", "-0.1", "NaN", "", "1e-1", "0.3:0.3", ".."] {
            assert!(
                !registry().accepts(&format!("control-lossy:{bad}")),
                "{bad:?}"
            );
        }
        assert!(!registry().accepts("copilot:a-model"));
        assert!(!registry().accepts("copilot"));
    }
}
