//! Classification of failed turns by the program's own report.
//!
//! For most faults of the provider the exit status is the provider's status modulo 256. For the
//! rest it is 1. Numbers from 41 on are the program's own. Only texts that the program itself wrote
//! are searched: its error message and its standard error.

use std::time::Duration;

use super::stream::StreamReader;
use crate::adapters::cli_adapter::json::shorten;
use crate::adapters::cli_adapter::turn_fault::TurnFault;
use crate::failure::{Cause, Failure};
use crate::process::ProgramExit;

/// Prefix of every fault of a request.
const REQUEST_FAULT: &str = "[API Error: ";
/// Second prefix of the faults of compression requests.
const COMPRESSION_FAULT: &str = "Failed to generate content: ";
/// Maximum length of an error message, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

/// Returns the fault of a turn. Returns `None` if the turn succeeded.
pub(super) fn fault(reader: &StreamReader, exit: &ProgramExit) -> Option<TurnFault> {
    let Some(outcome) = &reader.outcome else {
        return Some(without_result(exit).into());
    };
    if outcome.status == "success" && exit.status.success() {
        return None;
    }
    let message = match (&outcome.error, &reader.problem) {
        (Some(error), _) => error.message.as_str(),
        (None, Some(problem)) => problem.as_str(),
        (None, None) => "",
    };
    let Some(report) = message.strip_prefix(REQUEST_FAULT) else {
        return Some(own_fault(message, exit).into());
    };
    let status = provider_status(report, exit);
    let (cause, summary) = match status {
        Some(429) => (Cause::RateLimited, "the provider limited the request rate"),
        Some(408) => (Cause::ProviderDown, "the provider timed out"),
        Some(400..=499) => (Cause::Refused, "the provider refused the request"),
        Some(_) => (Cause::ProviderDown, "the provider is unavailable"),
        None if report.contains("exhausted your daily quota") => (
            Cause::RateLimited,
            "the provider's daily quota is exhausted",
        ),
        // No status: the answer was interrupted, malformed or missing.
        None => (
            Cause::ProviderDown,
            "the provider's answer could not be parsed",
        ),
    };
    let failure = Failure::new(cause, format!("{summary}: {}", shown(report)));
    let bad_key = report.contains("API_KEY_INVALID") || report.contains("API key not valid");
    Some(TurnFault {
        no_summary: report.starts_with(COMPRESSION_FAULT)
            && !bad_key
            && (status == Some(400) || report.contains("Retry attempts exhausted")),
        failure: failure.with_retry_after(retry_after(report)),
    })
}

/// Returns the failure of a program that reported no result.
fn without_result(exit: &ProgramExit) -> Failure {
    let reason = shown(last_line(&exit.stderr));
    match exit.status.code() {
        Some(41) => Failure::new(
            Cause::Refused,
            format!("Gemini CLI has no provider key. Set GEMINI_API_KEY: {reason}"),
        ),
        Some(42) => Failure::harness(format!(
            "Gemini CLI rejected its input or could not find the session: {reason}"
        )),
        Some(52) => Failure::harness(format!("Gemini CLI rejected its settings: {reason}")),
        Some(55) => Failure::harness(format!(
            "Gemini CLI refused to run in an untrusted folder: {reason}"
        )),
        Some(_) | None => crashed(&reason, exit),
    }
}

/// Returns a fault that is not the provider's.
fn own_fault(message: &str, exit: &ProgramExit) -> Failure {
    match exit.status.code() {
        // The model's answer was empty, blocked or cut. The program reports it and exits with 0.
        Some(0) => Failure::new(
            Cause::ProviderDown,
            format!("the model gave no answer: {}", shown(message)),
        ),
        Some(_) | None => crashed(&shown(message), exit),
    }
}

fn crashed(reason: &str, exit: &ProgramExit) -> Failure {
    Failure::new(
        Cause::AgentCrashed,
        format!(
            "Gemini CLI exited with {} in the middle of a turn: {reason}",
            exit.status
        ),
    )
}

/// Returns the provider's HTTP status: the code in the error, the exit status, or the status on
/// standard error.
fn provider_status(report: &str, exit: &ProgramExit) -> Option<u64> {
    let code = report.find('{').and_then(|begin| {
        let mut documents =
            serde_json::Deserializer::from_str(&report[begin..]).into_iter::<serde_json::Value>();
        documents.next()?.ok()?.pointer("/error/code")?.as_u64()
    });
    let from_exit = || {
        let code = exit.status.code()?;
        // 400 to 511. Larger statuses are ambiguous.
        (144..=255).contains(&code).then(|| code as u64 + 256)
    };
    let from_stderr = || {
        exit.stderr.lines().rev().find_map(|line| {
            let line = line.trim().trim_end_matches(',');
            let status = line
                .strip_prefix("status: ")
                .or_else(|| line.strip_prefix("code: "))?;
            status.parse().ok()
        })
    };
    let is_fault = |status: &u64| (400..600).contains(status);
    code.filter(is_fault)
        .or_else(from_exit)
        .or_else(|| from_stderr().filter(is_fault))
}

/// Returns the time after which the provider accepts another request.
fn retry_after(report: &str) -> Option<Duration> {
    let (_, after) = report.split_once("retry after ")?;
    let number: String = after
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let seconds: f64 = number.trim_end_matches('.').parse().ok()?;
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

fn last_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines
        .rfind(|line| !line.is_empty() && !line.starts_with("at ") && *line != "}")
        .unwrap_or_default()
}

/// Shortens a message, and removes its colours.
fn shown(message: &str) -> String {
    let plain = message.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
    shorten(&plain, MAX_MESSAGE_CHARS)
}
