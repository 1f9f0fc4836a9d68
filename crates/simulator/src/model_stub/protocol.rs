//! Protocols of the stub.

use serde::Serialize;

/// Protocol of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Anthropic,
    Gemini,
    OpenAiChat,
    OpenAiResponses,
}
