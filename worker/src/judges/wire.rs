//! The three APIs: their requests, and the positions of text and tokens in their replies.

use domain::Tokens;
use evaluation::judging::reply_schema;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use platform::settings::ExposeSecret;

use crate::settings::judges::{Api, JudgeModel};

/// Length limit of a reply, in tokens.
const MAX_REPLY_TOKENS: u64 = 8_000;
/// Name of the tool that Anthropic's models must call to answer.
const REPORT_TOOL: &str = "report";

/// Ways to request JSON from chat completions. Not every service supports all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseFormat {
    /// By its schema, as in `OpenAI`'s API.
    Schema,
    /// As any JSON object. The prompt describes it.
    Object,
    /// By the prompt alone.
    Plain,
}

impl ResponseFormat {
    /// All formats, the strictest first.
    pub(super) const ALL: [Self; 3] = [Self::Schema, Self::Object, Self::Plain];

    pub(super) fn at(place: usize) -> Self {
        Self::ALL.get(place).copied().unwrap_or(Self::Plain)
    }
}

impl Api {
    /// Returns whether requests can use several formats.
    pub(super) fn has_formats(self) -> bool {
        match self {
            Self::OpenAi => true,
            Self::Anthropic | Self::Gemini => false,
        }
    }
}

/// One request.
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// Contents of a reply.
pub(super) struct Reply {
    pub(super) text: String,
    /// Billed tokens, `None` if the provider does not report them.
    pub(super) tokens: Option<Tokens>,
}

/// Returns the request for a prompt, or `None` if key or address cannot be sent.
pub(super) fn request(model: &JudgeModel, prompt: &str, form: ResponseFormat) -> Option<Request> {
    let schema = reply_schema();
    let name = &model.model;
    let (path, header, body) = match model.api {
        Api::OpenAi => (
            "chat/completions".to_owned(),
            "authorization",
            completion(name, prompt, form, &schema),
        ),
        Api::Anthropic => (
            "v1/messages".to_owned(),
            "x-api-key",
            json!({
                "model": name,
                "max_tokens": MAX_REPLY_TOKENS,
                "messages": [{"role": "user", "content": prompt}],
                "tools": [{
                    "name": REPORT_TOOL,
                    "description": "Reports the findings.",
                    "input_schema": schema,
                }],
                "tool_choice": {"type": "tool", "name": REPORT_TOOL},
            }),
        ),
        Api::Gemini => (
            format!("v1beta/models/{name}:generateContent"),
            "x-goog-api-key",
            json!({
                "contents": [{"role": "user", "parts": [{"text": prompt}]}],
                "generationConfig": {
                    "maxOutputTokens": MAX_REPLY_TOKENS,
                    "responseMimeType": "application/json",
                    "responseSchema": without_unknown(schema),
                },
            }),
        ),
    };
    let key = match model.api {
        Api::OpenAi => format!("Bearer {}", model.key.expose_secret()),
        Api::Anthropic | Api::Gemini => model.key.expose_secret().to_owned(),
    };
    let mut key = HeaderValue::try_from(key).ok()?;
    key.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(header), key);
    if model.api == Api::Anthropic {
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    }
    let mut base = model.base_url.clone();
    if !base.path().ends_with('/') {
        let with_slash = format!("{}/", base.path());
        base.set_path(&with_slash);
    }
    Some(Request {
        url: base.join(&path).ok()?,
        headers,
        body,
    })
}

fn completion(model: &str, prompt: &str, form: ResponseFormat, schema: &Value) -> Value {
    let mut body = json!({
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
    });
    let (limit, format) = match form {
        ResponseFormat::Schema => (
            "max_completion_tokens",
            json!({
                "type": "json_schema",
                "json_schema": {"name": REPORT_TOOL, "strict": true, "schema": schema},
            }),
        ),
        ResponseFormat::Object => ("max_tokens", json!({"type": "json_object"})),
        ResponseFormat::Plain => ("max_tokens", Value::Null),
    };
    body[limit] = json!(MAX_REPLY_TOKENS);
    if !format.is_null() {
        body["response_format"] = format;
    }
    body
}

/// Removes `additionalProperties`, which Gemini's subset of JSON Schema lacks.
fn without_unknown(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            fields.remove("additionalProperties");
            for field in fields.values_mut() {
                *field = without_unknown(field.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_unknown(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

/// Parses a reply. Returns `None` if it does not have the form of the API.
pub(super) fn reply(api: Api, body: &Value) -> Option<Reply> {
    let number = |path: &str| body.pointer(path).and_then(Value::as_u64);
    match api {
        Api::OpenAi => Some(Reply {
            text: body
                .pointer("/choices/0/message/content")?
                .as_str()?
                .to_owned(),
            tokens: tokens(
                number("/usage/prompt_tokens"),
                number("/usage/prompt_tokens_details/cached_tokens"),
                number("/usage/completion_tokens"),
            ),
        }),
        Api::Anthropic => {
            let parts = body.get("content")?.as_array()?;
            let input = parts
                .iter()
                .find(|part| part.get("type").and_then(Value::as_str) == Some("tool_use"))?
                .get("input")?;
            let cached = number("/usage/cache_read_input_tokens").unwrap_or_default();
            let written = number("/usage/cache_creation_input_tokens").unwrap_or_default();
            let input_tokens = number("/usage/input_tokens");
            Some(Reply {
                text: input.to_string(),
                tokens: tokens(
                    input_tokens.map(|fresh| fresh + cached + written),
                    Some(cached),
                    number("/usage/output_tokens"),
                ),
            })
        }
        Api::Gemini => {
            let parts = body.pointer("/candidates/0/content/parts")?.as_array()?;
            let text: String = parts
                .iter()
                .filter(|part| part.get("thought").and_then(Value::as_bool) != Some(true))
                .filter_map(|part| part.get("text")?.as_str())
                .collect();
            let thoughts = number("/usageMetadata/thoughtsTokenCount").unwrap_or_default();
            Some(Reply {
                text,
                tokens: tokens(
                    number("/usageMetadata/promptTokenCount"),
                    number("/usageMetadata/cachedContentTokenCount"),
                    number("/usageMetadata/candidatesTokenCount").map(|out| out + thoughts),
                ),
            })
        }
    }
}

fn tokens(input: Option<u64>, cached: Option<u64>, output: Option<u64>) -> Option<Tokens> {
    Some(Tokens {
        input: input?,
        cached: cached.unwrap_or_default(),
        output: output?,
    })
}
