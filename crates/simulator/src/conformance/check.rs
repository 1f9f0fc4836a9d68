//! A check of the conformance suite, and its outcome.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agents::adapter::AgentAdapter;
use agents::sandbox::Sandbox;
use serde::Serialize;

/// Outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    /// The agent declares that it lacks the capability.
    Declared {
        what: String,
    },
    Failed {
        why: String,
    },
}

/// One check with its outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    #[serde(flatten)]
    pub outcome: Outcome,
    #[serde(serialize_with = "as_millis", rename = "duration_ms")]
    pub duration: Duration,
}

fn as_millis<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Check {
    /// Returns whether the adapter failed the check.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }
}

/// The adapter to check.
#[derive(Clone)]
pub struct Subject {
    pub adapter: Arc<dyn AgentAdapter>,
    pub sandbox: Sandbox,
    /// Folder for HOMEs and workspaces. It must not be below `/tmp`, where some programs behave
    /// differently.
    pub folder: PathBuf,
    /// Time without any output after which a turn fails. It decides how fast a hanging provider is
    /// detected.
    pub stall: Duration,
}

/// Result of a check. An error describes why it failed, `Some` names a capability that the agent
/// declares as missing.
pub(super) type CheckResult = anyhow::Result<Option<String>>;

/// Returns the result of a check that needs a missing capability.
pub(super) fn declared(limitation: &str) -> CheckResult {
    Ok(Some(limitation.to_owned()))
}
