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

/// Seed of the battery's wording, so that every judge gets the same battery.
const BATTERY_SEED: u64 = 1;

/// Result of running the battery on a judge, with its cost.
#[derive(Clone, Debug)]
pub struct BatteryRun {
    pub result: BatteryResult,
    /// One finding per case, in the order of the battery.
    pub findings: Vec<Option<Finding>>,
    /// Version of the battery, as returned by [`battery_version`].
    pub battery: String,
    pub at: DateTime<Utc>,
    pub tokens: Option<Tokens>,
    pub cost_usd: Option<f64>,
}

/// Returns the number of requests that a battery takes.
pub(crate) fn battery_requests() -> usize {
    texts().len()
}

fn texts() -> Vec<BatteryText> {
    battery(&sample_facts(), BATTERY_SEED)
}

/// Runs the adversarial battery on a judge, with requests like those for a free recall.
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

/// Returns the battery result of a jury, by the majority of its members.
pub(crate) fn run_jury_battery(members: &[Arc<BatteryRun>]) -> BatteryResult {
    let members: Vec<&[Option<Finding>]> = members
        .iter()
        .map(|tried| tried.findings.as_slice())
        .collect();
    run_result(&texts(), &jury_findings(&members))
}

/// Cache of battery results. A process has one set of judges, prompts and batteries, so the name of
/// a judge identifies its configuration.
#[derive(Debug, Default)]
pub(crate) struct BatteryCache {
    cached: Mutex<HashMap<String, (Instant, Arc<BatteryRun>)>>,
    /// Held while a battery runs, so that runs that end together do not each pay for it.
    trying: tokio::sync::Mutex<()>,
}

impl BatteryCache {
    /// Returns the battery result of a judge, and whether the battery ran just now. A result with
    /// unread cases is not cached, because a provider outage may be over for the next task.
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
