//! Judges: who says which facts a free text states.
//!
//! The deterministic one reads literally; models are asked over their providers' interfaces. What to
//! ask and how to read it is the instrument's ([`evaluation::judging`]); here is the asking.

mod llm;
mod wire;

use agents::event::Tokens;
use async_trait::async_trait;
use evaluation::claims::{AtomicFact, Finding, judge_deterministic};
use evaluation::grading::GRADER;
use evaluation::judging::{BatteryResult, battery, run_result, sample_facts};

pub use llm::Llm;

use crate::settings::judges::JudgeSettings;

/// Fixes the wording of the battery, so that every judge gets the same.
const BATTERY_SEED: u64 = 1;

/// What came of judging one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
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

    /// Judges one text.
    async fn judge(&self, text: &str, facts: &[AtomicFact]) -> Judged;
}

/// Reads literally; what a claim is, is told at [`judge_deterministic`].
#[derive(Clone, Copy, Debug)]
pub struct Deterministic;

#[async_trait]
impl Judge for Deterministic {
    fn name(&self) -> &str {
        GRADER
    }

    fn model(&self) -> Option<&str> {
        None
    }

    async fn judge(&self, text: &str, facts: &[AtomicFact]) -> Judged {
        Judged {
            findings: facts
                .iter()
                .map(|fact| Some(judge_deterministic(fact, text)))
                .collect(),
            ..Judged::default()
        }
    }
}

/// All judges of an installation: the deterministic one, then the models of the settings.
///
/// # Errors
///
/// The HTTP client cannot be made.
pub fn judges(settings: &JudgeSettings) -> Result<Vec<Box<dyn Judge>>, reqwest::Error> {
    let mut judges: Vec<Box<dyn Judge>> = vec![Box::new(Deterministic)];
    for model in &settings.models {
        judges.push(Box::new(Llm::new(model, settings)?));
    }
    Ok(judges)
}

/// What the battery found of a judge, and what that cost.
pub struct Tried {
    pub result: BatteryResult,
    pub tokens: Option<Tokens>,
    pub cost_usd: Option<f64>,
}

/// Runs the adversarial battery through a judge.
pub async fn try_judge(judge: &dyn Judge) -> Tried {
    let cases = battery(&sample_facts(), BATTERY_SEED);
    let mut findings = Vec::with_capacity(cases.len());
    let (mut tokens, mut cost_usd) = (Some(Tokens::default()), Some(0.0));
    for case in &cases {
        let judged = judge
            .judge(&case.text, std::slice::from_ref(&case.fact))
            .await;
        findings.push(judged.findings.first().copied().flatten());
        tokens = tokens
            .zip(judged.tokens)
            .and_then(|(before, more)| before.plus(more));
        cost_usd = cost_usd
            .zip(judged.cost_usd)
            .map(|(before, more)| before + more);
    }
    Tried {
        result: run_result(&cases, &findings),
        tokens,
        cost_usd,
    }
}
