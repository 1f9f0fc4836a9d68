//! A model as a judge: asked over HTTP, retried after transient failures, and read strictly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agents::prices;
use async_trait::async_trait;
use domain::Tokens;
use evaluation::claims::{AtomicFact, Finding};
use evaluation::judging::{FACTS_AT_ONCE, Juror, fence, read_reply};
use prompts::{FactLine, Prompt};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use serde_json::Value;
use sha2::{Digest, Sha256};

use platform::settings::ExposeSecret;

use crate::judges::judge::{Judge, Judgement};
use crate::judges::wire::{Reply, ResponseFormat, reply, request};
use crate::settings::judges::{JudgeModel, JudgeSettings};

/// Size limit of a reply, in bytes.
const MAX_REPLY_BYTES: usize = 1 << 20;
/// Length limit of the part of an error response that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 2_000;
/// Longest delay that a provider may demand.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// A model that judges.
pub struct ModelJudge {
    name: String,
    model: JudgeModel,
    client: reqwest::Client,
    retries: u32,
    wait: Duration,
    /// Index of the first of [`ResponseFormat::ALL`] that the provider has not refused.
    form: AtomicUsize,
}

/// Reason why there is no reply.
enum RequestError {
    /// The failure may pass. The provider may have specified a delay.
    Transient(String, Option<Duration>),
    /// The provider refused the form of the request: 400 or 422.
    Refused(String),
    Permanent(String),
}

/// Result of all attempts to get a readable reply.
#[derive(Default)]
struct ModelReply {
    /// Findings, `None` if no reply could be read.
    findings: Option<Vec<Option<Finding>>>,
    /// All replies and failures, verbatim.
    raw: Vec<String>,
    /// Billed tokens, `None` if a reply did not report them.
    tokens: Option<Tokens>,
}

impl ModelJudge {
    /// Creates a judge for a model.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be created.
    pub fn new(model: &JudgeModel, settings: &JudgeSettings) -> Result<Self, reqwest::Error> {
        let client = platform::http_client::builder()
            .timeout(settings.timeout)
            // A key must not follow a redirect to another host.
            .redirect(Policy::none())
            .build()?;
        Ok(Self {
            name: model.label(),
            model: model.clone(),
            client,
            retries: settings.retries,
            wait: settings.wait,
            form: AtomicUsize::new(0),
        })
    }

    /// Asks until a reply can be read, within the retries. An unreadable reply is retried like a
    /// transient failure. All replies are kept.
    async fn ask(&self, prompt: &str, facts: &[AtomicFact]) -> ModelReply {
        let mut asked = ModelReply {
            tokens: Some(Tokens::default()),
            ..ModelReply::default()
        };
        let mut attempt = 0;
        let mut form = self.form.load(Ordering::Relaxed);
        loop {
            let wait = match self.ask_once(prompt, ResponseFormat::at(form)).await {
                Ok(reply) => {
                    self.form.store(form, Ordering::Relaxed);
                    asked.tokens = asked
                        .tokens
                        .zip(reply.tokens)
                        .and_then(|(before, more)| before.plus(more));
                    let findings = read_reply(&reply.text, facts);
                    asked.raw.push(reply.text);
                    if findings.iter().any(Option::is_some) {
                        asked.findings = Some(findings);
                        return asked;
                    }
                    None
                }
                Err(RequestError::Transient(why, wait)) => {
                    asked.raw.push(format!("{} {why}", self.name));
                    wait
                }
                Err(RequestError::Refused(why)) => {
                    asked.raw.push(format!("{} {why}", self.name));
                    form += 1;
                    if self.model.api.has_formats() && form < ResponseFormat::ALL.len() {
                        continue;
                    }
                    break;
                }
                Err(RequestError::Permanent(why)) => {
                    asked.raw.push(format!("{} {why}", self.name));
                    break;
                }
            };
            if attempt >= self.retries {
                break;
            }
            tokio::time::sleep(self.pause(attempt, wait, prompt)).await;
            attempt += 1;
        }
        // Nothing reports the tokens of a failed request.
        asked.tokens = asked.tokens.filter(|tokens| *tokens != Tokens::default());
        asked
    }

