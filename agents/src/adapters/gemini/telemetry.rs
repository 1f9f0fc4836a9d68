//! The program's telemetry file: JSON documents, one after the other.
//!
//! It contains what the event stream lacks: every request with its tokens and purpose, and every
//! attempt at a compression, applied or not.

use domain::vocabulary::CostSource;
use domain::{Cost, Tokens};
use serde_json::Value;

use super::stream::Stats;
use crate::prices;

/// Telemetry of one turn.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Telemetry {
    pub(super) requests: Vec<Request>,
    pub(super) compressions: Vec<CompressionAttempt>,
    pub(super) retries: Vec<Retry>,
}

/// A request that was answered.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    model: String,
    tokens: Tokens,
    /// Output tokens as the program counts them, without thoughts.
    output_without_thoughts: u64,
    /// Sent with the whole conversation, not for a compression.
    is_main: bool,
}

/// An attempt at a compression. An attempt that did not reduce the size was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompressionAttempt {
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
    /// Parses all complete documents. A program that was stopped leaves half a document.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut telemetry = Self::default();
        let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        for document in documents.map_while(Result::ok) {
            telemetry.document(&document);
        }
        telemetry
    }

    fn document(&mut self, document: &Value) {
        let Some(attributes) = document.get("attributes") else {
            return;
        };
        let number = |name: &str| attributes.get(name).and_then(Value::as_u64);
        let text = |name: &str| {
            attributes
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
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
                    output_without_thoughts: count("output_token_count"),
                    is_main: text("role") == "main",
                });
            }
            "gemini_cli.chat_compression" => {
                if let (Some(before), Some(after)) =
                    (number("tokens_before"), number("tokens_after"))
                {
                    self.compressions.push(CompressionAttempt { before, after });
                }
            }
            "gemini_cli.network_retry_attempt" => self.retry(number("attempt"), text("error_type")),
            "gemini_cli.chat.content_retry" => {
                // These attempts are counted from zero.
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

    /// Returns the attempts that reduced the size of the context.
    pub(super) fn reductions(&self) -> Vec<CompressionAttempt> {
        let smaller = |tried: &&CompressionAttempt| tried.after < tried.before;
        self.compressions.iter().filter(smaller).copied().collect()
    }

    /// Returns the input tokens of the last request of the conversation itself.
    pub(super) fn context(&self) -> Option<u64> {
        let last = self.requests.iter().rfind(|request| request.is_main)?;
        (last.tokens.input > 0).then_some(last.tokens.input)
    }

    /// Returns the tokens billed for all requests, including compressions. Returns `None` if they
    /// are incomplete: a request has no counts, or the sums differ from those of the event stream.
    pub(super) fn billed(&self, stats: Option<Stats>) -> Option<Tokens> {
        let stats = stats?;
        if self
            .requests
            .iter()
            .any(|request| request.tokens.input == 0)
        {
            return None;
        }
        let mut sum = Tokens::default();
        let mut output: u64 = 0;
        for request in &self.requests {
            sum = sum.plus(request.tokens)?;
            output = output.checked_add(request.output_without_thoughts)?;
        }
        (sum.input == stats.input_tokens && output == stats.output_tokens).then_some(sum)
    }

    /// Returns the cost of all requests, each priced by its own size. Returns `None` if the price
    /// of one is unknown.
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
