//! Free recall as claims: the facts of the sheet that a text mentions, and whether it states them
//! correctly.
//!
//! A fact is atomic: one subject, one value. Statements beyond the facts are neither right nor
//! wrong here, because nothing proves them. The deterministic judge reads literally, by the rules
//! of [`judge_deterministic`].

mod atomic_fact;
mod facts;
mod reading;
mod relations;
mod shapes;
mod topics;
mod word_match;

pub use atomic_fact::{AtomicFact, FactKind, Finding, Recall};
pub use facts::atomic_facts;
pub use reading::judge_deterministic;
pub use shapes::invented;
pub use topics::{OpenFact, open_facts};
