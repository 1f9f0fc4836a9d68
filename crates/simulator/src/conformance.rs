//! The conformance suite: what every adapter must do, whichever program is behind it.
//!
//! The program talks to a model stub, so nothing costs anything, and what it really sent is on
//! record: a check asks the record, not the program. What an agent declares that it cannot do is
//! shown as declared; it is never passed over in silence.

mod bench;
mod conversation;
mod breaks;
mod seal;
mod faults;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agents::adapter::AgentAdapter;
use agents::sandbox::Sandbox;
use serde::Serialize;

use bench::Bench;
pub use bench::processes_below;

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    /// The agent says beforehand that it cannot do this.
    Declared {
        what: String,
    },
    Failed {
        why: String,
    },
}

/// One check.
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
    /// Whether it speaks against the adapter.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }
}

/// What is to be checked.
#[derive(Clone)]
pub struct Subject {
    pub adapter: Arc<dyn AgentAdapter>,
    pub sandbox: Sandbox,
    /// Where HOMEs and workspaces are made. Not below `/tmp`: some programs behave otherwise there.
    pub folder: PathBuf,
    /// Without any output of the program for so long a turn fails: how long a hanging provider
    /// takes to be noticed.
    pub stall: Duration,
}

/// What came of a check: an error says why it failed, `Some` what the agent cannot do.
type Found = anyhow::Result<Option<String>>;

/// The names of the checks, in their order.
pub const CHECKS: [&str; 18] = [
    "probe",
    "turn",
    "tool_call",
    "usage",
    "auto_break",
    "forced_break",
    "manual_break",
    "failed_break",
    "secret_gone_after_break",
    "fork",
    "sealed_without_tools",
    "canary",
    "resume",
    "provider_errors",
    "garbage",
    "hang",
    "cancel_ends_the_group",
    "no_secret_in_what_is_kept",
];

/// Runs all checks, one after the other; `tell` hears of each as it ends.
pub async fn run(subject: &Subject, mut tell: impl FnMut(&Check) + Send) -> Vec<Check> {
    let mut checks = Vec::with_capacity(CHECKS.len());
    for name in CHECKS {
        let check = run_one(subject, name).await;
        tell(&check);
        checks.push(check);
    }
    checks
}

/// Runs one check by its name; one that is not known fails.
pub async fn run_one(subject: &Subject, name: &str) -> Check {
    let begun = Instant::now();
    let outcome = match check(subject, name).await {
        Ok(None) => Outcome::Passed,
        Ok(Some(what)) => Outcome::Declared { what },
        Err(error) => Outcome::Failed {
            why: format!("{error:#}"),
        },
    };
    Check {
        name: CHECKS
            .into_iter()
            .find(|known| *known == name)
            .unwrap_or("unknown"),
        outcome,
        duration: begun.elapsed(),
    }
}

async fn check(subject: &Subject, name: &str) -> Found {
    let bench = Bench::new(subject).await?;
    match name {
        "probe" => conversation::probe(&bench).await,
        "turn" => conversation::turn(&bench).await,
        "tool_call" => conversation::tool_call(&bench).await,
        "usage" => conversation::usage(&bench).await,
        "auto_break" => breaks::auto(&bench).await,
        "forced_break" => breaks::forced(&bench).await,
        "manual_break" => breaks::manual(&bench).await,
        "failed_break" => breaks::failed(&bench).await,
        "secret_gone_after_break" => breaks::secret(&bench).await,
        "fork" => conversation::fork(&bench).await,
        "sealed_without_tools" => seal::tools(&bench).await,
        "canary" => seal::canary(&bench).await,
        "resume" => conversation::resume(&bench).await,
        "provider_errors" => faults::errors(&bench).await,
        "garbage" => faults::garbage(&bench).await,
        "hang" => faults::hang(&bench).await,
        "cancel_ends_the_group" => faults::cancel(&bench).await,
        "no_secret_in_what_is_kept" => seal::secrets(&bench).await,
        other => anyhow::bail!("there is no check {other}"),
    }
}
