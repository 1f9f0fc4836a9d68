//! The file into which the program writes its telemetry: JSON documents, one after the other.
//!
//! It tells what the event stream is silent of: every request with its tokens and its purpose, and
//! every attempt at a compression, whether it was applied or not.

use domain::vocabulary::CostSource;
use domain::{Cost, Tokens};
use serde_json::Value;

use crate::prices;

use super::stream::Stats;

/// What the telemetry of a turn tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Telemetry {
    pub(super) requests: Vec<Request>,
    pub(super) compressions: Vec<Compression>,
    pub(super) retries: Vec<Retry>,
}

/// A request that was answered.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    model: String,
    tokens: Tokens,
    /// What the program counts as output: without what was thought.
    said: u64,
    /// Sent with the whole conversation, and not by the compressor.
    main: bool,
}

/// An attempt at a compression; one that grew or kept the size was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compression {
    pub(super) before: u64,
    pub(super) after: u64,
}

/// A request that was sent again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) attempt: u32,
    pub(super) why: String,
}

impl Telemetry {
    /// Reads as far as there are whole documents: a program that was stopped leaves half of one.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut read = Self::default();
        let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        for document in documents.map_while(Result::ok) {
            read.document(&document);
        }
        read
    }

    fn document(&mut self, document: &Value) {
        let Some(told) = document.get("attributes") else {
            return;
        };
        let number = |name: &str| told.get(name).and_then(Value::as_u64);
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("event.name") {
            "gemini_cli.api_response" => {
                let count = |name| number(name).unwrap_or_default();
                self.requests.push(Request {
                    model: text("model").to_owned(),
                    tokens: Tokens {
                        input: count("input_token_count").saturating_add(count("tool_token_count")),
                        cached: count("cached_content_token_count"),
                        output: count("output_token_count")
                            .saturating_add(count("thoughts_token_count")),
                    },
                    said: count("output_token_count"),
                    main: text("role") == "main",
                });
            }
            "gemini_cli.chat_compression" => {
                if let (Some(before), Some(after)) =
                    (number("tokens_before"), number("tokens_after"))
                {
                    self.compressions.push(Compression { before, after });
                }
            }
            "gemini_cli.network_retry_attempt" => self.retry(number("attempt"), text("error_type")),
            "gemini_cli.chat.content_retry" => {
                // These are counted from zero.
                let attempt = number("attempt_number").and_then(|number| number.checked_add(1));
                self.retry(attempt, text("error_type"));
            }
            _ => {}
        }
    }

    fn retry(&mut self, attempt: Option<u64>, why: &str) {
        if let Some(attempt) = attempt.and_then(|attempt| u32::try_from(attempt).ok()) {
            let why = why.to_owned();
            self.retries.push(Retry { attempt, why });
        }
    }

    /// The attempts that made the context smaller.
    pub(super) fn reductions(&self) -> Vec<Compression> {
        let smaller = |tried: &&Compression| tried.after < tried.before;
        self.compressions.iter().filter(smaller).copied().collect()
    }

    /// The tokens that the last request of the conversation itself sent.
    pub(super) fn context(&self) -> Option<u64> {
        let last = self.requests.iter().rfind(|request| request.main)?;
        (last.tokens.input > 0).then_some(last.tokens.input)
    }

    /// What all requests were billed for, the compressor's too; none where it is not all told: a
    /// request without numbers, or sums other than those of the event stream.
    pub(super) fn billed(&self, stats: Option<Stats>) -> Option<Tokens> {
        let stats = stats?;
        if self.requests.iter().any(|asked| asked.tokens.input == 0) {
            return None;
        }
        let mut sum = Tokens::default();
        let mut said: u64 = 0;
        for request in &self.requests {
            sum = sum.plus(request.tokens)?;
            said = said.checked_add(request.said)?;
        }
        (sum.input == stats.input_tokens && said == stats.output_tokens).then_some(sum)
    }

    /// What the requests cost, each by its own size; none where one of them has no known price.
    pub(super) fn cost(&self) -> Option<Cost> {
        let mut usd = 0.0;
        for request in &self.requests {
            usd += prices::cost(&request.model, request.tokens)?.usd;
        }
        (!self.requests.is_empty()).then_some(Cost {
            usd,
            source: CostSource::PriceTable,
        })
    }
}
