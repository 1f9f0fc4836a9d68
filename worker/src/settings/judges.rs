//! Settings of the judges: their models and addresses.

use std::fmt;
use std::time::Duration;

use evaluation::judging::{FALSE_ACCEPT_LIMIT, family, same_model};
use platform::settings::{ExposeSecret, Reader, SecretString};
use tracing::warn;
use url::Url;

/// API through which a judge's model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// Chat completions, as defined by `OpenAI` and offered by many other services.
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

    /// Setting and value of its address. Judges with a name of their own have settings of their
    /// own.
    fn base_url(self, reader: &Reader<'_>) -> (&'static str, Option<String>) {
        match self {
            Self::OpenAi => (
                "JUDGE_OPENAI_BASE_URL",
                reader.text("JUDGE_OPENAI_BASE_URL"),
            ),
            Self::Anthropic => (
                "JUDGE_ANTHROPIC_BASE_URL",
                reader.text("JUDGE_ANTHROPIC_BASE_URL"),
            ),
            Self::Gemini => (
                "JUDGE_GEMINI_BASE_URL",
                reader.text("JUDGE_GEMINI_BASE_URL"),
            ),
        }
    }

    /// Setting and value of its key.
    fn key(self, reader: &Reader<'_>) -> (&'static str, Option<SecretString>) {
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

    /// Default address.
    fn own_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com",
            Self::Gemini => "https://generativelanguage.googleapis.com",
        }
    }

    /// Default family of a model whose name does not reveal one. Many families offer chat
    /// completions.
    fn own_family(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => None,
            Self::Anthropic => Some("claude"),
            Self::Gemini => Some("gemini"),
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A model that judges.
#[derive(Clone, Debug)]
pub struct JudgeModel {
    pub api: Api,
    pub model: String,
    pub base_url: Url,
    /// Key of the judge. Agents' keys are never used.
    pub key: SecretString,
    /// Name in its settings, if that is not the name of the API.
    pub name: Option<String>,
    /// Family of the model: configured, or derived from the model's name or the API. `None` if it
    /// is unknown.
    pub family: Option<String>,
}

impl JudgeModel {
    /// Name under which its votes are stored.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{}:{}@{name}", self.api, self.model),
            None => format!("{}:{}", self.api, self.model),
        }
    }
}

/// Settings of the judges. Closed probes need no model. Free recall is judged literally, and by
/// these models if there are any.
#[derive(Clone, Debug)]
pub struct JudgeSettings {
    /// `JUDGES`: `API:MODEL` or `API:MODEL@NAME`, comma-separated. Default: only the deterministic
    /// judge. Address, key and family are in `JUDGE_NAME_BASE_URL`, `JUDGE_NAME_API_KEY` and
    /// `JUDGE_NAME_FAMILY`, where NAME is the name of the judge or of its API.
    pub models: Vec<JudgeModel>,
    /// `JUDGE_TIMEOUT_SECONDS`: time limit of one request.
    pub timeout: Duration,
    /// `JUDGE_MAX_RETRIES`: number of retries after a transient failure.
    pub retries: u32,
    /// `JUDGE_WAIT_SECONDS`: delay before the first retry. It doubles with each further one.
    pub wait: Duration,
    /// `JUDGE_FALSE_ACCEPT_LIMIT`: share of the battery's wrong claims that a judge may accept and
    /// still rank agents.
    pub false_accept_limit: f64,
    /// `JUDGE_BATTERY_SECONDS`: time for which a battery result is reused in later judgings of this
    /// process. Default: one day.
    pub battery_holds: Duration,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            timeout: Duration::from_secs(120),
            retries: 4,
            wait: Duration::from_secs(1),
            false_accept_limit: FALSE_ACCEPT_LIMIT,
            battery_holds: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl JudgeSettings {
    /// Reads the settings and records problems in `reader`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let asked = reader.list("JUDGES").unwrap_or_default();
        let models: Vec<JudgeModel> = asked
            .iter()
            .filter_map(|text| model(reader, text))
            .collect();
        compare(reader, &models);
        let default = Self::default();
        let limit = reader.parsed("JUDGE_FALSE_ACCEPT_LIMIT", default.false_accept_limit);
        if !(0.0..=1.0).contains(&limit) {
            reader.refuse(
                "JUDGE_FALSE_ACCEPT_LIMIT",
                format!("{limit} is not a share between 0 and 1"),
            );
        }
        Self {
            models,
            timeout: reader.seconds("JUDGE_TIMEOUT_SECONDS", default.timeout),
            retries: reader.parsed("JUDGE_MAX_RETRIES", default.retries),
            wait: reader.seconds("JUDGE_WAIT_SECONDS", default.wait),
            false_accept_limit: limit,
            battery_holds: reader.seconds("JUDGE_BATTERY_SECONDS", default.battery_holds),
        }
    }
}

