//! Where settings come from and how a bad one is reported.
//!
//! A section struct stands beside the code it configures and reads itself from a [`Source`]; a
//! process composes sections. `std::env::var` appears in this file only.

mod credentials;
pub mod file;

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

pub use credentials::without_credentials;

/// Longer spans are taken for mistakes, and would not fit a database's time.
const LONGEST_SPAN: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Something that settings can be read from.
pub trait Source {
    /// The value of a setting; an empty one counts as not set.
    fn get(&self, name: &str) -> Option<String>;

    /// Whether a setting is there and is no text, so that it would be taken for one that is not set.
    fn has_no_text(&self, _name: &str) -> bool {
        false
    }
}

/// The environment of the process.
#[derive(Clone, Copy, Debug)]
pub struct Environment;

impl Environment {
    /// Everything in it that is text, for libraries that read settings of their own.
    pub fn all(self) -> impl Iterator<Item = (String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    }
}

impl Source for Environment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn has_no_text(&self, name: &str) -> bool {
        std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
    }
}

impl<const N: usize> Source for [(&str, &str); N] {
    fn get(&self, name: &str) -> Option<String> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

impl Source for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// A value that must not be seen. `Debug` hides it, there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Every use of it can be found by this name.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct SettingError {
    /// The variable.
    pub name: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Every bad setting at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of the settings cannot be used", .0.len())]
pub struct SettingErrors(pub Vec<SettingError>);

/// Reads settings and gathers what is wrong with them.
pub struct Reader<'a> {
    source: &'a dyn Source,
    errors: Vec<SettingError>,
    /// Settings that are set to something that is no text.
    no_text: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    /// Reads from `source`.
    pub fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            errors: Vec::new(),
            no_text: RefCell::default(),
        }
    }

    /// What is set. A value that is no text is noted: as good as not set, it could leave a door open.
    fn get(&self, name: &'static str) -> Option<String> {
        let value = self.source.get(name);
        if value.is_none() && self.source.has_no_text(name) {
            let mut no_text = self.no_text.borrow_mut();
            if !no_text.contains(&name) {
                no_text.push(name);
            }
        }
        value
    }

    /// The text of a setting.
    pub fn text(&self, name: &'static str) -> Option<String> {
        self.get(name)
    }

    /// A setting that parses, or its default. A bad value is noted and the default returned, so
    /// that all problems are found in one pass.
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
                    self.refuse(name, format!("{text:?} cannot be used: {error}"));
                    default
                }
            },
        }
    }

    /// A yes-or-no setting: `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`.
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

    /// A span of time in seconds, such as `60` or `0.5`.
    pub fn seconds(&mut self, name: &'static str, default: Duration) -> Duration {
        let Some(text) = self.get(name) else {
            return default;
        };
        let seconds = text.trim().parse().ok();
        match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(span) if span <= LONGEST_SPAN => span,
            Some(_) | None => {
                self.refuse(name, format!("{text:?} is no number of seconds"));
                default
            }
        }
    }

    /// The parts of a setting between commas, trimmed, without empty ones; none if it is not set.
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

    /// A setting that must not be seen.
    pub fn secret(&self, name: &'static str) -> Option<Secret> {
        self.get(name).map(Secret::new)
    }

    /// A variable whose name a user chose, in a file that a setting names.
    pub fn passed(&self, name: &str) -> Option<Secret> {
        self.source.get(name).map(Secret::new)
    }

    /// Notes a problem, with the value that has it.
    pub fn refuse(&mut self, name: &'static str, problem: impl Into<String>) {
        let mut problem = problem.into();
        // What may hold a password is not repeated.
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

    /// The value, unless something was wrong.
    pub fn finish<T>(mut self, value: T) -> Result<T, SettingErrors> {
        let no_text = self.no_text.take();
        self.errors
            .extend(no_text.into_iter().map(|name| SettingError {
                name,
                problem: "is set to bytes that are no text (UTF-8)".to_owned(),
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

    /// One setting of bytes that are no text.
    struct Bytes;

    impl Source for Bytes {
        fn get(&self, _: &str) -> Option<String> {
            None
        }

        fn has_no_text(&self, name: &str) -> bool {
            name == "SSO_ENABLED"
        }
    }

    #[test]
    fn a_value_that_is_no_text_is_not_taken_for_none() {
        let mut reader = Reader::new(&Bytes);
        let off = reader.flag("SSO_ENABLED", false) | reader.flag("OTHER", false);
        let refused = reader.finish(off).unwrap_err();
        let names: Vec<_> = refused.0.iter().map(|error| error.name).collect();
        assert_eq!(names, ["SSO_ENABLED"]);
    }
}
