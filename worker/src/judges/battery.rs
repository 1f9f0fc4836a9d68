//! The adversarial battery: its results per judge and for the jury.

use chrono::{DateTime, Utc};
use domain::Tokens;
use evaluation::claims::Finding;
use evaluation::judging::{
    BatteryResult, BatteryText, battery, battery_version, jury_findings, run_result, sample_facts,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::judges::judge::Judge;

/// Fixes the wording of the battery, so that every judge gets the same.
const BATTERY_SEED: u64 = 1;

/// What the battery found of a judge, and what that cost.
#[derive(Clone, Debug)]
pub struct BatteryRun {
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
pub async fn run_battery(judge: &dyn Judge) -> BatteryRun {
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
    BatteryRun {
        result: run_result(&texts, &findings),
        findings,
        battery: battery_version(&texts),
        at: Utc::now(),
        tokens,
        cost_usd,
    }
}

/// What the battery finds of several judges together: of what most of them say.
pub(crate) fn run_jury_battery(members: &[Arc<BatteryRun>]) -> BatteryResult {
    let members: Vec<&[Option<Finding>]> = members
        .iter()
        .map(|tried| tried.findings.as_slice())
        .collect();
    run_result(&texts(), &jury_findings(&members))
}

/// What the battery found of the judges of this process, for as long as it holds. A process has one
/// set of judges, prompts and battery, so that a judge's name says all of its configuration.
#[derive(Debug, Default)]
pub(crate) struct BatteryCache {
    cached: Mutex<HashMap<String, (Instant, Arc<BatteryRun>)>>,
    /// Held while a judge is tried: runs that end together are not to pay for the battery each.
    trying: tokio::sync::Mutex<()>,
}

impl BatteryCache {
    /// What was found of a judge, and whether that was just now. What left a case unread is not
    /// kept: a provider that was down may be back for the next task.
    pub(crate) async fn get_or_run(
        &self,
        judge: &dyn Judge,
        holds: Duration,
    ) -> (Arc<BatteryRun>, bool) {
        if let Some(known) = self.lookup(judge.name(), holds) {
            return (known, false);
        }
        let _alone = self.trying.lock().await;
        if let Some(known) = self.lookup(judge.name(), holds) {
            return (known, false);
        }
        let tried = Arc::new(run_battery(judge).await);
        if tried.result.unread.hits == 0 {
            let entry = (Instant::now(), Arc::clone(&tried));
            self.cached
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(judge.name().to_owned(), entry);
        }
        (tried, true)
    }

    fn lookup(&self, judge: &str, holds: Duration) -> Option<Arc<BatteryRun>> {
        let known = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, tried) = known.get(judge)?;
        (at.elapsed() < holds).then(|| Arc::clone(tried))
    }
}
