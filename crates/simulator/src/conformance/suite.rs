//! Runs the checks.

use std::time::Instant;

use super::bench::Bench;
use super::check::{Check, CheckResult, Outcome, Subject};
use super::{breaks, conversation, faults, seal};

/// Names of the checks, in their order.
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

/// Runs all checks, one after the other. Calls `on_check` after each.
pub async fn run(subject: &Subject, mut on_check: impl FnMut(&Check) + Send) -> Vec<Check> {
    let mut checks = Vec::with_capacity(CHECKS.len());
    for name in CHECKS {
        let check = run_one(subject, name).await;
        on_check(&check);
        checks.push(check);
    }
    checks
}

/// Runs one check by its name. An unknown name fails.
pub async fn run_one(subject: &Subject, name: &str) -> Check {
    let started = Instant::now();
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
            .find(|check| *check == name)
            .unwrap_or("unknown"),
        outcome,
        duration: started.elapsed(),
    }
}

async fn check(subject: &Subject, name: &str) -> CheckResult {
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
        other => anyhow::bail!("unknown check {other}"),
    }
}
