//! Limits of requests to judges, and of the judges themselves.

/// Number of facts in one request to a judge, also in its battery. More would be cheaper, but
/// verdicts could influence each other.
pub const FACTS_AT_ONCE: usize = 8;

/// Maximum share of wrong claims of a battery that a judge may accept and still rank agents.
pub const FALSE_ACCEPT_LIMIT: f64 = 0.05;

/// Maximum share of right claims that a judge may reject. A judge that rejects everything accepts
/// no wrong claim either, but measures nothing.
pub const FALSE_REJECT_LIMIT: f64 = 0.2;

/// Maximum share of cases without a readable verdict.
pub const UNREAD_LIMIT: f64 = 0.05;
