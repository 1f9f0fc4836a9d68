//! Judges: who says which facts a free text states.
//!
//! The deterministic one reads literally; models are asked over their providers' interfaces. What to
//! ask and how to read it is the instrument's ([`evaluation::judging`]); here is the asking.

mod llm;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::Tokens;
use evaluation::claims::{AtomicFact, Finding, judge_deterministic};
use evaluation::grading::GRADER;
use evaluation::judging::{
    BatteryResult, BatteryText, Juror, battery, battery_version, jury_findings, run_result,
    sample_facts,
};

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

    /// A model as a juror; none for the deterministic judge, which is of no family.
    fn juror(&self) -> Option<Juror<'_>>;

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

    fn juror(&self) -> Option<Juror<'_>> {
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
#[derive(Clone, Debug)]
pub struct Tried {
    pub result: BatteryResult,
    /// One per case, in the order of the battery.
    pub findings: Vec<Option<Finding>>,
    /// [`battery_version`] of the battery.
    pub battery: String,
    pub at: DateTime<Utc>,
    pub tokens: Option<Tokens>,
    pub cost_usd: Option<f64>,
}

/// How many requests a battery takes.
pub(crate) fn battery_requests() -> usize {
    texts().len()
}

fn texts() -> Vec<BatteryText> {
    battery(&sample_facts(), BATTERY_SEED)
}

/// Runs the adversarial battery through a judge, in requests like those that it gets for a free recall.
pub async fn try_judge(judge: &dyn Judge) -> Tried {
    let texts = texts();
    let mut findings = Vec::new();
    let (mut tokens, mut cost_usd) = (Some(Tokens::default()), Some(0.0));
    for text in &texts {
        let mut judged = judge.judge(&text.text, &text.facts()).await;
        judged.findings.resize(text.cases.len(), None);
        findings.append(&mut judged.findings);
        tokens = tokens
            .zip(judged.tokens)
            .and_then(|(before, more)| before.plus(more));
        cost_usd = cost_usd
            .zip(judged.cost_usd)
            .map(|(before, more)| before + more);
    }
    Tried {
        result: run_result(&texts, &findings),
        findings,
        battery: battery_version(&texts),
        at: Utc::now(),
        tokens,
        cost_usd,
    }
}

/// What the battery finds of several judges together: of what most of them say.
pub fn try_jury(members: &[Arc<Tried>]) -> BatteryResult {
    let members: Vec<&[Option<Finding>]> = members
        .iter()
        .map(|tried| tried.findings.as_slice())
        .collect();
    run_result(&texts(), &jury_findings(&members))
}

/// What the battery found of the judges of this process, for as long as it holds. A process has one
/// set of judges, prompts and battery, so that a judge's name says all of its configuration.
#[derive(Debug, Default)]
pub(crate) struct TriedJudges {
    known: Mutex<HashMap<String, (Instant, Arc<Tried>)>>,
    /// Held while a judge is tried: runs that end together are not to pay for the battery each.
    trying: tokio::sync::Mutex<()>,
}

impl TriedJudges {
    /// What was found of a judge, and whether that was just now. What left a case unread is not
    /// kept: a provider that was down may be back for the next task.
    pub(crate) async fn of(&self, judge: &dyn Judge, holds: Duration) -> (Arc<Tried>, bool) {
        if let Some(known) = self.known(judge.name(), holds) {
            return (known, false);
        }
        let _alone = self.trying.lock().await;
        if let Some(known) = self.known(judge.name(), holds) {
            return (known, false);
        }
        let tried = Arc::new(try_judge(judge).await);
        if tried.result.unread.hits == 0 {
            let entry = (Instant::now(), Arc::clone(&tried));
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(judge.name().to_owned(), entry);
        }
        (tried, true)
    }

    fn known(&self, judge: &str, holds: Duration) -> Option<Arc<Tried>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, tried) = known.get(judge)?;
        (at.elapsed() < holds).then(|| Arc::clone(tried))
    }
}
