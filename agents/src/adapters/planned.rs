//! Agents whose names are known and whose adapters are not part of this version.
//!
//! A run of one of them ends with a failure of the harness, which says so; it is never scored.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::adapter::{
    AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile, SessionSpec,
};
use crate::failure::Failure;

/// An agent that cannot be run yet.
pub(super) struct PlannedAdapter {
    profile: Profile,
}

/// All of them.
pub(super) fn all() -> Vec<PlannedAdapter> {
    [("iflow", "iFlow CLI"), ("qwen", "Qwen Code")]
        .into_iter()
        .map(|(name, display_name)| PlannedAdapter {
            profile: Profile {
                name: name.to_owned(),
                display_name: display_name.to_owned(),
                capabilities: Capabilities::default(),
                install_hint: "not part of this version".to_owned(),
                control: false,
                environment: Vec::new(),
                default_model: None,
            },
        })
        .collect()
}

impl PlannedAdapter {
    fn refusal(&self) -> Failure {
        Failure::harness(format!(
            "the adapter for {} is not part of this version",
            self.profile.display_name
        ))
    }
}

#[async_trait]
impl AgentAdapter for PlannedAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        Err(Failure::harness(format!(
            "{} takes no parameter, but {agent:?} has one",
            self.profile.name
        )))
    }

    async fn probe(&self) -> Presence {
        Presence::Missing {
            why: self.refusal().message,
            fix: "use the control agents, or a later version".to_owned(),
        }
    }

    fn endpoint_environment(&self, _: &Endpoint) -> Option<BTreeMap<String, String>> {
        None
    }

    async fn open(&self, _: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Err(self.refusal())
    }

    async fn resume(
        &self,
        _: SessionSpec,
        _: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        Err(self.refusal())
    }
}
