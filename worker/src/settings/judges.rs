//! Which models judge, and how they are reached.

use std::fmt;
use std::time::Duration;

use evaluation::judging::FALSE_ACCEPT_LIMIT;
use platform::settings::{Reader, Secret};
use url::Url;

/// The interface that a judge's model is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// Chat completions, as `OpenAI` has them and many others too.
    OpenAi,
    Anthropic,
    Gemini,
}

impl Api {
    const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Gemini];

    fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// The setting of its address, what is set, and its own address.
    fn base_url(self, reader: &Reader<'_>) -> (&'static str, Option<String>, &'static str) {
        match self {
            Self::OpenAi => (
                "JUDGE_OPENAI_BASE_URL",
                reader.text("JUDGE_OPENAI_BASE_URL"),
                "https://api.openai.com/v1",
            ),
            Self::Anthropic => (
                "JUDGE_ANTHROPIC_BASE_URL",
                reader.text("JUDGE_ANTHROPIC_BASE_URL"),
                "https://api.anthropic.com",
            ),
            Self::Gemini => (
                "JUDGE_GEMINI_BASE_URL",
                reader.text("JUDGE_GEMINI_BASE_URL"),
                "https://generativelanguage.googleapis.com",
            ),
        }
    }

    /// The setting of its key, and what is set.
    fn key(self, reader: &Reader<'_>) -> (&'static str, Option<Secret>) {
        match self {
            Self::OpenAi => (
                "JUDGE_OPENAI_API_KEY",
                reader.secret("JUDGE_OPENAI_API_KEY"),
            ),
            Self::Anthropic => (
                "JUDGE_ANTHROPIC_API_KEY",
                reader.secret("JUDGE_ANTHROPIC_API_KEY"),
            ),
            Self::Gemini => (
                "JUDGE_GEMINI_API_KEY",
                reader.secret("JUDGE_GEMINI_API_KEY"),
            ),
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One model that judges.
#[derive(Clone, Debug)]
pub struct JudgeModel {
    pub api: Api,
    pub model: String,
    pub base_url: Url,
    /// Only the judge's own: it never uses an agent's key.
    pub key: Secret,
}

/// How tasks are judged. Closed probes need no model; free recall is judged literally, and by these
/// models where there are any.
#[derive(Clone, Debug)]
pub struct JudgeSettings {
    /// `JUDGES`: `API:MODEL`, comma-separated; empty: the deterministic judge alone.
    pub models: Vec<JudgeModel>,
    /// `JUDGE_TIMEOUT_SECONDS`: for one request.
    pub timeout: Duration,
    /// `JUDGE_MAX_RETRIES`: after a failure that may pass.
    pub retries: u32,
    /// `JUDGE_WAIT_SECONDS`: before the first retry; twice as long after each further one.
    pub wait: Duration,
    /// `JUDGE_FALSE_ACCEPT_LIMIT`: the share of the battery's wrong claims that a judge may accept
    /// and still rank agents.
    pub false_accept_limit: f64,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            timeout: Duration::from_secs(120),
            retries: 4,
            wait: Duration::from_secs(1),
            false_accept_limit: FALSE_ACCEPT_LIMIT,
        }
    }
}

impl JudgeSettings {
    /// Reads the settings; problems are noted in `reader`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let asked = reader.list("JUDGES").unwrap_or_default();
        let models = asked
            .iter()
            .filter_map(|text| model(reader, text))
            .collect();
        let default = Self::default();
        let limit = reader.parsed("JUDGE_FALSE_ACCEPT_LIMIT", default.false_accept_limit);
        if !(0.0..=1.0).contains(&limit) {
            reader.refuse(
                "JUDGE_FALSE_ACCEPT_LIMIT",
                format!("{limit} is no share from 0 to 1"),
            );
        }
        Self {
            models,
            timeout: reader.seconds("JUDGE_TIMEOUT_SECONDS", default.timeout),
            retries: reader.parsed("JUDGE_MAX_RETRIES", default.retries),
            wait: reader.seconds("JUDGE_WAIT_SECONDS", default.wait),
            false_accept_limit: limit,
        }
    }
}

fn model(reader: &mut Reader<'_>, text: &str) -> Option<JudgeModel> {
    let known = Api::ALL.map(Api::name).join(", ");
    let parts = text.split_once(':');
    let api = parts.and_then(|(name, _)| Api::ALL.into_iter().find(|api| api.name() == name));
    let (Some(api), Some((_, model))) = (api, parts.filter(|(_, model)| !model.is_empty())) else {
        reader.refuse(
            "JUDGES",
            format!("{text:?} is not API:MODEL with one of {known}, such as openai:gpt-5"),
        );
        return None;
    };
    let (url_name, url, default) = api.base_url(reader);
    let url = url.as_deref().unwrap_or(default);
    let base_url = match Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(_) | Err(_) => {
            reader.refuse(url_name, "is no http or https address");
            return None;
        }
    };
    let (key_name, key) = api.key(reader);
    let Some(key) = key else {
        reader.refuse(
            key_name,
            format!("is missing, and JUDGES names {text} (a judge never uses an agent's key)"),
        );
        return None;
    };
    Some(JudgeModel {
        api,
        model: model.to_owned(),
        base_url,
        key,
    })
}
