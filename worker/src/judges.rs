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

pub use llm::ModelJudge;


/// All judges of an installation: the deterministic one, then the models of the settings.
///
/// # Errors
///
/// The HTTP client cannot be made.
pub fn judges(settings: &JudgeSettings) -> Result<Vec<Box<dyn Judge>>, reqwest::Error> {
    let mut judges: Vec<Box<dyn Judge>> = vec![Box::new(Deterministic)];
    for model in &settings.models {
        judges.push(Box::new(ModelJudge::new(model, settings)?));
    }
    Ok(judges)
}
