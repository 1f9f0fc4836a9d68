//! The deterministic judge.

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

    async fn judge(&self, text: &str, facts: &[AtomicFact]) -> Judgement {
        Judgement {
            findings: facts
                .iter()
                .map(|fact| Some(judge_deterministic(fact, text)))
                .collect(),
            ..Judgement::default()
        }
    }
}
