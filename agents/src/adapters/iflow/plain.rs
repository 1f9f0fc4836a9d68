//! iFlow's plain mode: `iflow -p PROMPT -o FILE`. It prints text only, so no session is run by it;
//! its file is the only place where the program tells what a turn was billed for.

use serde_json::Value;

use crate::event::Tokens;

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
