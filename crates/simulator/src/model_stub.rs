//! A model without knowledge: it answers only from the text of each request.
//!
//! It stands behind a real program that was given material for an answer key. A probe is answered
//! correctly if its evidence is, word for word, in the request. So facts that the program forgot
//! are missing from the answer. The control agents answer by the same rule from their bounded
//! memory.
//!
//! The stub supports Anthropic Messages, Gemini, `OpenAI` chat completions and `OpenAI` Responses,
//! streaming or not. It can fail in the ways of real providers. It records every request, so its
//! memory grows with them.
//!
//! Besides probes it follows three directives, each on a line of its own in a prompt: `REPEAT:
//! text`, `RECALL: prefix` (every word of the request with this prefix) and `READ: path` (calls the
//! program's reading tool and repeats the result).

mod protocol;
mod configuration;
mod conversation;
mod rules;
mod answer;
mod anthropic;
mod gemini;
mod chat;
mod responses;
mod recorded;
mod faults;
mod state;
mod server;
mod stub;

pub use configuration::{Keep, KeyProvider, KeySource, Rules};
pub use conversation::{Message, Role};
pub use faults::Fault;
pub use protocol::Protocol;
pub use recorded::Recorded;
pub use rules::Purpose;
pub use stub::ModelStub;
