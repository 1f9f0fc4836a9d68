//! iFlow's plain mode: `iflow -p PROMPT -o FILE`, one question and its answer.
//!
//! The program prints text mixed with lines of its own, so this mode is not used for sessions. Only
//! its output file states the billed tokens.

use std::ffi::OsString;

use domain::Tokens;
use serde_json::Value;

use crate::adapter::{SessionSpec, Stream};
use crate::adapters::cli_adapter::files;
use crate::failure::{Cause, Failure};
use crate::process::{self, Launch};
use crate::program::InstalledProgram;

/// Lines of the program itself, printed among the model's answer.
const PROGRAM_LINES: [&str; 2] = [
    "Data collection is disabled.",
    "does not support thinking mode",
];

/// Content of the output file (`-o`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub session: String,
    /// `None` if the file is incomplete.
    pub tokens: Option<Tokens>,
    /// Reason for the end, such as `max_tokens_exceeded`.
    pub termination_reason: Option<String>,
}

/// Parses the output file. Returns `None` if it is not one.
pub fn parse_report(text: &str) -> Option<Report> {
    let report: Value = serde_json::from_str(text).ok()?;
    let usage = &report["tokenUsage"];
    let tokens = usage["input"].as_u64().zip(usage["output"].as_u64());
    Some(Report {
        session: report["session-id"].as_str()?.to_owned(),
        tokens: tokens.map(|(input, output)| Tokens {
            input,
            // The program does not separate them.
            cached: 0,
            output,
        }),
        termination_reason: report["terminationReason"].as_str().map(str::to_owned),
    })
}

/// Asks one question in a conversation of its own. Returns the answer, and the report if the
/// program wrote one.
///
/// # Errors
///
/// Fails as [`process::run`] does, and with [`Cause::AgentCrashed`] if the program fails or answers
/// nothing.
pub async fn ask(
    program: &InstalledProgram,
    spec: &SessionSpec,
    prompt: &str,
) -> Result<(String, Option<Report>), Failure> {
    let folder = files::create_folder(spec.home.join("empty")).await?;
    let file = spec.home.join("report.json");
    let mut environment = spec.environment.clone();
    let path = program.search_path.to_string_lossy().into_owned();
    environment.insert("PATH".to_owned(), path);
    let args: [OsString; 4] = ["-p".into(), prompt.into(), "-o".into(), file.clone().into()];
    let launch = Launch {
        program: program.path.clone(),
        args: args.to_vec(),
        folder,
        readable: program.folders.clone(),
        home: spec.home.clone(),
        environment,
        input: Vec::new(),
    };
    spec.raw.line(Stream::Stdin, prompt.as_bytes());
    let mut lines: Vec<String> = Vec::new();
    let exit = process::run(&launch, spec, |line| {
        let text = String::from_utf8_lossy(&line.bytes).into_owned();
        if !PROGRAM_LINES.iter().any(|line| text.contains(line)) {
            lines.push(text);
        }
        Ok(Vec::new())
    })
    .await?;
    let answer = lines.join("\n").trim().to_owned();
    if !exit.status.success() || answer.is_empty() {
        return Err(Failure::new(
            Cause::AgentCrashed,
            format!("iFlow exited with {}: {}", exit.status, exit.stderr),
        ));
    }
    // A program that was stopped early leaves no file.
    let report = tokio::fs::read_to_string(&file).await.ok();
    Ok((answer, report.as_deref().and_then(parse_report)))
}
