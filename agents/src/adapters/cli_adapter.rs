//! Mechanics that every adapter of a command-line tool needs: finding the program, its version and
//! model, forks, folders, files, and the parts that event streams have in common.
//!
//! Adapters call these functions and hold these structs. Nothing here knows one particular tool.

pub(super) mod adapter;
pub(super) mod compaction_size;
pub(super) mod files;
pub(super) mod json;
pub(super) mod post_compact_hook;
pub(super) mod program;
pub(super) mod session;
pub(super) mod turn_fault;

/// Variables of a company's network, which every program gets.
pub(super) const NETWORK_VARIABLES: [&str; 5] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    NODE_CERTIFICATES,
    "SSL_CERT_FILE",
];

/// Variable of Node that names a file with certificates.
pub(super) const NODE_CERTIFICATES: &str = "NODE_EXTRA_CA_CERTS";

/// Prompt of a turn that exists only so that a compaction can happen before it.
pub(super) const NEUTRAL_PROMPT: &str =
    "Nothing is to be done in this turn. Reply with one short sentence.";

/// Name for a tool that does not exist. Some programs take an empty list of tools for all tools.
pub(super) const NO_TOOL: &str = "none_such";

/// Maximum length, in characters, of the target of a tool call.
pub(super) const MAX_TARGET_CHARS: usize = 200;

/// Returns the text of an error that a program printed in place of an answer, as in
/// `[API Error: …]`.
pub(super) fn api_error(answer: &str) -> Option<&str> {
    answer
        .trim()
        .strip_prefix("[API Error: ")?
        .strip_suffix(']')
}
