//! The settings in effect, each with its value, origin and description.

use std::collections::BTreeMap;

use platform::connect::is_secret_setting;
use platform::settings::catalog::SECTIONS;
use platform::settings::{Source, without_credentials};
use serde::Serialize;

/// Origin of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SettingOrigin {
    Environment,
    /// The file `.env`.
    File,
    Default,
}

impl SettingOrigin {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::File => ".env",
            Self::Default => "default",
        }
    }
}

/// One setting in effect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EffectiveSetting {
    pub(crate) name: String,
    /// `None` if it is not set and has no default. A secret is only shown as set, and passwords in
    /// URLs are hidden.
    pub(crate) value: Option<String>,
    pub(crate) origin: SettingOrigin,
    pub(crate) section: String,
    /// Description.
    pub(crate) help: String,
}

/// Returns all settings in the order of the catalogue. `file` holds the variables of `.env`.
pub(crate) fn settings(
    source: &dyn Source,
    file: &BTreeMap<String, String>,
) -> Vec<EffectiveSetting> {
    let mut settings = Vec::new();
    for section in SECTIONS {
        for entry in section.entries {
            for (name, default) in entry.names {
                settings.push(effective(
                    source,
                    file,
                    name,
                    default,
                    section.title,
                    entry.help,
                ));
            }
        }
    }
    settings
}

fn effective(
    source: &dyn Source,
    file: &BTreeMap<String, String>,
    name: &str,
    default: &str,
    section: &str,
    help: &str,
) -> EffectiveSetting {
    let set = source.get(name);
    let origin = match &set {
        None => SettingOrigin::Default,
        // The environment has priority over the file. If both have the same value, the file is named.
        Some(value) if file.get(name) == Some(value) => SettingOrigin::File,
        Some(_) => SettingOrigin::Environment,
    };
    let value = match set {
        Some(_) if is_secret_setting(name) => Some("(set)".to_owned()),
        // Elsewhere an @ is not a sign of a password: model versions contain it.
        Some(value) if is_address(name, &value) => Some(without_credentials(&value)),
        Some(value) => Some(value),
        None => Some(default.to_owned()).filter(|default| !default.is_empty()),
    };
    EffectiveSetting {
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
    fn every_setting_is_shown_with_its_origin_and_without_secrets() {
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
        assert_eq!(of("PORT").origin, SettingOrigin::File);
        assert_eq!(of("DATABASE_URL").origin, SettingOrigin::Environment);
        let default = of("LEASE_SECONDS");
        assert_eq!(
            (default.value.as_deref(), default.origin),
            (Some("60"), SettingOrigin::Default)
        );
        assert!(
            default.help.starts_with("A job is given to another worker"),
            "{}",
            default.help
        );
        assert_eq!(of("SSO_SERVICE_URL").value, None);
        for setting in &settings {
            assert!(
                !setting.help.is_empty(),
                "{} has no description",
                setting.name
            );
        }
    }
}
