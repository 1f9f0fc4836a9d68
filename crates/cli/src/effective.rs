//! The settings as they take effect: each with its value, where that comes from, and what it is for.

use std::collections::{BTreeMap, BTreeSet};

use platform::connect::is_secret_setting;
use platform::settings::{Source, without_credentials};
use serde::Serialize;

/// Every setting with its default and what it is for; a test holds it against what the code reads.
const DESCRIBED: &str = include_str!("../../../.env.example");

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    Environment,
    /// The file `.env`.
    File,
    Default,
}

impl Origin {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::File => ".env",
            Self::Default => "default",
        }
    }
}

/// One setting as it takes effect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Effective {
    pub(crate) name: String,
    /// None where it is not set and has no default. Of a secret only that it is set is told; a
    /// password in an address is not shown.
    pub(crate) value: Option<String>,
    pub(crate) origin: Origin,
    pub(crate) section: String,
    /// What it is for.
    pub(crate) help: String,
}

/// All settings in the order of their description. `file` is what stands in `.env`.
pub(crate) fn settings(source: &dyn Source, file: &BTreeMap<String, String>) -> Vec<Effective> {
    let mut settings = Vec::new();
    let (mut section, mut help) = (String::new(), String::new());
    // Whether the comment above goes on, or belongs to settings that were told already.
    let mut used = false;
    let mut seen = BTreeSet::new();
    for line in DESCRIBED.lines() {
        if let Some(title) = line.strip_prefix("# ---") {
            section = title.trim_matches(['-', ' ']).to_owned();
            help.clear();
        } else if let Some(comment) = line.strip_prefix("# ") {
            if used {
                help.clear();
                used = false;
            }
            if !help.is_empty() {
                help.push(' ');
            }
            help.push_str(comment);
        } else if let Some((name, usual)) =
            line.strip_prefix('#').and_then(|line| line.split_once('='))
            && seen.insert(name.to_owned())
        {
            used = true;
            settings.push(effective(source, file, name, usual, &section, &help));
        }
    }
    settings
}

fn effective(
    source: &dyn Source,
    file: &BTreeMap<String, String>,
    name: &str,
    usual: &str,
    section: &str,
    help: &str,
) -> Effective {
    let set = source.get(name);
    let origin = match &set {
        None => Origin::Default,
        // The environment goes before the file: where both say the same, either may be meant.
        Some(value) if file.get(name) == Some(value) => Origin::File,
        Some(_) => Origin::Environment,
    };
    let value = match set {
        Some(_) if is_secret_setting(name) => Some("(set)".to_owned()),
        // Elsewhere an @ is no sign of a password: the version of a model has one.
        Some(value) if is_address(name, &value) => Some(without_credentials(&value)),
        Some(value) => Some(value),
        None => Some(usual.to_owned()).filter(|usual| !usual.is_empty()),
    };
    Effective {
        name: name.to_owned(),
        value,
        origin,
        section: section.to_owned(),
        help: help.to_owned(),
    }
}

fn is_address(name: &str, value: &str) -> bool {
    name.contains("URL") || name.contains("PROXY") || value.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_told_with_its_origin_and_without_secrets() {
        let source = [
            ("GATEWAY_SECRET", "the secret of the gateway"),
            ("DATABASE_URL", "postgres://ada:quokka@db:5432/membreak"),
            ("HTTPS_PROXY", "ada:quokka@proxy:3128"),
            (
                "FORGE_URLS",
                "https://github.com,https://ada:quokka@forge.example",
            ),
            (
                "OPENAI_BASE_URL",
                "https://models.example/v1?api_key=quokka",
            ),
            ("JUDGES", "anthropic:sonnet@2026"),
            ("PORT", "9000"),
        ];
        let file = BTreeMap::from([("PORT".to_owned(), "9000".to_owned())]);
        let settings = settings(&source, &file);
        assert!(settings.len() > 80, "{}", settings.len());
        let of = |name: &str| {
            settings
                .iter()
                .find(|setting| setting.name == name)
                .unwrap()
        };
        assert_eq!(of("GATEWAY_SECRET").value.as_deref(), Some("(set)"));
        assert_eq!(
            of("DATABASE_URL").value.as_deref(),
            Some("postgres://ada:…@db:5432/membreak")
        );
        assert_eq!(of("JUDGES").value.as_deref(), Some("anthropic:sonnet@2026"));
        for setting in &settings {
            let shown = setting.value.as_deref().unwrap_or_default();
            assert!(!shown.contains("quokka"), "{}: {shown}", setting.name);
        }
        assert_eq!(of("PORT").origin, Origin::File);
        assert_eq!(of("DATABASE_URL").origin, Origin::Environment);
        let usual = of("LEASE_SECONDS");
        assert_eq!(
            (usual.value.as_deref(), usual.origin),
            (Some("60"), Origin::Default)
        );
        assert!(
            usual.help.starts_with("How long a worker may be silent"),
            "{}",
            usual.help
        );
        assert_eq!(of("SSO_SERVICE_URL").value, None);
        for setting in &settings {
            assert!(!setting.help.is_empty(), "{} is for nothing", setting.name);
        }
    }
}