/// A juror has one vote, and a family has one juror.
fn compare(reader: &mut Reader<'_>, models: &[JudgeModel]) {
    for (at, one) in models.iter().enumerate() {
        for other in &models[at + 1..] {
            if same_model(&one.model, &other.model) {
                let why = format!("names the model {} twice", other.model);
                reader.refuse("JUDGES", why);
            } else if let Some(family) = one.family.as_ref().filter(|_| one.family == other.family)
            {
                let why = format!(
                    "names {} and {}, both of the family {family}: the jurors of a jury are of different families",
                    one.label(),
                    other.label()
                );
                reader.refuse("JUDGES", why);
            }
        }
        if one.family.is_none() {
            warn!(
                "the family of judge {} is unknown; it judges only agents of a known family. \
                 Set JUDGE_NAME_FAMILY",
                one.label()
            );
        }
    }
}

fn model(reader: &mut Reader<'_>, text: &str) -> Option<JudgeModel> {
    let known = Api::ALL.map(Api::name).join(", ");
    let (asked, name) = match text.rsplit_once('@') {
        Some((asked, name)) => (asked, Some(name)),
        None => (text, None),
    };
    let parts = asked.split_once(':');
    let api = parts.and_then(|(name, _)| Api::ALL.into_iter().find(|api| api.name() == name));
    let named = name.is_none_or(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    let (Some(api), Some((_, model)), true) =
        (api, parts.filter(|(_, model)| !model.is_empty()), named)
    else {
        reader.refuse(
            "JUDGES",
            format!(
                "{text:?} is not API:MODEL or API:MODEL@NAME with one of {known}, such as openai:gpt-5"
            ),
        );
        return None;
    };
    let prefix = format!("JUDGE_{}", name.unwrap_or(api.name()).to_uppercase());
    let ((url_name, api_url), (key_name, api_key)) = (api.base_url(reader), api.key(reader));
    let own = |what: &str| reader.custom_secret(&format!("{prefix}_{what}"));
    let (url, key) = match name {
        Some(_) => (
            own("BASE_URL").map(|url| url.expose_secret().to_owned()),
            own("API_KEY"),
        ),
        None => (api_url, api_key),
    };
    let family_set = own("FAMILY").map(|family| family.expose_secret().trim().to_lowercase());
    let base_url = match Url::parse(url.as_deref().unwrap_or(api.own_url())) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(_) | Err(_) => {
            match name {
                Some(_) => reader.refuse(
                    "JUDGES",
                    format!("names {text}, and {prefix}_BASE_URL is not an http or https URL"),
                ),
                None => reader.refuse(url_name, "is not an http or https URL"),
            }
            return None;
        }
    };
    let Some(key) = key else {
        let why = "a judge never uses an agent's key";
        match name {
            Some(_) => reader.refuse(
                "JUDGES",
                format!("names {text}, and {prefix}_API_KEY is missing ({why})"),
            ),
            None => reader.refuse(
                key_name,
                format!("is missing, and JUDGES names {text} ({why})"),
            ),
        }
        return None;
    };
    // Another address may serve any model.
    let by_api = api.own_family().filter(|_| url.is_none());
    let family = family_set
        .filter(|family| !family.is_empty())
        .or_else(|| family(model).map(str::to_owned))
        .or_else(|| by_api.map(str::to_owned));
    Some(JudgeModel {
        api,
        model: model.to_owned(),
        base_url,
        key,
        name: name.map(str::to_owned),
        family,
    })
}
