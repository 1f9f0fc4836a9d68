//! Reading settings, and reporting invalid ones.
//!
//! Each section of settings is a struct beside the code that it configures, and reads itself from a
//! [`Source`]. A process composes sections. `std::env::var` appears in this file only.

mod credentials;
pub mod catalog;
pub mod file;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use credentials::without_credentials;
pub use secrecy::{ExposeSecret, SecretString};

/// Longer durations are rejected as mistakes. They would not fit a timestamp of the database.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A source of settings.
pub trait Source {
    /// Returns the value of a setting. An empty value counts as not set.
    fn get(&self, name: &str) -> Option<String>;

    /// Returns whether a setting is set to bytes that are not UTF-8, which would look like not set.
    fn is_not_text(&self, _name: &str) -> bool {
        false
    }
}

/// The environment of the process.
#[derive(Clone, Copy, Debug)]
pub struct Environment;

impl Environment {
    /// Returns all variables that are UTF-8, for libraries that read settings of their own.
    pub fn all(self) -> impl Iterator<Item = (String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    }
}

impl Source for Environment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn is_not_text(&self, name: &str) -> bool {
        std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
    }
}

impl<const N: usize> Source for [(&str, &str); N] {
    fn get(&self, name: &str) -> Option<String> {
        self.iter()
            .find(|(entry, _)| *entry == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

impl Source for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct SettingError {
    /// Name of the variable.
    pub name: &'static str,
    /// The problem, and a valid value where there is one.
    pub problem: String,
}

/// All invalid settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} invalid setting(s)", .0.len())]
pub struct SettingErrors(pub Vec<SettingError>);

/// Reads settings and collects their problems.
pub struct Reader<'a> {
    source: &'a dyn Source,
    errors: Vec<SettingError>,
    /// Settings whose value is not UTF-8.
    not_text: RefCell<Vec<&'static str>>,
    /// Old names of settings, by new name.
    old_names: BTreeMap<&'static str, &'static str>,
}

impl<'a> Reader<'a> {
    /// Returns a reader of `source`.
    pub fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            errors: Vec::new(),
            not_text: RefCell::default(),
            old_names: BTreeMap::new(),
        }
    }

    /// Accepts the deprecated name `old` for the setting `new`. The new name has priority.
    ///
    /// Call it before the setting is read.
    pub fn renamed(&mut self, old: &'static str, new: &'static str) {
        if self.source.get(new).is_none() && self.source.get(old).is_some() {
            tracing::warn!("the setting {old} is deprecated: use {new}");
            self.old_names.insert(new, old);
        }
    }

    /// Returns a value. A value that is not UTF-8 is reported as a problem: ignoring it could weaken
    /// a security setting without notice.
    fn get(&self, name: &'static str) -> Option<String> {
        debug_assert!(
            cfg!(test) || catalog::is_listed(name),
            "the setting {name} is missing in settings/catalog.rs"
        );
        let name = self.old_names.get(name).copied().unwrap_or(name);
        let value = self.source.get(name);
        if value.is_none() && self.source.is_not_text(name) {
            let mut not_text = self.not_text.borrow_mut();
            if !not_text.contains(&name) {
                not_text.push(name);
            }
        }
        value
    }

    /// Returns the text of a setting.
    pub fn text(&self, name: &'static str) -> Option<String> {
        self.get(name)
    }

    /// Returns a parsed setting, or its default.
    ///
    /// An invalid value is reported and replaced by the default, so that one pass finds all problems.
    pub fn parsed<T>(&mut self, name: &'static str, default: T) -> T
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        match self.get(name) {
            None => default,
            Some(text) => match text.trim().parse() {
                Ok(value) => value,
                Err(error) => {
                    self.refuse(name, format!("{text:?} is invalid: {error}"));
                    default
                }
            },
        }
    }

    /// Returns a boolean setting: `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.get(name) else {
            return default;
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.refuse(name, format!("{text:?} is neither true nor false"));
                default
            }
        }
    }

    /// Returns a duration in seconds, such as `60` or `0.5`.
    pub fn seconds(&mut self, name: &'static str, default: Duration) -> Duration {
        let Some(text) = self.get(name) else {
            return default;
        };
        let seconds = text.trim().parse().ok();
        match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(duration) if duration <= MAX_DURATION => duration,
            Some(_) | None => {
                self.refuse(name, format!("{text:?} is not a number of seconds"));
                default
            }
        }
    }

    /// Returns the comma-separated parts of a setting, trimmed and without empty ones. Returns `None`
    /// if it is not set.
    pub fn list(&self, name: &'static str) -> Option<Vec<String>> {
        let text = self.get(name)?;
        Some(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Returns a secret setting.
    pub fn secret(&self, name: &'static str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    /// Returns a variable whose name was chosen by a user, in a file named by a setting.
    pub fn custom_secret(&self, name: &str) -> Option<SecretString> {
        self.source.get(name).map(SecretString::from)
    }

    /// Reports a problem, with the value that has it.
    pub fn refuse(&mut self, name: &'static str, problem: impl Into<String>) {
        let mut problem = problem.into();
        // A value that may contain a password is not repeated.
        let is_private = ["URL", "SECRET", "KEY", "TOKEN", "PROXY"]
            .iter()
            .any(|word| name.contains(word));
        if let Some(value) = self.get(name).filter(|_| !is_private) {
            let shown = without_credentials(&value);
            if !problem.starts_with(shown.trim()) && !problem.contains(&format!("{shown:?}")) {
                problem = format!("{shown:?} {problem}");
            }
        }
        self.errors.push(SettingError { name, problem });
    }

    /// Returns `value` if no problem was reported.
    ///
    /// # Errors
    /// All reported problems.
    pub fn finish<T>(mut self, value: T) -> Result<T, SettingErrors> {
        let not_text = self.not_text.take();
        self.errors
            .extend(not_text.into_iter().map(|name| SettingError {
                name,
                problem: "is not valid UTF-8".to_owned(),
            }));
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(SettingErrors(self.errors))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting whose value is not UTF-8.
    struct Bytes;

    impl Source for Bytes {
        fn get(&self, _: &str) -> Option<String> {
            None
        }

        fn is_not_text(&self, name: &str) -> bool {
            name == "SSO_ENABLED"
        }
    }

    #[test]
    fn a_value_that_is_not_text_is_not_taken_for_none() {
        let mut reader = Reader::new(&Bytes);
        let off = reader.flag("SSO_ENABLED", false) | reader.flag("OTHER", false);
        let refused = reader.finish(off).unwrap_err();
        let names: Vec<_> = refused.0.iter().map(|error| error.name).collect();
        assert_eq!(names, ["SSO_ENABLED"]);
    }

    #[test]
    fn an_old_name_is_read_unless_the_new_one_is_set() {
        for (source, value) in [
            ([("OLD", "1"), ("OTHER", "x")], 1),
            ([("OLD", "1"), ("NEW", "2")], 2),
        ] {
            let mut reader = Reader::new(&source);
            reader.renamed("OLD", "NEW");
            assert_eq!(reader.parsed("NEW", 0), value);
        }
        let source = [("OLD", "x")];
        let mut reader = Reader::new(&source);
        reader.renamed("OLD", "NEW");
        reader.parsed("NEW", 0);
        assert!(reader.finish(()).is_err());
    }
}
