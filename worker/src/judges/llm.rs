//! A model as a judge: asked over HTTP, again where a failure may pass, and read strictly.

use std::time::Duration;

use agents::event::Tokens;
use agents::prices;
use async_trait::async_trait;
use evaluation::claims::AtomicFact;
use evaluation::judging::{fence, read_reply};
use prompts::{FactLine, Prompt};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::wire;
use super::{Judge, Judged};
use crate::settings::judges::{JudgeModel, JudgeSettings};

/// Facts of one request. More would be cheaper, and would let verdicts lean on each other.
const AT_ONCE: usize = 8;
/// The longest reply that is read, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// The longest wait that a provider may ask for.
const MOST_WAIT: Duration = Duration::from_secs(120);

/// A model that judges.
pub struct Llm {
    name: String,
    model: JudgeModel,
    client: reqwest::Client,
    retries: u32,
    wait: Duration,
}

/// Why there is no reply.
enum Failed {
    /// It may pass; the provider may have said when.
    Soon(String, Option<Duration>),
    ForGood(String),
}

impl Llm {
    /// # Errors
    ///
    /// The HTTP client cannot be made.
    pub fn new(model: &JudgeModel, settings: &JudgeSettings) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(settings.timeout)
            // A key must not follow a redirect to another host.
            .redirect(Policy::none())
            .build()?;
        Ok(Self {
            name: format!("{}:{}", model.api, model.model),
            model: model.clone(),
            client,
            retries: settings.retries,
            wait: settings.wait,
        })
    }

    async fn ask(&self, prompt: &str) -> Result<wire::Reply, String> {
        let mut attempt = 0;
        loop {
            match self.ask_once(prompt).await {
                Ok(reply) => return Ok(reply),
                Err(Failed::ForGood(why)) => return Err(why),
                Err(Failed::Soon(why, _)) if attempt >= self.retries => {
                    return Err(format!("{why} (asked {} times)", attempt + 1));
                }
                Err(Failed::Soon(_, asked)) => {
                    tokio::time::sleep(self.pause(attempt, asked, prompt)).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Twice as long each time, spread by a quarter so that many judges do not ask at once; as long as
    /// the provider asks for, where it asks for more.
    fn pause(&self, attempt: u32, asked: Option<Duration>, prompt: &str) -> Duration {
        let own = self.wait.saturating_mul(2_u32.saturating_pow(attempt));
        let spread = Sha256::digest(format!("{attempt}{prompt}"))[0];
        let own = own.mul_f64(1.0 + f64::from(spread) / 1024.0);
        own.max(asked.unwrap_or_default()).min(MOST_WAIT)
    }

    async fn ask_once(&self, prompt: &str) -> Result<wire::Reply, Failed> {
        let request = wire::request(&self.model, prompt).ok_or_else(|| {
            Failed::ForGood("its key or its address cannot be sent over HTTP".to_owned())
        })?;
        let sent = self
            .client
            .post(request.url)
            .headers(request.headers)
            .json(&request.body)
            .send()
            .await;
        // An address may hold a password, and is left out of what is told.
        let unreachable = |error: reqwest::Error| {
            Failed::Soon(format!("cannot be asked: {}", error.without_url()), None)
        };
        let mut response = sent.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            let asked = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs);
            let why = format!("answered {status}");
            let passes = status.is_server_error()
                || matches!(
                    status,
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                );
            return Err(if passes {
                Failed::Soon(why, asked)
            } else {
                Failed::ForGood(why)
            });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(Failed::ForGood("its reply is too long".to_owned()));
            }
        }
        let body: Value = serde_json::from_slice(&bytes)
            .map_err(|_| Failed::ForGood("its reply is no JSON".to_owned()))?;
        wire::reply(self.model.api, &body)
            .ok_or_else(|| Failed::ForGood("its reply has no text where one belongs".to_owned()))
    }
}

#[async_trait]
impl Judge for Llm {
    fn name(&self) -> &str {
        &self.name
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model.model)
    }

    async fn judge(&self, text: &str, facts: &[AtomicFact]) -> Judged {
        let mut judged = Judged {
            tokens: Some(Tokens::default()),
            ..Judged::default()
        };
        for facts in facts.chunks(AT_ONCE) {
            let lines: Vec<FactLine<'_>> = facts
                .iter()
                .map(|fact| FactLine {
                    id: &fact.id,
                    statement: &fact.statement,
                })
                .collect();
            let fence = fence(text, judged.findings.len() as u64);
            let prompt = prompts::Judge {
                fence: &fence,
                text,
                facts: &lines,
            }
            .render();
            let reply = match prompt {
                Ok(prompt) => self.ask(&prompt).await,
                Err(error) => Err(error.to_string()),
            };
            match reply {
                Ok(reply) => {
                    judged.findings.extend(read_reply(&reply.text, facts));
                    judged.tokens = judged
                        .tokens
                        .zip(reply.tokens)
                        .and_then(|(before, more)| before.plus(more));
                    judged.raw.push(reply.text);
                }
                Err(why) => {
                    judged.findings.extend(facts.iter().map(|_| None));
                    judged.tokens = None;
                    judged.raw.push(format!("{} {why}", self.name));
                }
            }
        }
        judged.cost_usd = judged
            .tokens
            .and_then(|tokens| prices::cost(&self.model.model, tokens))
            .map(|cost| cost.usd);
        judged
    }
}
