//! Judges: they decide which facts a free text states.
//!
//! The deterministic judge reads literally. Models are asked over their providers' APIs. The
//! instrument defines the questions and reads the replies ([`evaluation::judging`]); this module
//! sends the requests.

pub(crate) mod battery;
mod deterministic;
pub(crate) mod judge;
mod model;
mod wire;

use crate::settings::judges::JudgeSettings;
use deterministic::Deterministic;

pub use battery::{BatteryRun, run_battery};
pub use judge::{Judge, Judgement};
pub use model::ModelJudge;

/// Returns all judges of an installation: the deterministic one, then the configured models.
///
/// # Errors
///
/// The HTTP client cannot be created.
pub fn judges(settings: &JudgeSettings) -> Result<Vec<Box<dyn Judge>>, reqwest::Error> {
    let mut judges: Vec<Box<dyn Judge>> = vec![Box::new(Deterministic)];
    for model in &settings.models {
        judges.push(Box::new(ModelJudge::new(model, settings)?));
    }
    Ok(judges)
}
