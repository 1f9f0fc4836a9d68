//! iFlow's plain mode: `iflow -p PROMPT -o FILE`, one question and its answer.
//!
//! It prints text only, with lines of the program's own among it, so no session is run by it. Its
//! file is the only place where the program tells what a turn was billed for.

use std::ffi::OsString;

use domain::Tokens;
use serde_json::Value;

use crate::adapter::{SessionSpec, Stream};
use crate::failure::{Cause, Failure};
use crate::process::{self, Launch};
use crate::program::Found;

/// Lines of the program's own that stand among what the model said.
const CHATTER: [&str; 2] = [
    "Data collection is disabled.",
    "does not support thinking mode",
];

/// What the file of `-o` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub session: String,
    /// Missing where the file does not tell all of it.
    pub tokens: Option<Tokens>,
    /// Such as `max_tokens_exceeded`.
    pub ended_because: Option<String>,
}

/// Reads the file of `-o`; none where it is not one.
pub fn report(text: &str) -> Option<Report> {
    let told: Value = serde_json::from_str(text).ok()?;
    let usage = &told["tokenUsage"];
    let tokens = usage["input"].as_u64().zip(usage["output"].as_u64());
    Some(Report {
        session: told["session-id"].as_str()?.to_owned(),
        tokens: tokens.map(|(input, output)| Tokens {
            input,
            // It does not tell them apart.
            cached: 0,
            output,
        }),
        ended_because: told["terminationReason"].as_str().map(str::to_owned),
    })
}

/// Asks one question in a conversation of its own. What was said, and what the program reports of
/// it, if it does.
///
/// # Errors
///
/// As [`process::run`]; [`Cause::AgentCrashed`] where the program fails or says nothing.
pub async fn ask(
    found: &Found,
    spec: &SessionSpec,
    prompt: &str,
) -> Result<(String, Option<Report>), Failure> {
    let folder = spec.home.join("empty");
    let file = spec.home.join("report.json");
    tokio::fs::create_dir_all(&folder).await.map_err(|error| {
        Failure::harness(format!("{} cannot be made: {error}", folder.display()))
    })?;
    let mut environment = spec.environment.clone();
    let path = found.search_path.to_string_lossy().into_owned();
    environment.insert("PATH".to_owned(), path);
    let args: [OsString; 4] = ["-p".into(), prompt.into(), "-o".into(), file.clone().into()];
    let launch = Launch {
        program: found.path.clone(),
        args: args.to_vec(),
        folder,
        needs: found.folders.clone(),
        home: spec.home.clone(),
        environment,
        input: Vec::new(),
    };
    spec.raw.line(Stream::Stdin, prompt.as_bytes());
    let mut said: Vec<String> = Vec::new();
    let ended = process::run(&launch, spec, |line| {
        let text = String::from_utf8_lossy(&line.bytes).into_owned();
        if !CHATTER.iter().any(|chatter| text.contains(chatter)) {
            said.push(text);
        }
        Ok(Vec::new())
    })
    .await?;
    let said = said.join("\n").trim().to_owned();
    if !ended.status.success() || said.is_empty() {
        return Err(Failure::new(
            Cause::AgentCrashed,
            format!("iFlow ended with {}: {}", ended.status, ended.stderr),
        ));
    }
    // A program that was stopped early leaves none.
    let told = tokio::fs::read_to_string(&file).await.ok();
    Ok((said, told.as_deref().and_then(report)))
}