    /// Returns the delay before a retry: doubled each time, spread by a quarter so that many judges
    /// do not ask at once, and at least as long as the provider demands.
    fn pause(&self, attempt: u32, asked: Option<Duration>, prompt: &str) -> Duration {
        let own = self.wait.saturating_mul(2_u32.saturating_pow(attempt));
        let spread = Sha256::digest(format!("{attempt}{prompt}"))[0];
        let own = own.mul_f64(1.0 + f64::from(spread) / 1024.0);
        own.max(asked.unwrap_or_default()).min(MAX_WAIT)
    }

    async fn ask_once(&self, prompt: &str, form: ResponseFormat) -> Result<Reply, RequestError> {
        let request = request(&self.model, prompt, form).ok_or_else(|| {
            RequestError::Permanent("its key or its URL is not valid in HTTP".to_owned())
        })?;
        let sent = self
            .client
            .post(request.url)
            .headers(request.headers)
            .json(&request.body)
            .send()
            .await;
        // A URL may contain a password, so messages leave it out.
        let unreachable = |error: reqwest::Error| {
            RequestError::Transient(format!("request failed: {}", error.without_url()), None)
        };
        let mut response = sent.map_err(unreachable)?;
        let status = response.status();
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_REPLY_BYTES {
                return Err(RequestError::Permanent("its reply is too large".to_owned()));
            }
        }
        if !status.is_success() {
            let why = format!("answered {status}{}", self.shown(&bytes));
            return Err(match status {
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    RequestError::Transient(why, asked)
                }
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                    RequestError::Refused(why)
                }
                _ if status.is_server_error() => RequestError::Transient(why, asked),
                _ => RequestError::Permanent(why),
            });
        }
        let no_answer =
            |what: &str| RequestError::Transient(format!("{what}{}", self.shown(&bytes)), None);
        let body: Value =
            serde_json::from_slice(&bytes).map_err(|_| no_answer("its reply is not JSON"))?;
        reply(self.model.api, &body)
            .filter(|reply| !reply.text.trim().is_empty())
            .ok_or_else(|| no_answer("its reply contains no text"))
    }

    /// Returns the start of an error response, without the judge's key. Other secrets are redacted
    /// where votes are stored.
    fn shown(&self, bytes: &[u8]) -> String {
        let text =
            String::from_utf8_lossy(bytes).replace(self.model.key.expose_secret(), "[redacted]");
        let text: String = text.trim().chars().take(MAX_SHOWN_CHARS).collect();
        if text.is_empty() {
            text
        } else {
            format!(": {text}")
        }
    }
}

#[async_trait]
impl Judge for ModelJudge {
    fn name(&self) -> &str {
        &self.name
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model.model)
    }

    fn juror(&self) -> Option<Juror<'_>> {
        Some(Juror {
            model: &self.model.model,
            family: self.model.family.as_deref(),
        })
    }

    async fn judge(&self, text: &str, facts: &[AtomicFact]) -> Judgement {
        let mut judged = Judgement {
            tokens: Some(Tokens::default()),
            ..Judgement::default()
        };
        for facts in facts.chunks(FACTS_AT_ONCE) {
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
            let asked = match prompt {
                Ok(prompt) => self.ask(&prompt, facts).await,
                Err(error) => ModelReply {
                    raw: vec![format!("{} {error}", self.name)],
                    ..ModelReply::default()
                },
            };
            let unread = || vec![None; facts.len()];
            judged
                .findings
                .extend(asked.findings.unwrap_or_else(unread));
            judged.raw.extend(asked.raw);
            judged.tokens = judged
                .tokens
                .zip(asked.tokens)
                .and_then(|(before, more)| before.plus(more));
        }
        judged.cost_usd = judged
            .tokens
            .and_then(|tokens| prices::cost(&self.model.model, tokens))
            .map(|cost| cost.usd);
        judged
    }
}
