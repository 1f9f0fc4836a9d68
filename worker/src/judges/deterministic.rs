//! The deterministic judge.

use async_trait::async_trait;
use evaluation::claims::{AtomicFact, judge_deterministic};
use evaluation::grading::GRADER;
use evaluation::judging::Juror;

use crate::judges::judge::{Judge, Judgement};

/// Reads literally. [`judge_deterministic`] defines a claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deterministic;

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
