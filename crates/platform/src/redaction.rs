//! What is never stored: known secrets and strings that look like keys.
//!
//! Everything that is stored or sent to a client passes through here where it is stored. Known
//! secrets are the values of our own settings. Beyond them only shapes are taken out that hardly
//! anything but a key has, because the text that passes here is also what agents are measured by.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in the place of a secret.
pub const MARK: &str = "[redacted]";
/// A shorter secret would be found in innocent words.
const SHORTEST: usize = 8;
/// Taking one secret out can, with much bad luck, make another one.
const PASSES: usize = 8;

/// Takes secrets out of text. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret inside another one does not leave a rest.
    known: Arc<[String]>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.known.len())
    }
}

impl Redactor {
    /// Knows these secrets, besides everything that looks like a key. Secrets of fewer than eight
    /// bytes are not looked for.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut known: Vec<String> = secrets
            .into_iter()
            .map(|secret| secret.trim().to_owned())
            .filter(|secret| secret.len() >= SHORTEST && !MARK.contains(secret.as_str()))
            .flat_map(|secret| [in_json(&secret), in_url(&secret), secret])
            .collect();
        known.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        known.dedup();
        Self {
            known: known.into(),
        }
    }

    /// The text without secrets, and as every database can store it: a NUL becomes U+FFFD.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut redacted = Cow::Borrowed(text);
        if text.contains('\0') {
            redacted = Cow::Owned(text.replace('\0', "\u{fffd}"));
        }
        for _ in 0..PASSES {
            match self.pass(&redacted) {
                None => break,
                Some(better) => redacted = Cow::Owned(better),
            }
        }
        redacted
    }

    /// Takes secrets out of every string of a JSON value, names of fields included.
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

    /// One pass; none if there is nothing to take out.
    fn pass(&self, text: &str) -> Option<String> {
        let mut redacted = Cow::Borrowed(text);
        for secret in self.known.iter() {
            if redacted.contains(secret.as_str()) {
                redacted = Cow::Owned(redacted.replace(secret.as_str(), MARK));
            }
        }
        for (pattern, judge) in SHAPES.iter() {
            if let Cow::Owned(better) = pattern.replace_all(&redacted, judge) {
                redacted = Cow::Owned(better);
            }
        }
        match redacted {
            Cow::Owned(redacted) if redacted != text => Some(redacted),
            Cow::Owned(_) | Cow::Borrowed(_) => None,
        }
    }
}

/// The secret as it stands inside a JSON string.
fn in_json(secret: &str) -> String {
    let quoted = Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The secret as it stands in a form or the query of an address.
fn in_url(secret: &str) -> String {
    url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()
}

/// What a match is replaced with.
type Judge = fn(&Captures<'_>) -> String;

/// What looks like a key, and what becomes of it.
static SHAPES: LazyLock<Vec<(Regex, Judge)>> = LazyLock::new(|| {
    let shapes: [(&str, Judge); 6] = [
        // Private keys, whole or cut off.
        (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?s:.*?)-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|(?:\\[nr]|\s|[A-Za-z0-9+/=]{16,})*)",
            whole,
        ),
        // OpenAI, Anthropic and the many that copied them. Hyphenated words begin so as well.
        (r"\bsk-[A-Za-z0-9_-]{16,}", if_random),
        // Google, GitHub, GitLab, Slack, AWS, JSON web tokens.
        (
            r"\bAIza[0-9A-Za-z_-]{30,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{5,}",
            whole,
        ),
        // A header; what it is called stays.
        (
            r#"(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)\s+|\bx-(?:api|goog-api)-key["']?\s*[:=]\s*["']?)[A-Za-z0-9._~+/=-]{8,}"#,
            after_first,
        ),
        (
            r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{20,}",
            after_first_if_random,
        ),
        // Credentials in an address; the address stays.
        (
            r#"(?i)(\b[a-z][a-z0-9+.-]{1,30}://)(?:[^\s/:@"'<>\[\]]{0,200}:[^\s/@"'<>]{1,200}|[^\s/:@"'<>\[\]]{20,200})@"#,
            credentials,
        ),
    ];
    shapes
        .into_iter()
        .map(|(pattern, judge)| {
            let pattern = Regex::new(pattern).expect("the patterns above are tested");
            (pattern, judge)
        })
        .collect()
});

fn whole(_: &Captures<'_>) -> String {
    MARK.to_owned()
}

/// Only what has both letters and digits: `sk-learn-compatible-estimator` is no key.
fn if_random(found: &Captures<'_>) -> String {
    let text = &found[0];
    if is_random(text) {
        MARK.to_owned()
    } else {
        text.to_owned()
    }
}

fn after_first(found: &Captures<'_>) -> String {
    format!("{}{MARK}", &found[1])
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
    format!("{}{MARK}@", &found[1])
}

fn is_random(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}
