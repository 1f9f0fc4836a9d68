//! The trait of all judges.

use async_trait::async_trait;
use domain::Tokens;
use evaluation::claims::{AtomicFact, Finding};
use evaluation::judging::Juror;

/// Result of judging one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// One finding per fact, `None` if there is no readable verdict.
    pub findings: Vec<Option<Finding>>,
    /// Replies of the judge, verbatim, one per request; or the reason why there is none.
    pub raw: Vec<String>,
    /// Billed tokens, `None` if a reply did not report them.
    pub tokens: Option<Tokens>,
    /// US dollars, `None` if the model has no listed price.
    pub cost_usd: Option<f64>,
}

/// Determines which facts a text states.
///
/// A judge never fails as a whole: missing findings are `None` in [`Judgement::findings`], and the
/// reason is in [`Judgement::raw`].
#[async_trait]
pub trait Judge: Send + Sync {
    /// Returns the name under which its votes are stored: `deterministic/1`, `openai:gpt-5`.
    fn name(&self) -> &str;

    /// Returns the model, or `None` for the deterministic judge.
    fn model(&self) -> Option<&str>;

    /// Returns the model as a juror, or `None` for the deterministic judge, which belongs to no
    /// family.
    fn juror(&self) -> Option<Juror<'_>>;

    /// Judges one text.
    async fn judge(&self, text: &str, facts: &[AtomicFact]) -> Judgement;
}
