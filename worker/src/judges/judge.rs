//! The trait of all judges.

use async_trait::async_trait;
use domain::Tokens;
use evaluation::claims::{AtomicFact, Finding};
use evaluation::judging::Juror;

/// What came of judging one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// One per fact; none where there is no readable verdict.
    pub findings: Vec<Option<Finding>>,
    /// What the judge said, word for word, one reply per request; or why it said nothing.
    pub raw: Vec<String>,
    /// What was billed; none where a reply did not tell.
    pub tokens: Option<Tokens>,
    /// US dollars; none where the model has no listed price.
    pub cost_usd: Option<f64>,
}

/// Finds which facts a text states.
///
/// A judge never fails as a whole: what it cannot find is missing from [`Judged::findings`], and why
/// stands in [`Judged::raw`].
#[async_trait]
pub trait Judge: Send + Sync {
    /// What its votes are stored under: `deterministic/1`, `openai:gpt-5`.
    fn name(&self) -> &str;

    /// None for the deterministic judge.
    fn model(&self) -> Option<&str>;

    /// A model as a juror; none for the deterministic judge, which is of no family.
    fn juror(&self) -> Option<Juror<'_>>;

    /// Judges one text.
    async fn judge(&self, text: &str, facts: &[AtomicFact]) -> Judgement;
}
