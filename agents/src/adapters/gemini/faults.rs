//! Why a turn failed, by the program's own account.
//!
//! The exit status is the provider's status, modulo 256, for most faults of the provider, and 1 for
//! the rest; the numbers from 41 on are the program's own. Texts are looked at only where the
//! program itself wrote them: its error message and its standard error.

use std::time::Duration;

use crate::failure::{Cause, Failure};
use crate::process::Ended;

use super::stream::Reading;

/// What every fault of a request begins with.
const OF_THE_PROVIDER: &str = "[API Error: ";
/// What the faults of the compressor's requests begin with, after that.
const OF_THE_COMPRESSOR: &str = "Failed to generate content: ";
/// How much of a message is told.
const SHOWN: usize = 300;

/// Why a turn failed, and whether it was the compressor's request that did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    /// The summary could not be had, for a reason of the request's own: the provider is there.
    pub(super) no_summary: bool,
}

/// The fault of a turn; none where it ended well.
pub(super) fn fault(reading: &Reading, ended: &Ended) -> Option<Fault> {
    let Some(outcome) = &reading.outcome else {
        return Some(without_result(ended).into());
    };
    if outcome.status == "success" && ended.status.success() {
        return None;
    }
    let message = match (&outcome.error, &reading.complaint) {
        (Some(error), _) => error.message.as_str(),
        (None, Some(complaint)) => complaint.as_str(),
        (None, None) => "",
    };
    let Some(told) = message.strip_prefix(OF_THE_PROVIDER) else {
        return Some(own(message, ended).into());
    };
    let status = status(told, ended);
    let (cause, what) = match status {
        Some(429) => (Cause::RateLimited, "the provider limits the rate"),
        Some(408) => (Cause::ProviderDown, "the provider timed out"),
        Some(400..=499) => (Cause::Refused, "the provider refused the request"),
        Some(_) => (Cause::ProviderDown, "the provider is in trouble"),
        None if told.contains("exhausted your daily quota") => {
            (Cause::RateLimited, "the provider's daily quota is used up")
        }
        // No status: the answer broke off, was no answer, or never came.
        None => (Cause::ProviderDown, "the provider's answer cannot be read"),
    };
    let failure = Failure::new(cause, format!("{what}: {}", shown(told)));
    let key = told.contains("API_KEY_INVALID") || told.contains("API key not valid");
    Some(Fault {
        no_summary: told.starts_with(OF_THE_COMPRESSOR)
            && !key
            && (status == Some(400) || told.contains("Retry attempts exhausted")),
        failure: failure.after(retry_after(told)),
    })
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            no_summary: false,
        }
    }
}

/// A program that said nothing of an end.
fn without_result(ended: &Ended) -> Failure {
    let told = shown(last_line(&ended.stderr));
    match ended.status.code() {
        Some(41) => Failure::new(
            Cause::Refused,
            format!("Gemini CLI has no key; set GEMINI_API_KEY: {told}"),
        ),
        Some(42) => Failure::harness(format!(
            "Gemini CLI did not take its input or cannot find the session: {told}"
        )),
        Some(52) => Failure::harness(format!("Gemini CLI did not take its settings: {told}")),
        Some(55) => Failure::harness(format!(
            "Gemini CLI does not run in a folder that it was not told to trust: {told}"
        )),
        Some(_) | None => crashed(&told, ended),
    }
}

/// A fault that is none of the provider's.
fn own(message: &str, ended: &Ended) -> Failure {
    match ended.status.code() {
        // The model's answer was empty, blocked or cut; the program says so and ends well.
        Some(0) => Failure::new(
            Cause::ProviderDown,
            format!("the model gave no answer: {}", shown(message)),
        ),
        Some(_) | None => crashed(&shown(message), ended),
    }
}

fn crashed(told: &str, ended: &Ended) -> Failure {
    Failure::new(
        Cause::AgentCrashed,
        format!(
            "Gemini CLI ended with {} in the middle of a turn: {told}",
            ended.status
        ),
    )
}

/// The provider's HTTP status, from where it is told: the error's own code, the exit status, the
/// last words.
fn status(told: &str, ended: &Ended) -> Option<u64> {
    let code = told.find('{').and_then(|begin| {
        let mut documents =
            serde_json::Deserializer::from_str(&told[begin..]).into_iter::<serde_json::Value>();
        documents.next()?.ok()?.pointer("/error/code")?.as_u64()
    });
    let from_exit = || {
        let code = ended.status.code()?;
        // 400 to 511; larger ones could be anything.
        (144..=255).contains(&code).then(|| code as u64 + 256)
    };
    let from_words = || {
        ended.stderr.lines().rev().find_map(|line| {
            let line = line.trim().trim_end_matches(',');
            let told = line
                .strip_prefix("status: ")
                .or_else(|| line.strip_prefix("code: "))?;
            told.parse().ok()
        })
    };
    let is_fault = |status: &u64| (400..600).contains(status);
    code.filter(is_fault)
        .or_else(from_exit)
        .or_else(|| from_words().filter(is_fault))
}

/// The time for which the provider asked to be left alone.
fn retry_after(told: &str) -> Option<Duration> {
    let (_, after) = told.split_once("retry after ")?;
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

/// A message without the signs that would colour it, and not too long.
fn shown(message: &str) -> String {
    let plain = message.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
    plain.chars().take(SHOWN).collect()
}
