//! Removes secrets from text before it is stored: known secrets, and strings that look like keys.
//!
//! Known secrets are the values of the product's own settings. Other strings are removed only if they
//! have a shape that hardly anything but a key has, because agents are measured by the same text.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// Text that replaces a secret.
pub const REDACTED: &str = "[redacted]";
/// Shorter secrets are not searched for: they would also occur in harmless words.
const MIN_SECRET_BYTES: usize = 8;
/// Upper bound of passes: removing one secret can, in rare cases, create another one.
const MAX_PASSES: usize = 8;

/// Removes secrets from text. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret inside another one leaves no remainder.
    secrets: Arc<[String]>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

impl Redactor {
    /// Returns a redactor for these secrets and for everything that looks like a key. Secrets of fewer
    /// than eight bytes are ignored.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut variants: Vec<String> = secrets
            .into_iter()
            .map(|secret| secret.trim().to_owned())
            .filter(|secret| {
                secret.len() >= MIN_SECRET_BYTES && !REDACTED.contains(secret.as_str())
            })
            .flat_map(|secret| [in_json(&secret), in_url(&secret), secret])
            .collect();
        variants.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        variants.dedup();
        Self {
            secrets: variants.into(),
        }
    }

    /// Returns the text without secrets, and in a form that every database can store: a NUL becomes
    /// U+FFFD.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut redacted = Cow::Borrowed(text);
        if text.contains('\0') {
            redacted = Cow::Owned(text.replace('\0', "\u{fffd}"));
        }
        for _ in 0..MAX_PASSES {
            match self.pass(&redacted) {
                None => break,
                Some(better) => redacted = Cow::Owned(better),
            }
        }
        redacted
    }

    /// Removes secrets from every string of a JSON value, including field names.
    pub fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.redact(text) {
                    *text = redacted;
                }
            }
            Value::Array(values) => {
                for value in values {
                    self.redact_json(value);
                }
            }
            Value::Object(fields) => {
                let renamed: Vec<(String, String)> = fields
                    .keys()
                    .filter_map(|name| match self.redact(name) {
                        Cow::Owned(redacted) => Some((name.clone(), redacted)),
                        Cow::Borrowed(_) => None,
                    })
                    .collect();
                for (name, redacted) in renamed {
                    if let Some(value) = fields.remove(&name) {
                        fields.insert(redacted, value);
                    }
                }
                for value in fields.values_mut() {
                    self.redact_json(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Runs one pass. Returns `None` if there is no secret in the text.
    fn pass(&self, text: &str) -> Option<String> {
        let mut redacted = Cow::Borrowed(text);
        for secret in self.secrets.iter() {
            if redacted.contains(secret.as_str()) {
                redacted = Cow::Owned(redacted.replace(secret.as_str(), REDACTED));
            }
        }
        for (pattern, replacement) in KEY_PATTERNS.iter() {
            if let Cow::Owned(better) = pattern.replace_all(&redacted, replacement) {
                redacted = Cow::Owned(better);
            }
        }
        match redacted {
            Cow::Owned(redacted) if redacted != text => Some(redacted),
            Cow::Owned(_) | Cow::Borrowed(_) => None,
        }
    }
}

/// Returns the secret as it appears inside a JSON string.
fn in_json(secret: &str) -> String {
    let quoted = Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Returns the secret as it appears in a form or in the query of a URL.
fn in_url(secret: &str) -> String {
    url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()
}

/// Returns the replacement of a match.
type Replacement = fn(&Captures<'_>) -> String;

/// Patterns of keys, with their replacements.
static KEY_PATTERNS: LazyLock<Vec<(Regex, Replacement)>> = LazyLock::new(|| {
    let patterns: [(&str, Replacement); 6] = [
        // Private keys, whole or cut off.
        (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?s:.*?)-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|(?:\\[nr]|\s|[A-Za-z0-9+/=]{16,})*)",
            whole,
        ),
        // OpenAI, Anthropic and providers with the same prefix. Some hyphenated words have it too.
        (r"\bsk-[A-Za-z0-9_-]{16,}", if_random),
        // Google, GitHub, GitLab, Slack, AWS, JSON web tokens.
        (
            r"\bAIza[0-9A-Za-z_-]{30,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{5,}",
            whole,
        ),
        // A header. Its name stays.
        (
            r#"(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)\s+|\bx-(?:api|goog-api)-key["']?\s*[:=]\s*["']?)[A-Za-z0-9._~+/=-]{8,}"#,
            after_first,
        ),
        (
            r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{20,}",
            after_first_if_random,
        ),
        // Credentials in a URL. The URL stays.
        (
            r#"(?i)(\b[a-z][a-z0-9+.-]{1,30}://)(?:[^\s/:@"'<>\[\]]{0,200}:[^\s/@"'<>]{1,200}|[^\s/:@"'<>\[\]]{20,200})@"#,
            credentials,
        ),
    ];
    patterns
        .into_iter()
        .map(|(pattern, replacement)| {
            let pattern = Regex::new(pattern).expect("the patterns above are tested");
            (pattern, replacement)
        })
        .collect()
});

fn whole(_: &Captures<'_>) -> String {
    REDACTED.to_owned()
}

/// Replaces only text with both letters and digits: `sk-learn-compatible-estimator` is not a key.
fn if_random(found: &Captures<'_>) -> String {
    let text = &found[0];
    if is_random(text) {
        REDACTED.to_owned()
    } else {
        text.to_owned()
    }
}

fn after_first(found: &Captures<'_>) -> String {
    format!("{}{REDACTED}", &found[1])
}

fn after_first_if_random(found: &Captures<'_>) -> String {
    let text = &found[0];
    if is_random(&text[found[1].len()..]) {
        after_first(found)
    } else {
        text.to_owned()
    }
}

fn credentials(found: &Captures<'_>) -> String {
    format!("{}{REDACTED}@", &found[1])
}

fn is_random(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}
